"""What a network's errors on normal windows it did not fit say: error statistics and threshold."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import cast

import numpy as np

from models.adaptation import Start
from models.decision import Decision, Rule
from models.detector import LEAST_ERROR, Score, mahalanobis, mean_square, recent, scale
from models.frame import SECOND, Float32s, Floats, Grid, Ints
from models.manifest import DEFAULT, CalibrationSpec, StartSpec, ThresholdSpec
from models.runtime import Runtime
from models.split import LEAST_HELD_OUT, NormalFrames, Split, TrainingError
from models.threshold import HeldOut, Threshold, ThresholdSettings, start_of, threshold_of

BATCH = 1024  # windows


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

    @property
    def signed(self) -> bool:
        """Whether it matters on which side of the expected values the measured ones lie."""
        return self.score == "mahalanobis-signed"


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
        scale: mean of `recent` squared residuals, shape (sensors,).
        mean: of absolute residuals of all frames or, if signed, of the newest frame's residuals,
            shape (sensors,); Mahalanobis scores only.
        precision: inverse covariance of the same, Ledoit-Wolf shrunk in units of each sensor's
            own deviation, shape (sensors, sensors); Mahalanobis scores only.
        signed: whether they are of residuals with their sign.
    """

    scale: Floats
    mean: Floats | None = None
    precision: Floats | None = None
    signed: bool = False


@dataclass(frozen=True, slots=True)
class Calibrated:
    """Error statistics and threshold of one row of a calibration.

    Args:
        held_out: the scores that the threshold is of.
        start: where the live threshold starts; None = it stays.
    """

    statistics: ErrorStatistics
    threshold: Threshold
    held_out: HeldOut
    start: Start | None = None


def calibrate(
    folds: Sequence[Fold],
    normal: NormalFrames,
    grid: Grid,
    head: Head,
    fleet: float | None = None,
) -> dict[str | None, Calibrated]:
    """Calibrate on held-out normal windows: under None for all assets together, and by asset.

    An asset with too few held-out windows is left out. Where its data are too short for the
    request, its threshold is at least that of the fleet, which has seen more; where they are for a
    live threshold, that starts as the one of all together does.

    Args:
        folds: networks and what they have not seen.
        normal: the frames.
        grid: of the frames.
        head: how errors become a verdict.
        fleet: the fleet's threshold; None = that of all these assets together.

    Raises:
        TrainingError: if the threshold needs what is not there.
    """
    of_all = calibrate_once(folds, normal, grid, head, 0)
    of_all = replace(of_all, start=start_of(of_all.held_out, of_all.threshold.value))
    fleet = of_all.threshold.value if fleet is None else fleet
    found: dict[str | None, Calibrated] = {None: of_all}
    for row, asset in enumerate(normal.assets, start=1):
        mine = [_of_row(fold, normal, row) for fold in folds]
        for part in ("validation", "calibration"):
            if sum(len(getattr(fold.split, part)) for fold in mine) < LEAST_HELD_OUT:
                break
        else:
            try:
                own = calibrate_once(mine, normal, grid, head, row)
            except TrainingError as error:
                raise TrainingError(f"asset {asset}: {error}") from None
            if own.threshold.fallback:
                value = max(own.threshold.value, fleet)
                own = replace(own, threshold=replace(own.threshold, value=value))
            try:
                start = start_of(own.held_out, own.threshold.value)
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
    parts = (getattr(fold.split, name) for name in Split.__slots__)
    return replace(fold, split=Split(*(ends[normal.row[ends] == row] for ends in parts)))


