from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from models.detector import mahalanobis
from models.frame import Floats
from models.split import TrainingError
from models.threshold import DAY, THRESHOLDS, Threshold, threshold_of
from models.threshold import ThresholdSettings as Settings
from tests.models.scores import held_out

MANY = 200_000


def found(rule: str, scores: Any, **changes: Any) -> Threshold:
    """The threshold of one unbroken stretch; options of the rule are told by their names."""
    options = {key: changes.pop(key) for key in Settings.__slots__ if key in changes}
    return threshold_of(held_out([scores], settings=Settings(rule, **options), **changes))


def over(scores: Floats, threshold: float) -> float:
    return float((scores > threshold).mean())


# quantile


@pytest.mark.parametrize(
    ("quantile", "value"), [(0.9, 90), (0.901, 91), (0.5, 50), (0.99, 99), (1e-9, 1)]
)
def test_a_quantile_is_the_conformal_rank_of_n_plus_1(quantile: float, value: float) -> None:
    assert found("quantile", np.arange(1.0, 100.0), quantile=quantile).value == value


def test_the_request_becomes_the_share_of_the_days_scores() -> None:
    # 864 of the 86,400 scores of a day are 1 %.
    asked = found("quantile", np.arange(1.0, 2000.0), requested=864)

    assert asked.value == found("quantile", np.arange(1.0, 2000.0), quantile=0.99).value == 1980
    assert asked.parameters["share"] == pytest.approx(0.01)
    assert asked.supported


def test_a_new_exchangeable_score_is_over_the_quantile_as_often_as_promised() -> None:
    rng = np.random.default_rng(0)
    draws = rng.lognormal(size=(4000, 40))

    hits = sum(draw[-1] > found("quantile", draw[:-1], quantile=0.9).value for draw in draws)

    assert hits / 4000 == pytest.approx(0.1, abs=4 * (0.09 / 4000) ** 0.5)


def test_a_quantile_beyond_the_data_falls_back_to_the_highest_score_in_words() -> None:
    few = found("quantile", np.arange(1.0, 99.0), quantile=0.99)

    assert (few.value, few.supported, few.fallback) == (98.0, False, True)
    assert few.caution == (
        "98 held-out scores cannot place a share of 0.01 over a threshold (wanted 99); the "
        "threshold is their highest score"
    )


def test_a_quantile_of_few_scores_is_given_with_a_caution() -> None:
    assert "wanted 1000)" in found("quantile", np.arange(1.0, 500.0), quantile=0.99).caution
    assert "wanted 1000)" not in found("quantile", np.arange(1.0, 1002.0), quantile=0.99).caution


@pytest.mark.parametrize("rule", ["quantile", "chi-square"])
def test_more_alarms_a_day_than_there_are_scores_is_any_threshold(rule: str) -> None:
    made = found(rule, np.arange(1.0, 100.0), requested=1e6, score="mahalanobis-signed")

    assert 0 < made.value <= 1


# pot


def excursions(excess: Floats, window: int = 64) -> Floats:
    """Scores at 1.0 that rise to 1 + excess for five frames, two windows apart."""
    scores = np.ones((len(excess), 2 * window))
    scores[:, :5] += excess[:, None]
    return scores.ravel()


@pytest.mark.parametrize("shape", [-0.2, 0.0, 0.3])
@pytest.mark.parametrize("per_excursion", [0.5, 0.01, 1e-4])
def test_pot_is_the_height_that_the_pareto_tail_of_the_peaks_reaches_as_often_as_asked(
    shape: float, per_excursion: float
) -> None:
    excess = np.array(stats.genpareto.rvs(shape, scale=0.5, size=3000, random_state=2))
    scores = excursions(excess)
    days = len(scores) / DAY

    pot = found("pot", scores, level=0.9, requested=per_excursion * len(excess) / days)

    exact = 1 + stats.genpareto.isf(per_excursion, shape, scale=0.5)
    assert pot.value == pytest.approx(exact, rel=0.15)
    assert pot.parameters["level"] == 1.0
    assert pot.parameters["peaks"] == 3000
    assert pot.parameters["gamma"] == pytest.approx(shape, abs=0.06)
    assert pot.parameters["sigma"] == pytest.approx(0.5, rel=0.06)
    assert pot.supported


