"""What a network's errors on normal windows it did not fit say: error statistics and threshold."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import cast

import numpy as np

from models.adaptation import Start, begin
from models.decision import Decision, Rule
from models.detector import LEAST_ERROR, Score, mahalanobis, mean_square, scale
from models.frame import SECOND, Float32s, Floats, Grid, Ints
from models.manifest import DEFAULT, CalibrationSpec, StartSpec, ThresholdSpec
from models.runtime import Runtime
from models.split import LEAST_HELD_OUT, NormalFrames, Split, TrainingError
from models.threshold import DAY, HeldOut, Threshold, ThresholdSettings, threshold_of


@dataclass(frozen=True, slots=True)
class Head:
    """How errors become a verdict.

    Args:
        score, tail: as in `Detector`.
        rule: the decision.
        false_alarms_per_day: wanted, per asset.
        thresholds: how they are found.
        scaled: whether errors come in units of their own normal size.
    """

    score: Score
    tail: int
    rule: Rule
    false_alarms_per_day: float
    thresholds: ThresholdSettings
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
        mean: of absolute residuals of all frames, or of signed ones of the newest, shape
            (sensors,); Mahalanobis scores only.
        precision: inverse covariance of the same, Ledoit-Wolf shrunk in units of each sensor's
            own deviation, shape (sensors, sensors); Mahalanobis scores only.
    """

    scale: Floats
    mean: Floats | None = None
    precision: Floats | None = None


@dataclass(frozen=True, slots=True)
class Calibrated:
    """Error statistics and threshold of one row of a calibration.

    Args:
        start: where the live threshold starts; None = it stays.
    """

    statistics: ErrorStatistics
    threshold: Threshold
    start: Start | None = None


