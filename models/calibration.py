"""What a network's errors on normal windows it did not fit say: error statistics and threshold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from models.decision import Decision, Rule
from models.detector import LEAST_ERROR, Score, mahalanobis, mean_square, scale
from models.frame import SECOND, Float32s, Floats, Grid, Ints
from models.manifest import DEFAULT, CalibrationSpec, ThresholdSpec
from models.runtime import Runtime
from models.split import LEAST_HELD_OUT, NormalFrames, Split
from models.threshold import Threshold, false_alarms_per_day


@dataclass(frozen=True, slots=True)
class Head:
    """How errors become a verdict.

    Args:
        score, tail: as in `Detector`.
        rule: the decision.
        false_alarms_per_day: wanted, per asset.
        scaled: whether errors come in units of their own normal size.
    """

    score: Score
    tail: int
    rule: Rule
    false_alarms_per_day: float
    scaled: bool = False


@dataclass(frozen=True, slots=True)
class Fold:
    """A network with its scaling, shape (rows, sensors), and windows that neither has seen."""

    run: Runtime
    center: Floats
    spread: Floats
    split: Split


@dataclass(frozen=True, slots=True)
class ErrorStatistics:
    """Normal errors of each sensor.

    Args:
        scale: mean square of the newest frames, shape (sensors,).
        mean: of absolute residuals of all frames, shape (sensors,); Mahalanobis score only.
        precision: inverse covariance of the same, Ledoit-Wolf shrunk in units of each sensor's
            own deviation, shape (sensors, sensors); Mahalanobis score only.
    """

    scale: Floats
    mean: Floats | None = None
    precision: Floats | None = None


@dataclass(frozen=True, slots=True)
class Calibrated:
    """Error statistics and threshold of one row of a calibration."""

    statistics: ErrorStatistics
    threshold: Threshold


def calibrate(
    folds: Sequence[Fold],
    normal: NormalFrames,
    grid: Grid,
    head: Head,
    fleet: float | None = None,
) -> dict[str | None, Calibrated]:
    """Calibrate on held-out normal windows: under None for all assets together, and by asset.

    An asset with too few held-out windows is left out. Where its data are too short for the
    request, its threshold is at least that of the fleet, which has seen more.

    Args:
        folds: networks and what they have not seen.
        normal: the frames.
        grid: of the frames.
        head: how errors become a verdict.
        fleet: the fleet's threshold; None = that of all these assets together.
    """
    of_all = calibrate_once(folds, normal, grid, head, 0)
    fleet = of_all.threshold.value if fleet is None else fleet
    found: dict[str | None, Calibrated] = {None: of_all}
    for row, asset in enumerate(normal.assets, start=1):
        mine = [_of_row(fold, normal, row) for fold in folds]
        for part in ("validation", "calibration"):
            if sum(len(getattr(fold.split, part)) for fold in mine) < LEAST_HELD_OUT:
                break
        else:
            own = calibrate_once(mine, normal, grid, head, row)
            if not own.threshold.supported:
                value = max(own.threshold.value, fleet)
                own = replace(own, threshold=replace(own.threshold, value=value))
            found[asset] = own
    return found


def calibration_specs(
    calibrated: Mapping[str | None, Calibrated],
    normal: NormalFrames,
    center: Floats,
    spread: Floats,
) -> dict[str, CalibrationSpec]:
    """Calibrations as a bundle stores them; scaling of shape (rows, sensors)."""
    found: dict[str, CalibrationSpec] = {}
    for row, asset in enumerate((None, *normal.assets)):
        if asset not in calibrated:
            continue
        statistics, threshold = calibrated[asset].statistics, calibrated[asset].threshold
        mean, precision = statistics.mean, statistics.precision
        found[asset or DEFAULT] = CalibrationSpec(
            center=center[row].tolist(),
            spread=spread[row].tolist(),
            error_scale=statistics.scale.tolist(),
            error_mean=None if mean is None else mean.tolist(),
            error_precision=None if precision is None else precision.tolist(),
            threshold=ThresholdSpec(
                value=threshold.value,
                rule="false_alarms_per_day",
                requested_per_day=threshold.requested,
                supported=threshold.supported,
                expected_per_day=threshold.expected,
                bound_per_day=threshold.bound,
                days=threshold.days,
            ),
        )
    return found


def _of_row(fold: Fold, normal: NormalFrames, row: int) -> Fold:
    parts = (fold.split.train, fold.split.validation, fold.split.calibration)
    return replace(fold, split=Split(*(ends[normal.row[ends] == row] for ends in parts)))


def calibrate_once(
    folds: Sequence[Fold], normal: NormalFrames, grid: Grid, head: Head, row: Ints | int
) -> Calibrated:
    """Calibrate on all held-out windows together.

    Args:
        folds, normal, grid, head: as in `calibrate`.
        row: of the scaling, for all frames or for each, shape (frames,).
    """
    statistics = error_statistics(
        [errors(fold, normal, fold.split.validation, grid.window, row) for fold in folds],
        head.score,
        head.tail,
    )
    if head.scaled:
        statistics = replace(statistics, scale=np.ones_like(statistics.scale))
    series: list[Floats] = []
    for fold in folds:
        ends = fold.split.calibration
        found = errors(fold, normal, ends, grid.window, row)
        series += smoothed(score_errors(found, head.tail, statistics), ends, head.rule)
    threshold = false_alarms_per_day(
        series, head.rule, grid.period / SECOND, grid.window, head.false_alarms_per_day
    )
    return Calibrated(statistics, threshold)


def error_statistics(found: Sequence[Float32s], score: Score, tail: int) -> ErrorStatistics:
    """Normal error per sensor, pooled over the errors (windows, L, sensors) of some folds."""
    together = np.concatenate([part[:, -tail:].mean(axis=1, dtype=np.float64) for part in found])
    error_scale = np.maximum(together.mean(axis=0), LEAST_ERROR)
    if score != "mahalanobis":
        return ErrorStatistics(error_scale)
    from sklearn import covariance as shrinkage

    absolute = np.sqrt(
        np.concatenate([part.reshape(-1, part.shape[2]) for part in found]).astype(np.float64)
    )
    mean, deviation = absolute.mean(axis=0), np.maximum(absolute.std(axis=0), LEAST_ERROR**0.5)
    covariance = cast(Floats, shrinkage.ledoit_wolf((absolute - mean) / deviation)[0])
    precision = np.linalg.inv(covariance) / np.outer(deviation, deviation)
    return ErrorStatistics(error_scale, mean, precision)


def errors(fold: Fold, normal: NormalFrames, ends: Ints, window: int, row: Ints | int) -> Float32s:
    """The network's errors on some windows, shape (windows, L, sensors); row as above."""
    frames = scale(normal.values, fold.center[row], fold.spread[row])
    parts = [
        fold.run(frames[ends[start : start + 1024, None] + np.arange(1 - window, 1)]).error
        for start in range(0, len(ends), 1024)
    ]
    return np.concatenate([*parts, np.empty((0, window, normal.sensors), np.float32)])


def score_errors(found: Float32s, tail: int, statistics: ErrorStatistics) -> Floats:
    """Scores without a threshold, shape (windows,)."""
    if statistics.mean is not None and statistics.precision is not None:
        return mahalanobis(found, statistics.mean, statistics.precision)[0]
    return mean_square(found, statistics.scale, tail)[0]


def smoothed(raw: Floats, ends: Ints, rule: Rule) -> list[Floats]:
    """The rule's trailing mean over each unbroken stretch of windows, frames one after another."""
    order = np.argsort(ends)
    raw, ends = raw[order], ends[order]
    breaks = np.r_[True, np.diff(ends) != 1]
    verdicts = Decision(rule).step(np.zeros(len(ends), np.int64), ends, raw, breaks)
    return np.split(verdicts.score, np.flatnonzero(breaks)[1:])
