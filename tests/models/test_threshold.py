import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.decision import Decision, Rule
from models.frame import Floats
from models.threshold import (
    DAY,
    Threshold,
    poisson_bound,
    threshold_of,
)
from tests.models.scores import RULE, held_out

SERIES = st.lists(
    st.lists(
        st.sampled_from([0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0]) | st.floats(0.1, 9),
        min_size=1,
        max_size=60,
    ),
    min_size=1,
    max_size=3,
)


def false_alarms_per_day(
    series: Sequence[Sequence[float] | Floats], window: int, requested: float
) -> Threshold:
    return threshold_of(held_out(series, window=window, requested=requested))


def events(series: Sequence[Sequence[float]], threshold: float, rule: Rule, gap: int) -> int:
    """Alarms by the rule's words: `need` of the last `of` over the threshold; `gap` apart."""
    count = 0
    for scores in series:
        newest = -math.inf
        for frame in range(len(scores)):
            recent = scores[max(0, frame - rule.of + 1) : frame + 1]
            if sum(score > threshold for score in recent) >= rule.need:
                count += frame - newest >= gap
                newest = frame
    return count


@given(SERIES, st.integers(2, 10), st.integers(3, 8))
def test_on_the_calibration_data_a_supported_request_is_kept(
    series: list[list[float]], window: int, allowed: int
) -> None:
    frames = sum(map(len, series))
    requested = (allowed + 0.5) / (frames / DAY)

    found = false_alarms_per_day(series, window, requested)

    realised = events(series, found.value, RULE, window)
    assert found.supported
    assert realised <= allowed
    assert found.expected == pytest.approx(realised / found.days)
    assert found.bound == pytest.approx(poisson_bound(realised) / found.days)


@given(SERIES, st.integers(2, 10), st.integers(3, 8))
def test_no_lower_threshold_keeps_the_request_unless_alarms_last_long(
    series: list[list[float]], window: int, allowed: int
) -> None:
    requested = (allowed + 0.5) / (sum(map(len, series)) / DAY)
    found = false_alarms_per_day(series, window, requested)
    opening = [
        sorted(scores[max(0, frame - 4) : frame + 1])[-RULE.need]
        for scores in series
        for frame in range(RULE.need - 1, len(scores))
    ]
    lower = max((score for score in opening if score < found.value), default=None)

    if lower is not None:
        frames_over = sum(score > lower for score in opening)
        assert events(series, lower, RULE, window) > allowed or frames_over > allowed * window


@pytest.mark.parametrize(("requested", "share"), [(50, 0.01), (500, 0.4)])
def test_a_generous_request_does_not_end_in_one_endless_alarm(
    requested: float, share: float
) -> None:
    noise = np.random.default_rng(0).exponential(size=20_000)
    smooth = np.convolve(noise, np.ones(5) / 5, "valid")

    found = false_alarms_per_day([smooth], 64, requested)

    assert (smooth > found.value).mean() < share
    assert 0 < found.expected <= requested


@pytest.mark.parametrize(
    ("apart", "allowed", "threshold", "seen"), [(14, 3, 2.0, 0), (14, 4, 1.0, 4), (13, 3, 1.0, 1)]
)
def test_alarms_a_window_apart_are_two_events_and_nearer_ones_are_one(
    apart: int, allowed: int, threshold: float, seen: int
) -> None:
    # Three high scores let an alarm be open for three frames, so ten lie between the alarms.
    scores = np.concatenate([np.r_[np.full(3, 2.0), np.ones(apart - 3)] for _ in range(4)])
    requested = (allowed + 0.5) / (len(scores) / DAY)

    found = false_alarms_per_day([scores], 12, requested)

    assert found.value == threshold
    assert found.expected * found.days == pytest.approx(seen)
    assert events([scores.tolist()], threshold, RULE, 12) == seen


@pytest.mark.parametrize("requested", [0.1, 2.9])
def test_an_unsupported_request_gets_the_highest_score_and_the_bound_3_over_days(
    requested: float,
) -> None:
    series = [np.linspace(0, 2, 40_000), np.linspace(0, 3, 46_400)]

    found = false_alarms_per_day(series, 64, requested)

    assert found.days == pytest.approx(1.0)
    assert (found.value, found.supported, found.expected) == (3.0, False, 0.0)
    assert found.bound == pytest.approx(3.0, rel=2e-3)


def test_from_three_expected_events_on_a_request_is_supported() -> None:
    series = [np.random.default_rng(0).exponential(size=86_400)]

    assert false_alarms_per_day(series, 64, 3.0).supported


def test_at_the_threshold_itself_the_calibration_data_raise_no_alarm_when_unsupported() -> None:
    scores = np.random.default_rng(0).exponential(size=500)
    value = false_alarms_per_day([scores], 64, 0.1).value
    frames = np.arange(500)

    verdicts = Decision(Rule(smooth=1)).step(
        np.zeros(500, np.int64), frames, scores / value, frames < 0
    )

    assert not verdicts.anomalous.any()
    assert not verdicts.pending.any()


def test_scores_of_zero_still_give_a_threshold_over_zero() -> None:
    assert false_alarms_per_day([np.zeros(500)], 8, 0.1).value > 0
    assert false_alarms_per_day([np.zeros(500)], 8, 1e6).value > 0


@pytest.mark.parametrize(("seen", "bound"), [(0, 2.9957), (1, 4.7439), (10, 16.962)])
def test_the_poisson_bound_is_that_of_the_tables(seen: int, bound: float) -> None:
    assert poisson_bound(seen) == pytest.approx(bound, rel=1e-4)