def test_pot_goes_beyond_the_highest_score_where_the_default_rule_cannot() -> None:
    scores = excursions(np.random.default_rng(0).exponential(size=200))

    assert found("pot", scores, level=0.9).value > scores.max()
    assert found("pot", scores, level=0.9).supported
    assert found("false_alarms_per_day", scores).value == scores.max()
    assert not found("false_alarms_per_day", scores).supported


def test_pot_warns_of_a_heavy_tail() -> None:
    excess = np.array(stats.genpareto.rvs(0.9, size=500, random_state=0))

    assert "gamma 0.9" in found("pot", excursions(excess), level=0.9).caution


def test_pot_of_too_few_excursions_falls_back_in_words() -> None:
    few = found("pot", excursions(np.arange(1.0, 10.0)), level=0.9)

    assert (few.value, few.fallback, few.supported) == (10.0, True, False)
    assert few.caution.startswith("9 excursions over the 0.9 quantile of held-out scores are too")


def test_pot_asked_for_more_alarms_than_there_are_excursions_counts_as_the_default_does() -> None:
    noise = np.random.default_rng(0).exponential(size=50_000)
    scores = np.convolve(noise, np.ones(5) / 5, "valid")

    assert (
        found("pot", scores, requested=1000).value
        == found("false_alarms_per_day", scores, requested=1000).value
    )


# chi-square


def residuals(seed: int = 0, rows: int = MANY, sensors: int = 5) -> tuple[Floats, Floats, Floats]:
    """Gaussian residuals with their mean and the inverse of their covariance."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(sensors, sensors))
    mean = rng.normal(size=sensors)
    return (
        rng.normal(size=(rows, sensors)) @ mixed.T + mean,
        mean,
        np.array(np.linalg.inv(mixed @ mixed.T), np.float64),
    )


def test_chi_square_of_absolute_residuals_would_be_exceeded_many_times_more_often() -> None:
    residual = np.abs(residuals()[0] - residuals()[1])
    precision = np.linalg.inv(np.cov(residual.T))
    raw = mahalanobis(residual, residual.mean(axis=0), precision)[0]

    made = found("chi-square", raw, quantile=0.999, score="mahalanobis-signed", sensors=5)

    assert over(raw, made.value) > 4e-3


@pytest.mark.parametrize("score", ["mahalanobis", "mean-square"])
def test_chi_square_refuses_another_score(score: str) -> None:
    with pytest.raises(TrainingError, match=f"score=mahalanobis-signed only; found {score}"):
        found("chi-square", [1.0, 2.0], score=score)


# mean-sigma and paper-ecg


def test_mean_sigma_is_what_its_name_says() -> None:
    assert found("mean-sigma", [1.0, 3.0] * 50, sigmas=2).value == 4.0
    assert found("mean-sigma", [1.0, 3.0] * 50).value == 5.0


def absolute_mahalanobis(sensors: int) -> Floats:
    """The paper's score of independent Gaussian residuals."""
    residual = np.abs(np.random.default_rng(0).normal(size=(MANY, sensors)))
    mean = np.full(sensors, (2 / np.pi) ** 0.5)
    return mahalanobis(residual, mean, np.eye(sensors) / (1 - 2 / np.pi))[0]


@pytest.mark.parametrize(
    "scores",
    [
        np.abs(np.random.default_rng(0).normal(size=MANY)),
        np.random.default_rng(0).exponential(size=MANY),
        np.abs(np.random.default_rng(0).standard_t(5, size=MANY)),
        absolute_mahalanobis(8),
    ],
    ids=["half-normal", "exponential", "folded t5", "mahalanobis"],
)
def test_mean_and_three_sigmas_let_pass_seven_to_seventeen_times_what_people_expect(
    scores: Floats,
) -> None:
    made = found("mean-sigma", scores)

    assert 0.009 < over(scores, made.value) < 0.022
    assert made.promise == "no number of false alarms"


@pytest.mark.parametrize(("sensors", "flagged"), [(1, 0.07), (8, 0.14)])
def test_the_papers_ecg_rule_flags_seven_to_fourteen_per_cent_of_normal_scores(
    sensors: int, flagged: float
) -> None:
    scores = absolute_mahalanobis(sensors)

    assert over(scores, found("paper-ecg", scores).value) == pytest.approx(flagged, abs=0.015)


# f-beta