def calibrate(
    folds: Sequence[Fold],
    normal: NormalFrames,
    grid: Grid,
    head: Head,
    labelled: Ints,
    fleet: float | None = None,
) -> dict[str | None, Calibrated]:
    """Calibrate on held-out normal windows: under None for all assets together, and by asset.

    An asset with too few held-out windows is left out. Where its data are too short for the
    request, its threshold is at least that of the fleet, which has seen more; where they are for a
    live threshold, that starts as the fleet's does.

    Args:
        folds: networks and what they have not seen.
        normal: the frames.
        grid: of the frames.
        head: how errors become a verdict.
        labelled: ends of windows that are labelled anomalous.
        fleet: the fleet's threshold; None = that of all these assets together.

    Raises:
        TrainingError: if the threshold's rule needs what is not there.
    """
    of_all, series = _calibrate(folds, normal, grid, head, labelled, 0)
    of_all = replace(of_all, start=_start(series, of_all.threshold, grid, head))
    fleet = of_all.threshold.value if fleet is None else fleet
    found: dict[str | None, Calibrated] = {None: of_all}
    for row, asset in enumerate(normal.assets, start=1):
        mine = [_of_row(fold, normal, row) for fold in folds]
        for part in ("validation", "calibration"):
            if sum(len(getattr(fold.split, part)) for fold in mine) < LEAST_HELD_OUT:
                break
        else:
            strange = labelled[normal.row[labelled] == row]
            try:
                own, series = _calibrate(mine, normal, grid, head, strange, row)
            except TrainingError as error:
                raise TrainingError(f"asset {asset}: {error}") from None
            if own.threshold.fallback:
                value = max(own.threshold.value, fleet)
                own = replace(own, threshold=replace(own.threshold, value=value))
            try:
                start = _start(series, own.threshold, grid, head)
            except TrainingError:
                start = of_all.start
            found[asset] = replace(own, start=start)
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
        one = calibrated[asset]
        statistics, threshold = one.statistics, one.threshold
        mean, precision = statistics.mean, statistics.precision
        found[asset or DEFAULT] = CalibrationSpec(
            center=center[row].tolist(),
            spread=spread[row].tolist(),
            error_scale=statistics.scale.tolist(),
            error_mean=None if mean is None else mean.tolist(),
            error_precision=None if precision is None else precision.tolist(),
            threshold=ThresholdSpec(
                value=threshold.value,
                rule=threshold.rule,
                requested_per_day=threshold.requested,
                supported=threshold.supported,
                expected_per_day=threshold.expected,
                bound_per_day=threshold.bound,
                days=threshold.days,
                scores=threshold.scores,
                promise=threshold.promise,
                parameters=dict(threshold.parameters),
                caution=threshold.caution,
            ),
            start=None if one.start is None else StartSpec(**asdict(one.start)),
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
    return _calibrate(folds, normal, grid, head, np.empty(0, np.int64), row)[0]


def _calibrate(
    folds: Sequence[Fold],
    normal: NormalFrames,
    grid: Grid,
    head: Head,
    labelled: Ints,
    row: Ints | int,
) -> tuple[Calibrated, list[Floats]]:
    """One row's calibration, and the held-out scores it is of."""

    def found(fold: Fold, ends: Ints) -> Float32s:
        return errors(fold, normal, ends, grid.window, row, head.score)

    def scores(fold: Fold, ends: Ints) -> list[Floats]:
        return smoothed(
            score_errors(found(fold, ends), head.score, head.tail, statistics), ends, head.rule
        )

    statistics = error_statistics(
        [found(fold, fold.split.validation) for fold in folds], head.score, head.tail
    )
    if head.scaled:
        statistics = replace(statistics, scale=np.ones_like(statistics.scale))
    held_out = HeldOut(
        [stretch for fold in folds for stretch in scores(fold, fold.split.calibration)],
        head.rule,
        grid.period / SECOND,
        grid.window,
        head.false_alarms_per_day,
        normal.sensors,
        head.score,
        head.thresholds,
        # No network was fitted on them, so any will do.
        scores(folds[0], labelled),
    )
    return Calibrated(statistics, threshold_of(held_out)), held_out.series


def _start(series: list[Floats], threshold: Threshold, grid: Grid, head: Head) -> Start | None:
    asked = head.thresholds
    if asked.adaptive == "none":
        return None
    try:
        return begin(
            [scores / threshold.value for scores in series],
            head.rule.need,
            head.rule.of,
            asked.level,
            head.false_alarms_per_day * grid.period / SECOND / DAY,
            grid.window,
            asked.depth(grid.window),
        )
    except ValueError as error:
        raise TrainingError(f"adaptive={asked.adaptive}: {error}") from None


def error_statistics(found: Sequence[Float32s], score: Score, tail: int) -> ErrorStatistics:
    """Normal error per sensor, pooled over the `errors` (windows, L, sensors) of some folds."""
    is_signed = score == "mahalanobis-signed"
    squared = [np.square(part) if is_signed else part for part in found]
    tails = [part[:, -tail:].mean(axis=1, dtype=np.float64) for part in squared]
    error_scale = np.maximum(np.concatenate(tails).mean(axis=0), LEAST_ERROR)
    if score == "mean-square":
        return ErrorStatistics(error_scale)
    from sklearn import covariance as shrinkage

    every = (
        np.concatenate([part[:, -1] for part in found]).astype(np.float64)
        if is_signed
        else np.sqrt(
            np.concatenate([part.reshape(-1, part.shape[2]) for part in found]), dtype=np.float64
        )
    )
    mean, deviation = every.mean(axis=0), np.maximum(every.std(axis=0), LEAST_ERROR**0.5)
    covariance = cast(Floats, shrinkage.ledoit_wolf((every - mean) / deviation)[0])
    precision = np.linalg.inv(covariance) / np.outer(deviation, deviation)
    return ErrorStatistics(error_scale, mean, precision)


def errors(
    fold: Fold, normal: NormalFrames, ends: Ints, window: int, row: Ints | int, score: Score
) -> Float32s:
    """The network's errors on some windows, as a score takes them; row as above.

    Returns:
        Squared residuals or, for `mahalanobis-signed`, residuals; shape (windows, L, sensors).
    """
    frames = scale(normal.values, fold.center[row], fold.spread[row])
    parts = [np.empty((0, window, normal.sensors), np.float32)]
    for start in range(0, len(ends), 1024):
        windows = frames[ends[start : start + 1024, None] + np.arange(1 - window, 1)]
        made = fold.run(windows)
        parts.append(windows - made.expected if score == "mahalanobis-signed" else made.error)
    return np.concatenate(parts)


def score_errors(found: Float32s, score: Score, tail: int, statistics: ErrorStatistics) -> Floats:
    """Scores of some `errors` without a threshold, shape (windows,)."""
    if statistics.mean is None or statistics.precision is None:
        return mean_square(found, statistics.scale, tail)[0]
    newest = found[:, -1].astype(np.float64)
    residual = newest if score == "mahalanobis-signed" else np.sqrt(newest)
    return mahalanobis(residual, statistics.mean, statistics.precision)[0]


def smoothed(raw: Floats, ends: Ints, rule: Rule) -> list[Floats]:
    """The rule's trailing mean over each unbroken stretch of windows, frames one after another."""
    if not len(ends):
        return []
    order = np.argsort(ends)
    raw, ends = raw[order], ends[order]
    breaks = np.r_[True, np.diff(ends) != 1]
    verdicts = Decision(rule).step(np.zeros(len(ends), np.int64), ends, raw, breaks)
    return np.split(verdicts.score, np.flatnonzero(breaks)[1:])
