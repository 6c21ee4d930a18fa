"""How long the sensors of many assets have kept one value."""

import numpy as np

from models.grid import NEVER, Bools, Floats, Ints, grown, starts_of


class Runs:
    """Runs of equal values, per asset and sensor; memory per asset is constant.

    Args:
        sensors: how many each asset has (m).

    Attributes:
        value: the one of the newest cell that counted, NaN without one, shape (assets, sensors).
    """

    def __init__(self, sensors: int) -> None:
        self.value = np.empty((0, sensors))
        self._sensors = sensors
        self._count = np.empty((0, sensors), np.int64)
        self._since = np.empty((0, sensors), np.int64)

    def step(self, asset: Ints, time: Ints, values: Floats, counted: Bools) -> tuple[Ints, Ints]:
        """Go on by some rows; the result does not depend on how they are split into calls.

        Args:
            asset: rows of an asset stand together, in order, shape (rows,).
            time: shape (rows,).
            values: shape (rows, sensors).
            counted: cells that count; the others neither lengthen a run nor end it, shape
                (rows, sensors).

        Returns:
            Cells in the run that each row is in, and the time of the first one, NEVER before
            there is any; both of shape (rows, sensors).
        """
        if not len(asset):
            empty = np.empty(values.shape, np.int64)
            return empty, empty
        self._ensure(int(asset.max()) + 1)
        starts = starts_of(asset)
        first = np.repeat(starts, np.diff(np.append(starts, len(asset))))[:, None]
        index: Ints = np.arange(len(asset))[:, None]
        column = np.arange(self._sensors)
        last = np.maximum.accumulate(np.where(counted, index, -1), axis=0)
        before = np.concatenate((np.full((1, len(column)), -1), last[:-1]))
        previous = np.where(before >= first, values[before, column], self.value[asset])
        begins = counted & (values != previous)
        start = np.maximum.accumulate(np.where(begins, index, -1), axis=0)
        carried = start < first  # a run from the step before
        total = np.cumsum(counted, axis=0)
        earlier = np.where(first > 0, total[first[:, 0] - 1], 0)
        count = total - np.where(carried, earlier - self._count[asset], total[start, column] - 1)
        since = np.where(carried, self._since[asset], time[start])

        ends = np.append(starts[1:], len(asset)) - 1
        at, newest = asset[ends], last[ends]
        seen = newest >= starts[:, None]
        self.value[at] = np.where(seen, values[newest, column], self.value[at])
        self._count[at], self._since[at] = count[ends], since[ends]
        return count, since

    def _ensure(self, assets: int) -> None:
        if assets > len(self.value):
            rows = max(assets, 2 * len(self.value), 16)
            self.value = grown(self.value, rows, np.nan)
            self._count = grown(self._count, rows, 0)
            self._since = grown(self._since, rows, NEVER)
