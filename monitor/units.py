"""Sensors that jump out of their usual range as if their unit had changed."""

from dataclasses import dataclass

import numpy as np

from models.detector import Habits
from models.frame import Bools, Codes, Floats, Ints, Runs, grown, rounds

# value in the new unit = a * value in the old one + b
_CHANGES = {
    "×10": (10.0, 0.0),
    "×100": (100.0, 0.0),
    "×1000": (1000.0, 0.0),
    "÷10": (0.1, 0.0),
    "÷100": (0.01, 0.0),
    "÷1000": (0.001, 0.0),
    "×1.8 + 32, as from °C to °F": (1.8, 32.0),
    "less 32 and ÷1.8, as from °F to °C": (1 / 1.8, -32 / 1.8),
}
UNKNOWN = 0
_FACTOR, _OFFSET = np.array(list(_CHANGES.values())).T
# How near a reading must come to what the change makes of the recent level: a tenth of the way and
# what is normal noise in the new unit, and never so much that two changes look alike.
NEAR, NOISE, FARTHEST = 0.1, 3.0, 1 / 3
# Weight of a new reading in the recent level.
_FRESH = 1 / 32


@dataclass(frozen=True, slots=True)
class Seen:
    """What the frames say, each of shape (frames, sensors).

    Args:
        level: about what the sensor read of late, within its usual range.
        change: a code for `change_of`, UNKNOWN without one.
        count: readings in a row that fit the change.
        since: time of the first of them.
    """

    level: Floats
    change: Codes
    count: Ints
    since: Ints


class UnitWatch:
    """Follows the level of each sensor; memory per asset is constant."""

    def __init__(self, sensors: int) -> None:
        self.runs = Runs(sensors)
        self._level = np.empty((0, sensors))
        self._change = np.empty((0, sensors), np.uint8)

    def step(
        self,
        asset: Ints,
        time: Ints,
        values: Floats,
        counted: Bools,
        habits: Habits,
        spread: Floats,
    ) -> Seen:
        """Go on by some frames; the result does not depend on how they are split into calls.

        Args:
            asset: frames of an asset stand together, in order, shape (frames,).
            time: shape (frames,).
            values: shape (frames, sensors).
            counted: cells that are measured, while the machine runs, shape (frames, sensors).
            habits: the usual ranges.
            spread: of normal data, shape (frames, sensors).
        """
        if asset.max() >= len(self._level):
            rows = max(int(asset.max()) + 1, 2 * len(self._level), 16)
            self._level = grown(self._level, rows, np.nan)
            self._change = grown(self._change, rows, UNKNOWN)
        inside = counted & (values >= habits.low) & (values <= habits.high)
        outside = counted & ~inside
        changed = bool(self._change[asset].any())
        level, change = np.empty(values.shape), np.empty(values.shape, np.uint8)
        for turn in rounds(asset):
            at, value = asset[turn], values[turn]
            known = self._level[at]
            moved = np.where(np.isnan(known), value, known + _FRESH * (value - known))
            known = np.where(inside[turn], moved, known)
            found = np.where(inside[turn], UNKNOWN, self._change[at])
            if (away := outside[turn]).any():
                found = np.where(away, _change(value, known, spread[turn]), found)
                # Whoever leaves the range by degrees has not changed its unit.
                known = np.where(away & (found == UNKNOWN), np.nan, known)
            self._level[at], self._change[at] = known, found
            level[turn], change[turn] = known, found
        if not (changed or change.any()):
            none = np.zeros(values.shape, np.int64)
            return Seen(level, change, none, none)
        # A reading that fits no change is equal to none, so that only the others make a run.
        codes = np.where(change == UNKNOWN, np.nan, change)
        count, since = self.runs.step(asset, time, codes, counted)
        return Seen(level, change, np.where(change == UNKNOWN, 0, count), since)


def change_between(usual: float, value: float) -> int:
    """The change of unit that makes one value of another, UNKNOWN if none does."""
    return int(_change(np.array(value), np.array(usual), np.zeros(())))


def change_of(code: int) -> str:
    """What a change does to a value."""
    return list(_CHANGES)[code - 1]


def _change(value: Floats, level: Floats, spread: Floats) -> Codes:
    """The one change that makes the value of the level; UNKNOWN if none does, or several do."""
    shape = (len(_FACTOR), *(1,) * value.ndim)
    factor, offset = _FACTOR.reshape(shape), _OFFSET.reshape(shape)
    wanted = factor * level + offset
    way = np.minimum(np.abs(wanted), np.abs(wanted - level))
    room = np.minimum(NEAR * way + NOISE * factor * spread, FARTHEST * way)
    fits = (np.abs(value - wanted) <= room) & (way > 0)
    return np.where(fits.sum(axis=0) == 1, fits.argmax(axis=0) + 1, UNKNOWN).astype(np.uint8)
