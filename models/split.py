"""Normal windows: which serve for what, and the scaling of the frames they cover."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from models.detector import scale
from models.frame import Bools, Float32s, Floats, Ints

# Least windows of a fold for its figures to mean anything.
LEAST_TRAINING, LEAST_HELD_OUT = 100, 30
# Below this many windows the normal data are cross-fitted, above it they are split once.
LONG = 5000
FOLDS = 4


class TrainingError(ValueError):
    """Data that cannot be trained on; the message says why and what would help."""


@dataclass(frozen=True, slots=True)
class NormalFrames:
    """The frames of recordings, one after another.

    Args:
        values: in the sensors' units, shape (frames, sensors).
        row: which calibration scales each, shape (frames,).
        assets: names of the calibrations' rows after the first; empty = the first is for all.
    """

    values: Floats
    row: Ints
    assets: tuple[str, ...] = ()

    @property
    def sensors(self) -> int:
        """How many sensors a frame has."""
        return self.values.shape[1]

    def scale(self, center: Floats, spread: Floats) -> Float32s:
        """All frames, each with its own row of some scaling, float32 (frames, sensors)."""
        return scale(self.values, center[self.row], spread[self.row])


@dataclass(frozen=True, slots=True)
class Split:
    """Which windows serve for what; arrays of window ends (frame indices), in order of time.

    Args:
        train: weights and scaling.
        validation: early stopping and error statistics.
        calibration: threshold.
        labelled: windows labelled anomalous, for the threshold rule that needs them.
    """

    train: Ints
    validation: Ints
    calibration: Ints
    labelled: Ints = field(default_factory=lambda: np.empty(0, np.int64))


def splits(ends: Ints, tick: Ints, row: Ints, window: int) -> list[Split]:
    """Split windows in order of time, ends a window apart, no frame shared: cross-fit short data.

    Each asset is split on its own, so that every part has windows of all of them; assets recorded
    at one time are split at the same moments. An asset too short to be known wherever it would be
    held out, where it would get another machine's scaling, is trained on and nowhere held out.

    Args:
        ends: frame index of the end of each window, shape (windows,).
        tick: its tick, shape (windows,).
        row: the asset it is of, shape (windows,).
        window: frames of a window.

    Raises:
        TrainingError: if a part would be too small.
    """
    order = np.lexsort((ends, tick))
    ends, tick, row = ends[order], tick[order], row[order]
    cut = _folds if len(ends) < LONG else _once
    of_assets = [
        _known(cut(ends[row == one], tick[row == one], window), ends[row == one])
        for one in np.unique(row)
    ]
    found = [_joined(parts) for parts in zip(*of_assets, strict=True)]
    for split in found:
        held = min(len(split.validation), len(split.calibration))
        if len(split.train) < LEAST_TRAINING or held < LEAST_HELD_OUT:
            raise TrainingError(
                f"too little normal data: {len(ends)} windows of {window} frames leave "
                f"{len(split.train)} to learn from and {held} to hold out in a fold; wanted at "
                f"least {LEAST_TRAINING} and {LEAST_HELD_OUT} (record longer, or fit with a "
                "shorter --window)"
            )
    return found


def _known(parts: list[Split], ends: Ints) -> list[Split]:
    """The parts of an asset that is trained on where it is held out; else all its windows train."""
    if all(len(part.train) or not len(part.validation) + len(part.calibration) for part in parts):
        return parts
    return [Split(ends, ends[:0], ends[:0]) for _ in parts]


def _joined(parts: Sequence[Split]) -> Split:
    columns = zip(*((part.train, part.validation, part.calibration) for part in parts), strict=True)
    return Split(*map(np.concatenate, columns))


def _folds(ends: Ints, tick: Ints, window: int) -> list[Split]:
    """Four blocks, each held out from the training on the others."""
    edges = [*tick[np.arange(FOLDS) * len(tick) // FOLDS].tolist(), int(tick[-1]) + 1]
    found: list[Split] = []
    for first, after in pairwise(edges):
        held = ends[(tick >= first) & (tick < after)]
        train = ends[(tick <= first - window) | (tick >= after - 1 + window)]
        found.append(Split(train, held, held))
    return found


def _once(ends: Ints, tick: Ints, window: int) -> list[Split]:
    """The first 60 % to train, then 20 % to validate, then 20 % for the threshold."""
    first, second = tick[int(0.6 * len(tick))], tick[int(0.8 * len(tick))]
    validation = ends[(tick >= first) & (tick <= second - window)]
    return [Split(ends[tick <= first - window], validation, ends[tick >= second])]


def scalings(frames: NormalFrames, ends: Ints, window: int) -> tuple[Floats, Floats]:
    """Center and spread of all the frames that some windows cover, and of each asset's.

    An asset without such frames takes those of all.

    Returns:
        Two arrays of shape (1 + assets, sensors).

    Raises:
        TrainingError: if the values are too large to be squared.
    """
    inside = covered(ends, window, len(frames.values))
    rows = [inside, *(inside & (frames.row == 1 + one) for one in range(len(frames.assets)))]
    pairs = [scaling(frames.values[row if row.any() else inside]) for row in rows]
    return np.stack([center for center, _ in pairs]), np.stack([spread for _, spread in pairs])


def scaling(frames: Floats) -> tuple[Floats, Floats]:
    """Center and spread per sensor of some frames (frames, sensors).

    The spread has a floor of 1 % of the range; a constant sensor gets 1 % of its value, so that
    leaving it is a finite surprise.

    Raises:
        TrainingError: if the values are too large to be squared.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        center = frames.mean(axis=0)
        spread = frames.std(axis=0)
    if not np.isfinite(spread).all():
        largest = np.abs(frames).max()
        raise TrainingError(f"a sensor reads {largest:.3g}; wanted numbers that can be squared")
    spread: Floats = np.maximum(spread, 0.01 * (frames.max(axis=0) - frames.min(axis=0)))
    spread = np.where(spread > 1e-9 * np.abs(center), spread, 0.01 * np.abs(center))
    return center, np.where(spread > 0, spread, 1.0)


def covered(ends: Ints, window: int, frames: int) -> Bools:
    """Which frames lie in at least one of the windows, shape (frames,)."""
    change = np.zeros(frames + 1, np.int64)
    np.add.at(change, ends - window + 1, 1)
    np.add.at(change, ends + 1, -1)
    return np.cumsum(change[:-1]) > 0