def test_f_beta_is_best_between_the_scores_where_precision_is_lost() -> None:
    made = found("f-beta", [1.0, 2, 3, 4, 5], anomalous=[np.array([4.5, 6]), np.array([7.0])])

    assert made.value == 5.5
    assert made.parameters == {
        "f_beta": pytest.approx(1.01 * (2 / 3) / (0.01 + 2 / 3)),
        "precision": 1.0,
        "recall": pytest.approx(2 / 3),
        "prevalence": 3 / 8,
    }


def test_with_a_large_beta_recall_is_worth_a_false_flag() -> None:
    made = found("f-beta", [1.0, 2, 3, 4, 5], f_beta=3, anomalous=[np.array([4.5, 6, 7])])

    assert made.value == 4.25
    assert made.parameters["recall"] == 1.0


sampled = st.lists(st.floats(0.1, 10) | st.integers(1, 5).map(float), min_size=1, max_size=30)


@given(sampled, sampled, st.sampled_from([0.05, 0.1, 1.0, 2.0]))
def test_no_threshold_at_all_has_a_better_f_beta(
    normal: list[float], strange: list[float], beta: float
) -> None:
    def f_at(threshold: float) -> float:
        hits = sum(score > threshold for score in strange)
        flagged = hits + sum(score > threshold for score in normal)
        if not hits:
            return 0.0
        precision, recall = hits / flagged, hits / len(strange)
        return (1 + beta**2) * precision * recall / (beta**2 * precision + recall)

    made = found("f-beta", normal, f_beta=beta, anomalous=[np.array(strange)])

    best = max(f_at(threshold) for threshold in (0.0, *normal, *strange))
    assert made.parameters["f_beta"] == pytest.approx(best)
    assert f_at(made.value) == pytest.approx(best)


def test_one_huge_score_does_not_move_the_f_beta_threshold() -> None:
    normal = [1.0, 2.0, 3.0]

    assert found("f-beta", normal, anomalous=[np.array([5.0, 1e9])]).value == 4.0


def test_f_beta_without_labels_refuses_in_words() -> None:
    with pytest.raises(TrainingError, match="needs windows labelled anomalous; found none"):
        found("f-beta", [1.0, 2.0])


# All of them


def one_of_each(scale: float) -> dict[str, Threshold]:
    noise = scale * np.random.default_rng(3).gamma(2.0, size=20_000)
    scores = np.convolve(noise, np.ones(5) / 5, "valid")
    anomalous = [scale * np.arange(3.0, 9.0)]
    return {
        name: found(name, scores, requested=20, anomalous=anomalous)
        for name, rule in THRESHOLDS.items()
        if rule.score is None
    }


def test_thresholds_scale_with_the_scores() -> None:
    for name, threshold in one_of_each(1.0).items():
        assert one_of_each(250.0)[name].value == pytest.approx(250 * threshold.value), name


def test_every_rule_says_from_how_much_data_what_it_promises() -> None:
    for name, threshold in one_of_each(1.0).items():
        assert threshold.rule == name
        assert threshold.promise
        assert threshold.scores == 19_996
        assert threshold.days == pytest.approx(19_996 / DAY)
        assert threshold.bound >= threshold.expected
        assert threshold.bound >= 2.99 / threshold.days


@pytest.mark.parametrize("rule", ["mean-sigma", "paper-ecg"])
def test_alarms_on_the_held_out_data_speak_against_a_rule_that_promises_nothing(rule: str) -> None:
    noise = np.random.default_rng(3).gamma(2.0, size=100_000)

    made = found(rule, np.convolve(noise, np.ones(5) / 5, "valid"), requested=5, sigmas=1)

    assert not made.supported
    assert not made.fallback
    assert "alarms in 1.16 days of held-out normal data are more than the 5 per day" in made.caution


def test_no_alarm_in_too_few_days_is_no_support_for_a_rule_that_promises_nothing() -> None:
    made = found("mean-sigma", np.linspace(1, 2, 1000))

    assert made.expected == 0
    assert not made.supported
    assert "cannot support 0.1 false alarms per day (wanted 30 days)" in made.caution


def test_one_alarm_is_told_as_one() -> None:
    scores = np.ones(1000)
    scores[500:510] = 9

    made = found("mean-sigma", scores, requested=0.1, sigmas=1)

    assert "1 alarm in 0.0116 days of held-out normal data is more than the 0.1" in made.caution
