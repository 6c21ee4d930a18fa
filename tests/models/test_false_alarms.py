"""False alarms asked for, and those raised on unseen stationary data: noise, windows, decision."""

from tests.models.scores import realised


def test_the_quantile_of_single_scores_raises_far_fewer_alarms_than_were_asked_for() -> None:
    (ratio,) = realised("exponential", [("quantile", 50.0)], days=1, unseen=4).values()

    # Window scores smear: what a quantile counts are scores, and an alarm has many.
    assert 1 / 50 < ratio < 1 / 5
