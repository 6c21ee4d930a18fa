"""One model for many machines: a calibration for each, and for machines it has never seen."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models import bundle
from models.audit import audit
from models.evaluation import score_recordings
from models.frame import Floats
from models.manifest import DEFAULT
from models.packing import Fit
from models.recording import Recording
from models.split import TrainingError
from models.stretches import stored
from tests.models.plant import fitted, recalibrated, recording, request, values, written

SCALES = {"p1": 1.0, "p2": 10.0, "p3": 0.1}


def machine(name: str, numbers: Floats) -> Recording:
    return replace(recording(numbers), assets=(name,))


def fleet(rows: int = 400) -> list[Recording]:
    return [
        machine(name, scale * values(rows, seed))
        for seed, (name, scale) in enumerate(SCALES.items())
    ]


@pytest.fixture(scope="module")
def done() -> Fit:
    return fitted(fleet(), request("pca", window=16))


@pytest.fixture(scope="module")
def folder(done: Fit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("fleet") / "pumps", done)


def test_each_asset_has_its_own_scaling_statistics_and_threshold(done: Fit) -> None:
    assert [*done.manifest.calibrations] == [DEFAULT, *SCALES]
    for name, scale in SCALES.items():
        own = done.manifest.calibrations[name]
        assert own.center[2] == pytest.approx(300 * scale, rel=0.01)
        assert own.threshold.days == pytest.approx((400 - 15) / 86_400)


def test_an_asset_is_scored_by_its_own_calibration_and_a_stranger_by_the_default(
    folder: Path,
) -> None:
    detector = bundle.load(folder)

    def highest(name: str, numbers: Floats) -> float:
        (scores,) = score_recordings(detector, [machine(name, numbers)])
        return float(np.nanmax(scores.raw))

    for name, scale in SCALES.items():
        assert highest(name, scale * values(200, 9)) < 3
    assert highest("p1", 10 * values(200, 9)) > 100
    assert highest("stranger", 10 * values(200, 9)) < 100
    assert detector.calibration.covers("p3")
    assert not detector.calibration.covers("stranger")


def test_one_asset_without_an_asset_column_makes_a_bundle_for_all() -> None:
    one = fitted([machine("p1", values(400))], request("pca", window=16))
    named = fitted([replace(machine("p1", values(400)), has_assets=True)], request(window=16))

    assert [*one.manifest.calibrations] == [DEFAULT]
    assert [*named.manifest.calibrations] == [DEFAULT, "p1"]


def test_an_asset_with_too_little_of_its_own_has_no_calibration() -> None:
    short = machine("p4", values(30))

    done = fitted([*fleet(), short], request("pca", window=16))

    assert [*done.manifest.calibrations] == [DEFAULT, *SCALES]


def test_an_asset_too_short_to_be_scaled_in_every_fold_is_learnt_and_spoils_no_threshold() -> None:
    level = np.array([50.0, 50.0, 50.0])
    others = [machine("p1", values(400)), machine("p2", values(400, 1))]

    alone = fitted(others, request("pca", window=64)).manifest.calibrations
    beside = fitted([*others, machine("p3", values(130, 2) + level)], request("pca", window=64))

    known = beside.manifest.calibrations
    assert [*known] == [DEFAULT, "p1", "p2"]
    assert known[DEFAULT].threshold.value < 3 * alone[DEFAULT].threshold.value
    for name in ("p1", "p2"):
        assert known[name].threshold.value < 3 * alone[name].threshold.value


def test_an_asset_with_data_too_short_for_the_request_has_at_least_the_fleets_threshold(
    done: Fit,
) -> None:
    known = done.manifest.calibrations

    assert not known["p1"].threshold.supported
    assert min(known[name].threshold.value for name in SCALES) >= known[DEFAULT].threshold.value


def test_an_asset_that_is_called_as_the_default_is_refused_in_words() -> None:
    with pytest.raises(TrainingError, match="'default'"):
        fitted([*fleet(), machine(DEFAULT, values(400))], request("pca", window=16))


def test_calibrating_adds_an_asset_and_leaves_all_else_bit_equal(
    folder: Path, done: Fit, tmp_path: Path
) -> None:
    found = recalibrated(folder, [machine("p9", 5 * values(300, 3))], by_asset=True)

    known = found.manifest.calibrations
    assert [*known] == [DEFAULT, *SCALES, "p9"]
    assert {name: known[name] for name in done.manifest.calibrations} == (
        done.manifest.calibrations
    )
    assert found.files == done.files
    assert found.manifest.audit == done.manifest.audit
    assert known["p9"].center[2] == pytest.approx(1500, rel=0.01)
    detector = bundle.load(written(tmp_path / "new", found))
    (scores,) = score_recordings(detector, [machine("p9", 5 * values(200, 4))])
    assert np.nanmax(scores.raw) < 3


def test_calibrating_without_assets_renews_the_default_and_keeps_the_weights(
    tmp_path: Path,
) -> None:
    first = fitted([recording(values(400))], request("pca", window=16))
    folder = written(tmp_path / "first", first)

    found = recalibrated(folder, [recording(7 * values(300, 3) + 5)])

    assert found.manifest.calibrations[DEFAULT].center[2] == pytest.approx(2105, rel=0.01)
    for name in (bundle.WEIGHTS, bundle.NETWORK):
        assert found.files[name] == first.files[name]
    assert [one.file for one in found.manifest.calibration_data] == ["plant.csv"]
    assert found.manifest.audit is not None
    assert found.manifest.audit.probes["white-noise"].verdict == "told"
    sample = stored(found.files[bundle.GOLDEN])
    assert sample is not None
    assert sample.values[..., 2].mean() == pytest.approx(2105, rel=0.01)
    detector = bundle.load(written(tmp_path / "second", found))
    (scores,) = score_recordings(detector, [recording(7 * values(200, 4) + 5)])
    assert np.nanmax(scores.raw) < 3


def test_renewing_an_asset_renews_the_sample_of_it_and_its_audit(
    folder: Path, done: Fit, tmp_path: Path
) -> None:
    found = recalibrated(folder, [machine("p2", 9 * values(300, 3))], by_asset=True)

    before, sample = stored(done.files[bundle.GOLDEN]), stored(found.files[bundle.GOLDEN])
    assert before is not None
    assert sample is not None
    assert set(before.row) == {1, 2, 3}
    assert set(sample.row) == {2}
    assert found.manifest.audit is not None
    assert found.manifest.audit != done.manifest.audit
    assert found.manifest.audit.alarmed == 0
    detector = bundle.load(written(tmp_path / "new", found))
    assert audit(detector, sample, lambda done, most: None) == found.manifest.audit
