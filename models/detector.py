"""Scaling + network + error statistics + threshold: windows → scores and shares.

All of it is NumPy around a runtime, so ONNX Runtime and torch differ only inside the network, and
every reduction runs over one window's own numbers: a score does not depend on its batch.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from models.adaptation import Adaptation
from models.decision import Rule
from models.frame import Float32s, Floats, Grid, Ints

if TYPE_CHECKING:
    from models.runtime import Runtime

# A reading this many spreads off is as strange as a finite score can say; without the bound its
# square would overflow float32 and the window could not be scored at all.
FARTHEST = 1e6
# Least error scale, in units of the scaled variance: with collinear sensors a PCA leaves one of
# them an error of 1e-7, and rounding would rule its score.
LEAST_ERROR = 1e-4

Score = Literal["mean-square", "mahalanobis", "mahalanobis-signed"]


@dataclass(frozen=True, slots=True)
class Calibration:
    """What normal data say: one row for assets without a calibration of their own, one per asset.

    Args:
        assets: names of the rows after the first; empty = the first row is for every asset.
        center, spread: frozen scaling; scaled = (value - center) / spread, shape (rows, sensors).
        error_scale: mean squared residual of each scaled sensor on held-out normal data, shape
            (rows, sensors).
        threshold: the unscaled score that becomes 1.0, shape (rows,).
        expected_per_day, bound_per_day: false alarms at that threshold on held-out normal data,
            and their 95 % bound, shape (rows,).
        error_mean: mean residual, absolute or signed as the score has it, shape (rows, sensors);
            only the Mahalanobis scores have it.
        error_precision: inverse of the shrunk covariance of the same, shape (rows, sensors,
            sensors); only the Mahalanobis scores have it.
    """

    assets: tuple[str, ...]
    center: Floats
    spread: Floats
    error_scale: Floats
    threshold: Floats
    expected_per_day: Floats
    bound_per_day: Floats
    error_mean: Floats | None = None
    error_precision: Floats | None = None

    def row_of(self, asset: str) -> int:
        """The row that scores an asset; 0 where it has none of its own."""
        return self.assets.index(asset) + 1 if asset in self.assets else 0

    def covers(self, asset: str) -> bool:
        """Whether the normal behaviour of this asset is known."""
        return not self.assets or asset in self.assets


@dataclass(frozen=True, slots=True)
class Habits:
    """What each sensor did in normal data, each of shape (sensors,).

    Args:
        flat: frames in its longest run of one value; 0 = it may keep one for ever.
        low, high: its usual range; infinite where none is known.
    """

    flat: Ints
    low: Floats
    high: Floats


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of some windows.

    Args:
        raw: unsmoothed score on the 1.0 scale, NaN where it is not finite, shape (windows,).
        shares: each sensor's part in the raw score, rows sum to 1, shape (windows, sensors).
        expected: what the network expected of the newest frame, in the sensors' units, shape
            (windows, sensors).
        spread: how far apart the raw scores of an ensemble's members lie, shape (windows,).
    """

    raw: Floats
    shares: Floats
    expected: Floats
    spread: Floats | None = None


