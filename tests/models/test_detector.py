from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.decision import Rule
from models.detector import (
    FARTHEST,
    Calibration,
    Detector,
    Score,
    mahalanobis,
    mean_square,
    scale,
)
from models.frame import SECOND, Float32s, Floats, Grid
from models.runtime import Outputs

WINDOW, SENSORS = 6, 3


def zero_runtime(windows: Float32s) -> Outputs:
    """A network that expects 0 of every scaled sensor."""
    return Outputs(np.zeros_like(windows), np.square(windows))


def detector(score: Score = "mean-square") -> Detector:
    calibration = Calibration(
        assets=(),
        center=np.array([[10.0, 0.0, -5.0]]),
        spread=np.array([[2.0, 1.0, 0.5]]),
        error_scale=np.array([[0.5, 1.0, 2.0]]),
        threshold=np.array([2.0]),
        expected_per_day=np.array([0.0]),
        bound_per_day=np.array([3.0]),
    )
    if score != "mean-square":
        calibration = replace(
            calibration,
            error_mean=np.array([[0.5, 0.25, 0.0]]),
            error_precision=np.array([[[2.0, -1.0, 0.0], [-1.0, 3.0, 0.0], [0.0, 0.0, 1.0]]]),
        )
    return Detector(
        "plant",
        "0" * 64,
        0.0,
        ("a", "b", "c"),
        (None, None, None),
        Grid(SECOND, WINDOW),
        Rule(),
        score,
        2,
        calibration,
        zero_runtime,
    )


def test_scaling_is_by_the_frozen_center_and_spread() -> None:
    scaled = detector().scale(np.array([[12.0, 3.0, -6.0], [10.0, 0.0, -5.0]]))

    assert scaled.dtype == np.float32
    assert scaled.tolist() == [[1.0, 3.0, -2.0], [0.0, 0.0, 0.0]]


def test_mean_square_is_half_the_newest_frame_and_half_the_tail_in_units_of_normal_error() -> None:
    window = np.zeros((1, WINDOW, SENSORS), np.float32)
    window[0, -1] = [1, 2, 4]
    window[0, -2] = [3, 0, 0]
    window[0, -3] = 1000  # older than the tail

    scores = detector().score_windows(window)

    # Squares of the newest: 1, 4, 16; means of two: 5, 2, 8; half of both: 3, 3, 12; in units of
    # the error: 6, 3, 6.
    assert scores.raw.tolist() == [pytest.approx(15 / 3 / 2)]
    np.testing.assert_allclose(scores.shares, [[6 / 15, 3 / 15, 6 / 15]])
    assert scores.expected.tolist() == [[10.0, 0.0, -5.0]]


def test_mahalanobis_is_the_quadratic_form_of_the_newest_absolute_residuals() -> None:
    window = np.full((1, WINDOW, SENSORS), 9, np.float32)
    window[0, -1] = [-1.5, 1.25, 2]  # residuals 1.5, 1.25, 2; less the mean: 1, 1, 2

    scores = detector("mahalanobis").score_windows(window)

    # Terms: 1 * (2 - 1), 1 * (3 - 1), 2 * 2.
    assert scores.raw.tolist() == [pytest.approx(7 / 2)]
    np.testing.assert_allclose(scores.shares, [[1 / 7, 2 / 7, 4 / 7]])


def test_signed_mahalanobis_keeps_the_sign_of_the_newest_residuals() -> None:
    window = np.full((2, WINDOW, SENSORS), 9, np.float32)
    window[0, -1] = [1.5, 1.25, 2]
    window[1, -1] = [-1.5, 1.25, 2]

    scores = detector("mahalanobis-signed").score_windows(window)

    # Less the mean: 1, 1, 2, and -2, 1, 2. Terms: 1, 2, 4, and -2 * -5, 1 * 5, 4.
    assert scores.raw.tolist() == [pytest.approx(7 / 2), pytest.approx(19 / 2)]
    np.testing.assert_allclose(scores.shares[1], [10 / 19, 5 / 19, 4 / 19])


numbers = st.floats(-1e30, 1e30) | st.sampled_from([0.0, 1e-30, 1e300, -1e300])


@given(
    arrays(
        np.float64,
        st.tuples(st.integers(1, 5), st.just(WINDOW), st.just(SENSORS)),
        elements=numbers,
    ),
    st.sampled_from(get_args(Score)),
)
def test_any_finite_values_give_a_finite_score_and_shares_that_sum_to_1(
    windows: Floats, score: Score
) -> None:
    judge = detector(score)

    scores = judge.score_windows(judge.scale(windows))

    assert np.isfinite(scores.raw).all()
    assert (scores.shares >= 0).all()
    np.testing.assert_allclose(scores.shares.sum(axis=1), 1)


def test_without_any_error_the_shares_are_even() -> None:
    scores = detector().score_windows(np.zeros((1, WINDOW, SENSORS), np.float32))

    assert scores.raw.tolist() == [0.0]
    np.testing.assert_allclose(scores.shares, 1 / 3)


def test_a_window_that_is_not_finite_has_no_score() -> None:
    window = np.full((2, WINDOW, SENSORS), 1, np.float32)
    window[0, -1, 0] = np.nan

    scores = detector().score_windows(window)

    assert np.isnan(scores.raw).tolist() == [True, False]
    np.testing.assert_allclose(scores.shares.sum(axis=1), 1)


def test_the_farthest_value_is_a_bound_and_not_an_overflow() -> None:
    far = scale(np.array([1e308, -1e308, 3.0]), np.array(-1e308), np.array(1e-3))

    assert far.tolist() == [FARTHEST, pytest.approx(0), FARTHEST]


@pytest.mark.parametrize("sensors", [1, 2, 7, 8, 9, 38])
@pytest.mark.parametrize("rows", [1, 2, 3, 17, 64])
def test_the_scores_numpy_part_is_bitwise_independent_of_the_batch(sensors: int, rows: int) -> None:
    rng = np.random.default_rng(0)
    error = rng.exponential(size=(64, 25, sensors)).astype(np.float32)
    scale_of, mean = rng.exponential(size=sensors), rng.exponential(size=sensors)
    precision = rng.normal(size=(sensors, sensors))

    for tail in (1, 20, 25):
        whole, part = mean_square(error, scale_of, tail), mean_square(error[:rows], scale_of, tail)
        for one, other in zip(whole, part, strict=True):
            np.testing.assert_array_equal(one[:rows], other)
    newest = np.sqrt(error[:, -1].astype(np.float64))
    whole, part = mahalanobis(newest, mean, precision), mahalanobis(newest[:rows], mean, precision)
    for one, other in zip(whole, part, strict=True):
        np.testing.assert_array_equal(one[:rows], other)
