"""Scaling + network + error statistics + threshold: windows → scores and shares.

All of it is NumPy around a runtime, so ONNX Runtime and torch differ only inside the network, and
every reduction runs over one window's own numbers: a score does not depend on its batch.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from models.decision import Rule
from models.frame import Float32s, Floats, Grid

if TYPE_CHECKING:
    from models.runtime import Runtime

# A reading this many spreads off is as strange as a finite score can say; without the bound its
# square would overflow float32 and the window could not be scored at all.
FARTHEST = 1e6
# Least error scale, in units of the scaled variance: with collinear sensors a PCA leaves one of
# them an error of 1e-7, and rounding would rule its score.
LEAST_ERROR = 1e-4

Score = Literal["mean-square", "mahalanobis"]


@dataclass(frozen=True, slots=True)
class Calibration:
    """What an asset's normal data say, arrays of shape (sensors,) unless given.

    Args:
        center, spread: frozen scaling; scaled = (value - center) / spread.
        error_scale: mean squared residual of each scaled sensor on held-out normal data.
        error_mean: mean absolute residual; only the Mahalanobis score has it.
        error_precision: inverse of the shrunk covariance of absolute residuals, shape
            (sensors, sensors); only the Mahalanobis score has it.
        threshold: the unscaled score that becomes 1.0.
        expected_per_day, bound_per_day: false alarms at that threshold on held-out normal data,
            and their 95 % bound.
    """

    center: Floats
    spread: Floats
    error_scale: Floats
    error_mean: Floats
    error_precision: Floats
    threshold: float
    expected_per_day: float
    bound_per_day: float


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of some windows.

    Args:
        raw: unsmoothed score on the 1.0 scale, NaN where it is not finite, shape (windows,).
        shares: each sensor's part in the raw score, rows sum to 1, shape (windows, sensors).
        expected: what the network expected of the newest frame, in the sensors' units, shape
            (windows, sensors).
    """

    raw: Floats
    shares: Floats
    expected: Floats


@dataclass(frozen=True, slots=True)
class Detector:
    """A trained detector, ready to score.

    Args:
        created: when the bundle was made, seconds since the epoch.
        sensors, units: names and units in the order of the columns.
        score: `mean-square` (of the newest `tail` frames, each sensor in units of its own normal
            error) or `mahalanobis` (EncDec-AD's, of the newest frame).
        tail: newest frames the score looks at.
    """

    name: str
    digest: str
    created: float
    sensors: tuple[str, ...]
    units: tuple[str | None, ...]
    grid: Grid
    rule: Rule
    score: Score
    tail: int
    calibration: Calibration
    runtime: "Runtime"

    def scale(self, values: Floats) -> Float32s:
        """Values in the sensors' units (..., sensors) to scaled float32."""
        return scale(values, self.calibration.center, self.calibration.spread)

    def score_windows(self, windows: Float32s) -> Scores:
        """Score scaled windows, float32 of shape (windows, length, sensors)."""
        expected, error = self.runtime(windows)
        calibration = self.calibration
        raw, parts = (
            mahalanobis(error, calibration.error_mean, calibration.error_precision)
            if self.score == "mahalanobis"
            else mean_square(error, calibration.error_scale, self.tail)
        )
        raw = raw / calibration.threshold
        total = parts.sum(axis=1, keepdims=True)
        even = np.full_like(parts, 1 / len(self.sensors))
        shares = np.divide(parts, total, out=even, where=(total > 0) & np.isfinite(total))
        newest = expected[:, -1].astype(np.float64)
        return Scores(
            np.where(np.isfinite(raw), raw, np.nan),
            shares,
            newest * calibration.spread + calibration.center,
        )


def scale(values: Floats, center: Floats, spread: Floats) -> Float32s:
    """(value - center) / spread in float64, bounded, as float32."""
    with np.errstate(over="ignore"):
        scaled = (values - center) / spread
    return np.clip(scaled, -FARTHEST, FARTHEST).astype(np.float32)


def mean_square(error: Float32s, error_scale: Floats, tail: int) -> tuple[Floats, Floats]:
    """Mean over the newest frames of squared residuals, each sensor in units of its normal error.

    Args:
        error: shape (windows, length, sensors).
        error_scale: shape (sensors,).
        tail: number of newest frames.

    Returns:
        The score (windows,) and each sensor's part in it (windows, sensors).
    """
    newest = np.ascontiguousarray(error[:, -tail:].transpose(0, 2, 1), dtype=np.float64)
    parts = newest.mean(axis=2) / error_scale
    return parts.mean(axis=1), parts


def mahalanobis(error: Float32s, mean: Floats, precision: Floats) -> tuple[Floats, Floats]:
    """EncDec-AD's score (e - mu)' S^-1 (e - mu) of the newest frame's absolute residuals.

    Malhotra et al. 2016, section 2.2. A sensor's part is its term of the quadratic form, at
    least 0. Arguments and results as in `mean_square`; precision of shape (sensors, sensors).
    """
    deviation = np.sqrt(error[:, -1].astype(np.float64)) - mean
    # Not a matrix product: BLAS rounds differently for different numbers of windows.
    pulled = (deviation[:, None, :] * precision).sum(axis=2)
    parts = deviation * pulled
    return parts.sum(axis=1), np.maximum(parts, 0.0)
