import numpy as np
import pytest
import torch

from models.calibration import error_statistics, errors, score_errors, smoothed
from models.decision import Rule
from models.detector import scale
from models.families.network import Network
from models.frame import Floats
from models.training import Fitted, Split

WINDOW = 4


class Half(Network):
    """Expects half of every value."""

    def reconstruct(self, windows: torch.Tensor) -> torch.Tensor:
        return windows / 2


def fold(validation: list[int]) -> tuple[Fitted, Split]:
    held = np.array(validation)
    fitted = Fitted(Half(WINDOW, 2), np.array([1.0, 0.0]), np.array([2.0, 4.0]), 1, 0.0)
    return fitted, Split(held[:0], held, held)


def numbers(frames: int = 30) -> Floats:
    return np.random.default_rng(0).normal(size=(frames, 2)) * [2, 4] + [1, 0]


def test_scores_are_smoothed_within_each_unbroken_stretch_in_order_of_frames() -> None:
    ends = np.array([5, 3, 4, 11, 10])
    raw = np.array([3.0, 1.0, 2.0, 20.0, 10.0])

    found = smoothed(raw, ends, Rule(smooth=2))

    assert [stretch.tolist() for stretch in found] == [[1.0, 1.5, 2.5], [10.0, 15.0]]


def test_errors_are_the_networks_own_on_the_windows_that_end_where_asked() -> None:
    values = numbers()
    fitted, _ = fold([])

    found = errors(fitted, values, np.array([3, 9]), WINDOW)

    scaled = scale(values, fitted.center, fitted.spread)
    wanted = np.square(np.stack([scaled[0:4], scaled[6:10]]) / 2)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_the_error_scale_is_the_mean_square_of_the_newest_frames_of_all_held_out_windows() -> None:
    values = numbers()
    folds = [fold([5, 6]), fold([20, 21, 22])]

    found, mean, precision = error_statistics(values, WINDOW, folds, "mean-square", tail=2)

    scaled = scale(values, np.array([1.0, 0.0]), np.array([2.0, 4.0])).astype(np.float64)
    squares = np.square(scaled / 2)
    ends = (5, 6, 20, 21, 22)
    wanted = np.mean([squares[end - 1 : end + 1].mean(axis=0) for end in ends], axis=0)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    assert mean is precision is None


def test_mahalanobis_statistics_are_those_of_all_frames_absolute_residuals() -> None:
    values = numbers(4000)
    folds = [fold(list(range(WINDOW - 1, 4000, WINDOW)))]

    _, mean, precision = error_statistics(values, WINDOW, folds, "mahalanobis", tail=2)

    residual = np.abs(scale(values, np.array([1.0, 0.0]), np.array([2.0, 4.0])) / 2)
    assert mean is not None
    assert precision is not None
    np.testing.assert_allclose(mean, residual.mean(axis=0), rtol=1e-5)
    # With so many frames the shrinkage is small.
    np.testing.assert_allclose(precision, np.linalg.inv(np.cov(residual.T)), rtol=0.05, atol=0.5)
    np.testing.assert_allclose(precision, precision.T)


@pytest.mark.parametrize(("score", "wanted"), [("mean-square", 6.5), ("mahalanobis", 8.0)])
def test_a_score_without_threshold_follows_the_chosen_kind(score: str, wanted: float) -> None:
    found = np.zeros((1, WINDOW, 2), np.float32)
    found[0, -1] = [9, 16]

    raw = score_errors(
        found,
        "mahalanobis" if score == "mahalanobis" else "mean-square",
        1,
        np.array([1.0, 4.0]),
        np.array([1.0, 2.0]),
        np.eye(2),
    )

    assert raw.tolist() == [wanted]