@dataclass(frozen=True, slots=True)
class Detector:
    """A trained detector, ready to score.

    Args:
        created: when the bundle was made, seconds since the epoch.
        sensors, units: names and units in the order of the columns.
        score: `mean-square` (of `recent` squared residuals, each sensor in units of its own normal
            error), `mahalanobis` (EncDec-AD's, of the newest frame), or `mahalanobis-signed` (the
            same with signed residuals).
        tail: newest frames that `mean-square` looks at.
        adaptation: how thresholds follow their assets; None = they stay.
        habits: of the sensors; None = unknown.
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
    adaptation: Adaptation | None = None
    habits: Habits | None = None

    def scale(self, values: Floats, rows: Ints | int = 0) -> Float32s:
        """Values in the sensors' units (n, ..., sensors) to scaled float32.

        Args:
            values: of any shape that ends in the sensors.
            rows: the calibration's row for all of them or, shape (n,), for each.
        """
        center, spread = self.calibration.center[rows], self.calibration.spread[rows]
        if center.ndim > 1:
            shape = (len(values), *(1,) * (values.ndim - 2), len(self.sensors))
            center, spread = center.reshape(shape), spread.reshape(shape)
        return scale(values, center, spread)

    def score_windows(self, windows: Float32s, rows: Ints | int = 0) -> Scores:
        """Score scaled windows.

        Args:
            windows: float32 of shape (windows, length, sensors).
            rows: the calibration's row for all of them or, shape (windows,), for each.
        """
        expected, error, spread = self.runtime(windows)
        known = self.calibration
        raw, parts = (
            mahalanobis(
                residuals(windows, expected, error, self.score),
                known.error_mean[rows],
                known.error_precision[rows],
            )
            if known.error_mean is not None and known.error_precision is not None
            else mean_square(error, known.error_scale[rows], self.tail)
        )
        raw = raw / known.threshold[rows]
        total = parts.sum(axis=1, keepdims=True)
        even = np.full_like(parts, 1 / len(self.sensors))
        shares = np.divide(parts, total, out=even, where=(total > 0) & np.isfinite(total))
        newest = expected[:, -1].astype(np.float64)
        return Scores(
            np.where(np.isfinite(raw), raw, np.nan),
            shares,
            newest * known.spread[rows] + known.center[rows],
            None if spread is None else spread / known.threshold[rows],
        )


def scale(values: Floats, center: Floats, spread: Floats) -> Float32s:
    """(value - center) / spread in float64, bounded, as float32."""
    with np.errstate(over="ignore"):
        scaled = (values - center) / spread
    return np.clip(scaled, -FARTHEST, FARTHEST).astype(np.float32)


def mean_square(error: Float32s, error_scale: Floats, tail: int) -> tuple[Floats, Floats]:
    """Mean over the sensors of `recent` squared residuals, each in units of its normal error.

    Args:
        error: shape (windows, length, sensors).
        error_scale: shape (sensors,) or (windows, sensors).
        tail: number of newest frames.

    Returns:
        The score (windows,) and each sensor's part in it (windows, sensors).
    """
    parts = recent(error, tail) / error_scale
    return parts.mean(axis=1), parts


def recent(error: Float32s, tail: int) -> Floats:
    """Errors (windows, length, sensors) as of now, shape (windows, sensors).

    Half of it is the newest frame, so that an event of a few frames shows, and half the mean of
    the newest `tail`, so that a small and lasting one does.
    """
    newest = np.ascontiguousarray(error[:, -tail:].transpose(0, 2, 1), dtype=np.float64)
    return (newest[:, :, -1] + newest.mean(axis=2)) / 2


def residuals(windows: Float32s, expected: Float32s, error: Float32s, score: Score) -> Floats:
    """The newest frame's residuals as a Mahalanobis score takes them, shape (windows, sensors)."""
    if score == "mahalanobis-signed":
        return windows[:, -1].astype(np.float64) - expected[:, -1]
    return np.sqrt(error[:, -1].astype(np.float64))


def mahalanobis(residual: Floats, mean: Floats, precision: Floats) -> tuple[Floats, Floats]:
    """EncDec-AD's score (e - mu)' S^-1 (e - mu) of the newest frame's residuals.

    Malhotra et al. 2016, section 2.2. A sensor's part is its term of the quadratic form, at
    least 0. Results as in `mean_square`.

    Args:
        residual: shape (windows, sensors).
        mean: shape (sensors,) or (windows, sensors).
        precision: shape (..., sensors, sensors).
    """
    deviation = residual - mean
    # Not a matrix product: BLAS rounds differently for different numbers of windows.
    pulled = (deviation[:, None, :] * precision).sum(axis=2)
    parts = deviation * pulled
    return parts.sum(axis=1), np.maximum(parts, 0.0)