def calibrate_once(
    folds: Sequence[Fold], normal: NormalFrames, grid: Grid, head: Head, row: Ints | int
) -> Calibrated:
    """Calibrate on all held-out windows together.

    Args:
        folds, normal, grid, head: as in `calibrate`.
        row: of the scaling, for all frames or for each, shape (frames,).
    """

    def found(fold: Fold, ends: Ints) -> Iterator[Float32s]:
        return errors(fold, normal, ends, grid.window, row, signed=head.signed)

    def scores(fold: Fold, ends: Ints) -> list[Floats]:
        raw = [score_errors(part, head.tail, statistics) for part in found(fold, ends)]
        return smoothed(np.concatenate(raw), ends, head.rule) if raw else []

    validation = chain.from_iterable(found(fold, fold.split.validation) for fold in folds)
    statistics = error_statistics(validation, head.score, head.tail)
    if head.scaled:
        statistics = replace(statistics, scale=np.ones_like(statistics.scale))
    held_out = HeldOut(
        series=[stretch for fold in folds for stretch in scores(fold, fold.split.calibration)],
        rule=head.rule,
        period_s=grid.period / SECOND,
        window=grid.window,
        requested=head.false_alarms_per_day,
        sensors=normal.sensors,
        score=head.score,
        settings=head.thresholds,
        # No fold was fitted on them, so any will do.
        anomalous=scores(folds[0], folds[0].split.labelled),
    )
    return Calibrated(statistics, threshold_of(held_out), held_out)


def error_statistics(found: Iterable[Float32s], score: Score, tail: int) -> ErrorStatistics:
    """Normal error per sensor, pooled over `errors` (windows, L, sensors) in as many parts."""
    signed = score == "mahalanobis-signed"
    means: list[Floats] = []
    kept: list[Float32s] = []
    for part in found:
        newest = part[:, -tail:]
        means.append(recent(np.square(newest) if signed else newest, tail))
        if signed:
            kept.append(part[:, -1].copy())  # a view would keep the rest
        elif score == "mahalanobis":
            kept.append(part.reshape(-1, part.shape[2]))
    error_scale = np.maximum(np.concatenate(means).mean(axis=0), LEAST_ERROR)
    if score == "mean-square":
        return ErrorStatistics(error_scale)
    from sklearn import covariance as shrinkage

    together = np.concatenate(kept).astype(np.float64)
    residuals = together if signed else np.sqrt(together)
    mean, deviation = residuals.mean(axis=0), np.maximum(residuals.std(axis=0), LEAST_ERROR**0.5)
    covariance = cast(Floats, shrinkage.ledoit_wolf((residuals - mean) / deviation)[0])
    precision = np.linalg.inv(covariance) / np.outer(deviation, deviation)
    return ErrorStatistics(error_scale, mean, precision, signed)


def errors(
    fold: Fold,
    normal: NormalFrames,
    ends: Ints,
    window: int,
    row: Ints | int,
    *,
    signed: bool = False,
) -> Iterator[Float32s]:
    """The network's errors on some windows, (windows, L, sensors) a thousand at a time.

    All of them are too many to hold: a month of frames is a window for each of them.

    Args:
        fold, normal, ends, window, row: which network and which windows; row as above.
        signed: give residuals with their sign, in place of errors.
    """
    frames = scale(normal.values, fold.center[row], fold.spread[row])
    for start in range(0, len(ends), BATCH):
        windows = frames[ends[start : start + BATCH, None] + np.arange(1 - window, 1)]
        found = fold.run(windows)
        yield windows - found.expected if signed else found.error


def score_errors(found: Float32s, tail: int, statistics: ErrorStatistics) -> Floats:
    """Scores of some `errors`, without a threshold, shape (windows,)."""
    if statistics.mean is None or statistics.precision is None:
        return mean_square(found, statistics.scale, tail)[0]
    newest = found[:, -1].astype(np.float64)
    residuals = newest if statistics.signed else np.sqrt(newest)
    return mahalanobis(residuals, statistics.mean, statistics.precision)[0]


def smoothed(raw: Floats, ends: Ints, rule: Rule) -> list[Floats]:
    """The rule's trailing mean over each unbroken stretch of windows, frames one after another."""
    if not len(ends):
        return []
    order = np.argsort(ends)
    raw, ends = raw[order], ends[order]
    breaks = np.r_[True, np.diff(ends) != 1]
    verdicts = Decision(rule).step(np.zeros(len(ends), np.int64), ends, raw, breaks)
    return np.split(verdicts.score, np.flatnonzero(breaks)[1:])
