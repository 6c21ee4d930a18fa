import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models import bundle
from models.evaluation import Judged, evaluate
from models.frame import SECOND, Codes, Grid
from models.judgement import Judgement, average, bootstrap_interval, judge, summary
from models.recording import Recording
from models.selection import Selection
from tests.models.plant import recording, values

GRID = Grid(SECOND, 8)


def faulty(seed: int, *, labelled: bool = True) -> Recording:
    """A recording with a fault in the flow."""
    numbers = values(120, seed=seed)
    numbers[60:90, 1] -= 8
    label: Codes = np.zeros(120, np.uint8)
    label[60:90] = 1
    made = recording(numbers, label=label if labelled else None)
    return replace(made, path=Path(f"{seed}.csv"))


def quiet(done: int, most: int) -> None:
    """Progress that nobody watches."""


def judgement(folder: Path, *recordings: Recording) -> Judgement:
    detector = bundle.load(folder)
    return judge(detector, detector, recordings, [("0" * 64, Selection((100, 110)))], quiet)


def test_the_mean_is_over_the_files_where_a_figure_has_a_meaning() -> None:
    found = average([{"f1": 1.0, "mcc": None}, {"f1": 0.5, "mcc": None}, {"f1": None}])

    assert found.mean == {"f1": 0.75, "mcc": None}
    assert found.counted == {"f1": 2, "mcc": 0}
    assert found.interval == {"f1": None, "mcc": None}


def test_fewer_than_three_files_have_no_interval() -> None:
    assert bootstrap_interval(np.array([0.2, 0.9])) is None
    assert bootstrap_interval(np.array([])) is None
    assert bootstrap_interval(np.array([0.5, 0.5, 0.5])) == (0.5, 0.5)


def test_the_interval_holds_the_true_mean_in_about_95_of_100_samples() -> None:
    rng = np.random.default_rng(5)
    intervals = [bootstrap_interval(rng.exponential(size=60)) for _ in range(200)]

    held = np.mean([one is not None and one[0] <= 1 <= one[1] for one in intervals])

    assert 0.88 <= held <= 0.98


def test_equal_figures_have_equal_intervals() -> None:
    some = np.random.default_rng(1).normal(size=20)

    assert bootstrap_interval(some) == bootstrap_interval(some)
    low, high = bootstrap_interval(some) or (0, 0)
    assert low < some.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * some.std() / 20**0.5, rel=0.1)


def test_a_summary_judges_files_one_by_one_and_together() -> None:
    ones = Judged(
        np.array([True, False]), np.array([True, False]), np.array([2.0, 0.5]), np.arange(2)
    )
    none = Judged(
        np.array([True, False]), np.array([False, False]), np.array([0.1, 0.5]), np.arange(2)
    )

    found = summary([ones, none], GRID, [3, 4])

    assert [one["recall"] for one in found.files] == [1, 0]
    assert found.average.mean["recall"] == found.pooled["recall"] == 0.5
    assert found.pooled == {**evaluate([ones, none], GRID), "rows_seen_in_training": 7}


def test_a_judgement_tells_the_detector_always_alarm_and_pca_by_file(pristine: Path) -> None:
    found = judgement(pristine, *map(faulty, range(1, 5))).as_json()

    assert list(found["files"]) == ["1.csv", "2.csv", "3.csv", "4.csv"]
    assert found["rows_seen_in_training"] == found["pooled"]["rows_seen_in_training"] == 40
    assert found["files"]["1.csv"]["rows_seen_in_training"] == 10
    for part in (found, found["always-alarm"], found["pca"]):
        assert part["files"].keys() == found["files"].keys()
        assert part["mean"].keys() == part["pooled"].keys() == part["interval"].keys()
        assert part["counted"]["recall"] == 4
        low, high = part["interval"]["recall"]
        assert low <= part["mean"]["recall"] <= high
    assert found["always-alarm"]["pooled"]["far"] == 1
    # This bundle is the baseline itself.
    assert found["pca"]["pooled"] == found["pooled"]
    assert found["pca"]["gain"]["mean"]["recall"] == 0
    assert json.loads(json.dumps(found)) == json.loads(json.dumps(found))


def test_the_gain_over_the_baseline_is_paired_by_file(pristine: Path) -> None:
    detector = bundle.load(pristine)
    blind = replace(
        detector, calibration=replace(detector.calibration, threshold=np.array([1e9])), name="blind"
    )

    found = judge(detector, blind, [faulty(1), faulty(2), faulty(3)], [], quiet)

    assert found.pca is not None
    assert found.gain is not None
    assert found.pca.pooled["recall"] == 0
    assert found.gain.mean["recall"] == found.own.average.mean["recall"]
    assert found.gain.interval["recall"] == found.own.average.interval["recall"]
    assert found.gain.mean["auc_pr"] == 0


def test_without_labels_nothing_is_compared_with_always_alarm(pristine: Path) -> None:
    found = judgement(pristine, faulty(1, labelled=False))

    assert not found.labelled
    assert "always-alarm" not in found.as_json()
    assert "recall" not in found.as_json()["pca"]["pooled"]


def test_without_a_baseline_there_is_no_pca(pristine: Path) -> None:
    found = judge(bundle.load(pristine), None, [faulty(1)], [], quiet)

    assert "pca" not in found.as_json()


def test_the_assets_of_a_file_are_judged_apart(pristine: Path) -> None:
    one = faulty(1)
    two = replace(one, assets=("p1", "p2"), asset=np.repeat([0, 1], 60))

    found = judgement(pristine, two)

    assert found.names == ["1.csv:p1", "1.csv:p2"]
    assert [part["rows_seen_in_training"] for part in found.own.files] == [0, 10]
