"""The sample of held-out normal data that a bundle carries."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models import bundle
from models.calibration import Fold
from models.decision import Rule
from models.detector import Calibration, Detector
from models.frame import SECOND, Float32s, Grid, Ints
from models.packing import Fit
from models.plan import Request, plan
from models.runtime import OnnxRuntime, Outputs
from models.split import NormalFrames, Split
from models.stretches import MOST_BYTES, Stretches, sample, stored
from tests.models.plant import fitted, normal, recording, request, values


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def sample_of(done: Fit) -> Stretches:
    found = stored(done.files[bundle.GOLDEN])
    assert found is not None
    return found


def starts_in(numbers: np.ndarray, sample: Stretches) -> Ints:
    """Where in the recording each stretch stands."""
    frames = sample.values.shape[1]
    found = [
        start
        for stretch in sample.values
        for start in range(len(numbers) - frames + 1)
        if np.array_equal(numbers[start : start + frames], stretch)
    ]
    assert len(found) == len(sample.values)
    return np.array(found)


def test_long_data_give_stretches_of_the_windows_that_set_the_threshold() -> None:
    numbers = values(5600)
    asked = request("pca", window=16)
    done = fitted([recording(numbers)], asked)

    found = sample_of(done)

    # Fifteen frames, nine windows for the decision to settle, and a fault of 64.
    assert found.values.shape == (8, 15 + 9 + 64, 3)
    (split,) = plan([recording(numbers)], asked).folds
    for start in starts_in(numbers, found):
        assert np.isin(np.arange(start + 15, start + 88), split.calibration).all()
    detector = bundle.detector_of(done.manifest, OnnxRuntime(done.files[bundle.NETWORK]))
    scaled = detector.scale(found.values)
    windows = scaled[:, np.arange(73)[:, None] + np.arange(16)].reshape(-1, 16, 3)
    raw = detector.score_windows(windows).raw
    np.testing.assert_allclose(found.raw.ravel(), raw, rtol=1e-4)


def test_short_data_give_stretches_of_each_fold_with_scores_of_the_network_that_held_them_out() -> (
    None
):
    numbers = values(400)
    asked = request("pca", window=8, parameters={"variance": 0.99})
    done = fitted([recording(numbers)], asked)

    found = sample_of(done)

    # A network with so little loss knows the windows it has seen.
    folds = plan([recording(numbers)], asked).folds
    for start, split in zip(starts_in(numbers, found), folds, strict=True):
        assert np.isin(np.arange(start + 7, start + 80), split.calibration).all()
    detector = bundle.detector_of(done.manifest, OnnxRuntime(done.files[bundle.NETWORK]))
    windows = detector.scale(found.values)[:, np.arange(73)[:, None] + np.arange(8)]
    seen = detector.score_windows(windows.reshape(-1, 8, 3)).raw
    assert seen.mean() < 0.9 * found.raw.mean()


def taken(frames: NormalFrames, split: Split) -> Stretches | None:
    """The sample of windows of 8 frames that a network which expects 0 has not fitted."""
    ones = np.ones((1, frames.sensors))

    def zero(windows: Float32s) -> Outputs:
        return Outputs(np.zeros_like(windows), np.square(windows))

    detector = Detector(
        "plant",
        "",
        0.0,
        ("",) * frames.sensors,
        (None,) * frames.sensors,
        Grid(SECOND, 8),
        Rule(),
        "mean-square",
        8,
        Calibration((), 0 * ones, ones, ones, np.ones(1), np.zeros(1), np.zeros(1)),
        zero,
    )
    return sample(detector, [Fold(zero, 0 * ones, ones, split)], frames)


def test_a_sample_is_bounded_in_bytes_but_never_under_two_stretches() -> None:
    for sensors, stretches in ((10, 8), (400, 4), (2000, 2)):
        numbers = np.random.default_rng(0).normal(size=(900, sensors))
        ends = np.arange(7, 900)

        found = taken(normal(numbers), Split(ends[:0], ends, ends))

        assert found is not None
        assert found.values.shape == (stretches, 80, sensors)
        assert stretches == 2 or found.values.nbytes <= MOST_BYTES


@pytest.mark.parametrize(("whole", "frames"), [(100, 80), (70, 48), (45, 32), (31, None)])
def test_broken_data_give_shorter_stretches_and_very_broken_data_none(
    whole: int, frames: int | None
) -> None:
    numbers = values(600)
    ends = np.array([end for end in range(600) if end % whole >= 7])

    found = taken(normal(numbers), Split(ends[:0], ends, ends))

    assert (found and found.values.shape[1]) == frames
    if found:
        assert {
            start % whole + found.values.shape[1] <= whole for start in starts_in(numbers, found)
        } == {True}


def test_a_bundle_of_very_broken_data_is_not_audited() -> None:
    whole = recording(values(600))
    broken = replace(whole, time=whole.time + np.arange(600) // 20 * (10 * SECOND))

    done = fitted([broken], Request(model="pca", window=8, period=SECOND))

    assert stored(done.files[bundle.GOLDEN]) is None
    assert done.manifest.audit is None


def test_each_stretch_is_of_one_asset_and_knows_its_calibration() -> None:
    numbers = values(800)
    numbers[400:] = numbers[400:] * 3 + 1000
    two = replace(
        recording(numbers), asset=np.repeat([0, 1], 400), assets=("a", "b"), has_assets=True
    )
    done = fitted([two], request("pca", window=8))

    found = sample_of(done)

    assert done.manifest.calibrations.keys() == {"default", "a", "b"}
    starts = starts_in(numbers, found)
    assert set(found.row) == {1, 2}
    for start, row in zip(starts, found.row, strict=True):
        assert (start + 79 < 400) == (row == 1)
        assert start >= 400 or row == 1
    assert done.manifest.audit is not None
    assert done.manifest.audit.alarmed == 0
    assert done.manifest.audit.probes["white-noise"].verdict == "told"
