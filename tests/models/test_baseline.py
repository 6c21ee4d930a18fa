from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import numpy as arrays

from models import bundle
from models.baseline import baseline_of, stored
from models.bundle import BASELINE, BundleError
from models.detector import Detector
from models.evaluation import score_recordings
from models.frame import Float32s, Floats
from models.manifest import DEFAULT
from models.packing import Fit
from tests.models.plant import fitted, recalibrated, recording, request, values, written


@pytest.fixture(scope="module")
def done() -> Fit:
    return fitted([recording(values(400))], request("stacked", window=8))


@pytest.fixture(scope="module")
def folder(done: Fit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("baselines") / "plant", done)


def baseline(folder: Path) -> Detector | None:
    return baseline_of(*bundle.verify(folder), bundle.load(folder))


def raw_scores(detector: Detector | None) -> Floats:
    assert detector is not None
    numbers = values(200, seed=1)
    numbers[100:120, 1] -= 8
    (scores,) = score_recordings(detector, [recording(numbers)])
    return scores.raw


def test_the_baseline_is_the_pca_that_fit_would_have_made_of_the_same_data(
    folder: Path, pristine: Path
) -> None:
    own = bundle.load(pristine)

    found = baseline(folder)

    assert found is not None
    assert found.calibration.threshold == pytest.approx(own.calibration.threshold)
    np.testing.assert_allclose(raw_scores(found), raw_scores(own), rtol=1e-3)


def test_a_pca_bundle_is_its_own_baseline_unless_its_parameters_are_others(
    pristine: Path, tmp_path: Path
) -> None:
    wide = fitted(
        [recording(values(400))], replace(request("pca", window=8), parameters={"variance": 0.5})
    )

    assert not (pristine / BASELINE).exists()
    found = baseline(pristine)
    assert found is not None
    assert found.name == "plant"
    own = bundle.load(written(tmp_path / "wide", wide))
    assert (raw_scores(baseline(tmp_path / "wide")) != raw_scores(own)).any()


def test_a_bundle_from_before_there_were_baselines_loads_and_has_none(
    done: Fit, tmp_path: Path
) -> None:
    files = {name: data for name, data in done.files.items() if name != BASELINE}
    old = Fit(done.manifest.model_copy(update={"baseline": {}}), files)

    assert baseline(written(tmp_path / "old", old)) is None


def test_a_baseline_that_was_lost_or_changed_is_refused(folder: Path, tmp_path: Path) -> None:
    lost = tmp_path / "lost"
    lost.mkdir()
    for file in folder.iterdir():
        (lost / file.name).write_bytes(file.read_bytes())
    (lost / BASELINE).write_bytes(b"x")
    with pytest.raises(BundleError, match="is not the file that was written"):
        bundle.load(lost)
    (lost / BASELINE).unlink()

    with pytest.raises(BundleError, match=r"baseline\.safetensors: is missing"):
        bundle.load(lost)


def ones(*shape: int) -> Float32s:
    return np.ones(shape, np.float32)


def test_components_are_stored_row_by_row_however_they_lie_in_memory() -> None:
    turned = np.arange(48, dtype=np.float32).reshape(2, 24).T

    np.testing.assert_array_equal(arrays.load(stored(ones(24), turned))["components"], turned)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"x", "is no safetensors file"),
        (stored(ones(23), ones(24, 2)), r"wanted 'mean', float32 \(24\)"),
        (stored(ones(24), ones(24)), "and 'components'"),
        (stored(ones(24), ones(23, 2)), "holds"),
        (arrays.save({"mean": ones(24)}), "holds"),
        (stored(ones(24) * np.nan, ones(24, 2)), "not finite"),
    ],
)
def test_what_is_no_baseline_is_refused_in_words(
    done: Fit, tmp_path: Path, content: bytes, message: str
) -> None:
    made = Fit(done.manifest, {**done.files, BASELINE: content})

    with pytest.raises(BundleError, match=message):
        baseline(written(tmp_path / "plant", made))


def test_the_baseline_is_for_the_assets_of_the_bundle(done: Fit) -> None:
    other = {"p1": done.manifest.baseline[DEFAULT]}
    content = done.manifest.model_dump() | {"baseline": other}

    with pytest.raises(ValueError, match="baseline: has not the assets of the calibrations"):
        type(done.manifest).model_validate(content)


def test_calibrating_renews_the_baseline_as_well(folder: Path, tmp_path: Path) -> None:
    made = recalibrated(folder, [recording(7 * values(300, 3) + 5)])

    assert made.files[BASELINE] == (folder / BASELINE).read_bytes()
    found = baseline(written(tmp_path / "new", made))
    assert found is not None
    (scores,) = score_recordings(found, [recording(7 * values(200, 4) + 5)])
    assert np.nanmax(scores.raw) < 3
