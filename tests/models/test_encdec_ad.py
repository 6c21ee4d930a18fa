"""EncDec-AD finds what its paper finds, scored by its own predictions as in the daemon."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.frame import Bools, Floats
from models.plan import Settings
from tests.benchmarks.encdec import events
from tests.benchmarks.encdec.model import learn
from tests.benchmarks.encdec.weeks import (
    SETTINGS,
    WEEK,
    Judgement,
    best_threshold,
    drawn,
    judge,
    last,
    power_demand,
)

KEOGH = Path(__file__).parents[3] / "shared" / "data" / "keogh"
needs_keogh = pytest.mark.skipif(not KEOGH.is_dir(), reason=f"no recordings in {KEOGH}")


def weekly_load(seed: int) -> tuple[Floats, Bools]:
    """51 weeks of 4 points a day, weekends off; in 6 weeks one more day is."""
    chance = np.random.default_rng(seed)
    load = np.zeros((51, 7, 4))
    load[:, :5] = [0.3, 1.7, 1.7, 0.3]
    holidays = (chance.choice(51, 6, replace=False), chance.integers(0, 5, 6))
    load[holidays] = 0
    load += chance.normal(scale=0.1, size=load.shape)
    label = np.zeros(load.shape, bool)
    label[holidays] = True
    return load.reshape(-1, 1) + 5, label.ravel()


def run(
    values: Floats, label: Bools, length: int, settings: Settings, hidden: int = 40
) -> Judgement:
    weeks = drawn(label, length, settings.seed)
    sn, vn1 = last(weeks.sn, length), last(weeks.vn1, length)
    return judge(learn(values, length, sn, vn1, settings, hidden=hidden), weeks)


def test_weeks_with_a_day_off_stand_out_of_a_weekly_load() -> None:
    values, label = weekly_load(0)

    found = run(values, label, 28, Settings(epochs=100, patience=100, batch=8, lr=1e-2), hidden=16)

    assert found.auc == 1
    assert found.f >= 0.6
    assert found.ratio is None or found.ratio > 4


def test_every_week_serves_for_one_thing_and_holidays_for_no_training() -> None:
    _, label = weekly_load(1)
    weeks = drawn(label, 28, seed=3)
    parts = [weeks.sn, weeks.vn1, weeks.vn2, weeks.tn, weeks.va, weeks.ta]

    assert [len(part) for part in parts] == [24, 8, 6, 7, 3, 3]
    assert sorted(np.concatenate(parts)) == list(range(51))
    anomalous = np.array([week.any() for week in label.reshape(51, -1)])
    assert anomalous[np.concatenate(parts[4:])].all()
    assert not anomalous[np.concatenate(parts[:4])].any()


def test_the_threshold_is_the_score_with_the_largest_f_and_no_step_of_a_grid() -> None:
    chance = np.random.default_rng(0)
    normal, anomalous = chance.exponential(size=300), chance.exponential(3, size=200)
    anomalous[0] = 1e6  # a grid from 0 to the highest score would have one step for all others

    def f(threshold: float) -> float:
        hits, false = (anomalous >= threshold).sum(), (normal >= threshold).sum()
        precision, recall = hits / (hits + false), hits / len(anomalous)
        return 1.01 * precision * recall / (0.01 * precision + recall)

    found = best_threshold(normal, anomalous)

    assert found in anomalous
    assert f(found) == pytest.approx(max(map(f, np.concatenate((normal, anomalous)))))


@needs_keogh
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_weeks_of_holidays_stand_out_of_a_year_of_power_demand_in_five_runs_of_five() -> None:
    values, label = power_demand(KEOGH)
    weeks = np.flatnonzero(label.reshape(-1, WEEK).any(axis=1))
    assert weeks.tolist() == [11, 12, 16, 17, 19, 50]

    found = [run(values, label, WEEK, replace(SETTINGS, seed=seed)) for seed in range(5)]

    assert [one.auc for one in found] == [1] * 5
    assert np.median([one.f for one in found]) >= 0.6
    assert np.median([np.inf if one.ratio is None else one.ratio for one in found]) > 4


@needs_keogh
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_one_ectopic_beat_of_an_electrocardiogram_scores_highest() -> None:
    case = events.CASES["qtdbsel102"](KEOGH)
    model = learn(case.values, case.window, case.sn, case.vn1, case.settings, teacher_forcing=0.0)

    found = events.judge(model, case)

    assert found.event > found.threshold
    assert found.event > found.normal
    assert found.window_event > found.window_threshold
