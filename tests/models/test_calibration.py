import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.calibration import (
    ErrorStatistics,
    Fold,
    Head,
    calibrate_once,
    error_statistics,
    errors,
    score_errors,
    smoothed,
)
from models.decision import Rule
from models.detector import Score, scale
from models.families.network import Network
from models.frame import SECOND, Floats, Grid
from models.runtime import TorchRuntime
from models.split import Split
from models.threshold import ThresholdSettings
from tests.models.plant import normal

WINDOW = 4


class Half(Network):
    """Expects half of every value."""

    def reconstruct(self, windows: torch.Tensor) -> torch.Tensor:
        return windows / 2


CENTER, SPREAD = np.array([1.0, 0.0]), np.array([2.0, 4.0])
FOLD = Fold(
    TorchRuntime(Half(WINDOW, 2)), CENTER[None], SPREAD[None], Split(*[np.empty(0, np.int64)] * 3)
)


def numbers(frames: int = 30) -> Floats:
    return np.random.default_rng(0).normal(size=(frames, 2)) * [2, 4] + [1, 0]


def test_scores_are_smoothed_within_each_unbroken_stretch_in_order_of_frames() -> None:
    ends = np.array([5, 3, 4, 11, 10])
    raw = np.array([3.0, 1.0, 2.0, 20.0, 10.0])

    found = smoothed(raw, ends, Rule(smooth=2))

    assert [stretch.tolist() for stretch in found] == [[1.0, 1.5, 2.5], [10.0, 15.0]]


def test_errors_are_the_networks_own_on_the_windows_that_end_where_asked() -> None:
    values = numbers()

    (found,) = errors(FOLD, normal(values), np.array([3, 9]), WINDOW, 0)

    scaled = scale(values, CENTER, SPREAD)
    wanted = np.square(np.stack([scaled[0:4], scaled[6:10]]) / 2)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    assert [*errors(FOLD, normal(values), np.empty(0, np.int64), WINDOW, 0)] == []


def test_the_error_scale_is_the_mean_of_what_the_score_takes_of_all_held_out_windows() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.random((count, WINDOW, 2)).astype(np.float32) for count in (2, 3)]

    found = error_statistics(parts, "mean-square", tail=2)

    together = np.concatenate(parts)
    wanted = (together[:, -1] + together[:, -2:].mean(axis=1)).mean(axis=0) / 2
    np.testing.assert_allclose(found.scale, wanted, rtol=1e-6)
    assert found.mean is found.precision is None


def test_mahalanobis_statistics_are_those_of_all_frames_absolute_residuals() -> None:
    ends = np.arange(WINDOW - 1, 4000, WINDOW)
    squares = [*errors(FOLD, normal(numbers(4000)), ends, WINDOW, 0)]

    found = error_statistics(squares, "mahalanobis", tail=2)

    residual = np.sqrt(np.concatenate(squares)).reshape(-1, 2)
    assert found.mean is not None
    assert found.precision is not None
    np.testing.assert_allclose(found.mean, residual.mean(axis=0), rtol=1e-5)
    # With so many frames the shrinkage is small.
    wanted = np.linalg.inv(np.cov(residual.T))
    np.testing.assert_allclose(found.precision, wanted, rtol=0.05, atol=0.5)
    np.testing.assert_allclose(found.precision, found.precision.T)


def test_signed_statistics_are_those_of_the_newest_frames_residuals() -> None:
    ends = np.arange(WINDOW - 1, 4000)
    values = numbers(4000)

    signed = [*errors(FOLD, normal(values), ends, WINDOW, 0, signed=True)]
    found = error_statistics(signed, "mahalanobis-signed", tail=2)

    newest = scale(values, CENTER, SPREAD)[ends] / 2
    np.testing.assert_allclose(np.concatenate(signed)[:, -1], newest)
    assert found.mean is not None
    assert found.precision is not None
    np.testing.assert_allclose(found.mean, newest.mean(axis=0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        found.precision, np.linalg.inv(np.cov(newest.T)), rtol=0.05, atol=0.1
    )
    squares = errors(FOLD, normal(values), ends, WINDOW, 0)
    plain = error_statistics(squares, "mean-square", tail=2)
    np.testing.assert_allclose(found.scale, plain.scale, rtol=1e-6)


@pytest.mark.parametrize("score", ["mean-square", "mahalanobis-signed"])
def test_the_errors_of_all_windows_are_never_in_memory_at_once(
    score: Score, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.calibration.BATCH", 64)
    window, values = 256, numbers(3000)
    ends = np.arange(window - 1, len(values))
    fold = replace(FOLD, split=Split(ends[:0], ends, ends))
    head = Head(score, 20, Rule(), 0.1, ThresholdSettings("quantile"))
    tracemalloc.start()

    calibrate_once([fold], normal(values), Grid(SECOND, window), head, 0)

    peak, every = tracemalloc.get_traced_memory()[1], ends.size * window * 2 * 4
    tracemalloc.stop()
    assert peak < every / 2


RESIDUALS = np.array([1.0, 2.0]), np.eye(2)


@pytest.mark.parametrize(
    ("statistics", "wanted"),
    [
        (ErrorStatistics(np.array([1.0, 4.0])), 6.5),
        (ErrorStatistics(np.array([1.0, 4.0]), *RESIDUALS), 8.0),
        (ErrorStatistics(np.array([1.0, 4.0]), *RESIDUALS, signed=True), 8.0**2 + 14.0**2),
    ],
)
def test_a_score_without_threshold_follows_the_statistics_there_are(
    statistics: ErrorStatistics, wanted: float
) -> None:
    found = np.zeros((1, WINDOW, 2), np.float32)
    found[0, -1] = [9, 16]

    assert score_errors(found, 1, statistics).tolist() == [wanted]
