"""EncDec-AD finds what its paper finds, scored by its own predictions as in the daemon."""

from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.encdec import events
from tests.benchmarks.encdec.model import learn
from tests.benchmarks.encdec.weeks import (
    best_threshold,
    drawn,
)
from tests.models.weekly import weekly_load

KEOGH = Path(__file__).parents[3] / "shared" / "data" / "keogh"
needs_keogh = pytest.mark.skipif(not KEOGH.is_dir(), reason=f"no recordings in {KEOGH}")


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
def test_the_one_ectopic_beat_of_an_electrocardiogram_scores_highest() -> None:
    case = events.CASES["qtdbsel102"](KEOGH)
    model = learn(case.values, case.window, case.sn, case.vn1, case.settings, teacher_forcing=0.0)

    found = events.judge(model, case)

    assert found.event > found.threshold
    assert found.event > found.normal
    assert found.window_event > found.window_threshold
