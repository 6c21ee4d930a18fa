"""Readings → frames → complete windows, on a bundle's grid.

The one place that says what a frame, a hold, a gap and a complete window are: training, `score`,
`replay` and the daemon all come through here. Everything works on arrays over many assets at once.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from models.grid import (
    FOREVER,
    NEVER,
    SECOND,
    Bools,
    Codes,
    Float32s,
    Floats,
    Grid,
    Ints,
    grown,
    rounds,
    starts_of,
)
from models.runs import Runs
from models.ticks import Arrival, Intake, OpenTicks, Ticks

__all__ = [
    "FOREVER",
    "NEVER",
    "SECOND",
    "Arrival",
    "Bools",
    "Codes",
    "Coverage",
    "Float32s",
    "Floats",
    "Framer",
    "Frames",
    "Grid",
    "Intake",
    "Ints",
    "OpenTicks",
    "Runs",
    "Ticks",
    "frames_of",
    "grown",
    "rounds",
]


class Coverage(IntEnum):
    """Whether the window that ends at a frame is complete, and if not, why."""

    COMPLETE = 0
    WARMING = 1
    GAP = 2
    HELD = 3
    IDLE = 4


@dataclass(frozen=True, slots=True)
class Frames:
    """Closed frames, sorted by asset and tick.

    Args:
        asset: index of the asset, shape (frames,).
        tick: number of the tick; its time is tick * period, shape (frames,).
        values: newest reading or held value per sensor, NaN in a gap, shape (frames, sensors).
        age: ticks since the value was measured, 0 = in this tick, shape (frames, sensors).
        coverage: a Coverage per frame, shape (frames,).
        run: frames in a row that one window may hold, up to and with this one: without a gap, the
            machine running and settled, shape (frames,).
    """

    asset: Ints
    tick: Ints
    values: Floats
    age: Ints
    coverage: Codes
    run: Ints

    def __len__(self) -> int:
        return len(self.asset)

    @property
    def idle(self) -> Bools:
        """Where the machine does not run, or has not run for its settling time."""
        return (self.coverage == Coverage.IDLE) & (self.run == 0)

    @property
    def broken(self) -> Bools:
        """Where mean and count of the decision start again: the window is not one unbroken run."""
        return (self.coverage != Coverage.COMPLETE) & (self.coverage != Coverage.HELD)


class Framer:
    """Readings → closed, held frames with their coverage, over many assets.

    The state is a handful of arrays with one row per asset; memory per asset is constant.

    Args:
        grid: period, window, hold rules and running condition.
        sensors: how many sensors a frame has (m).
        lateness: how long a tick waits for stragglers after its end, nanoseconds.
    """

    def __init__(self, grid: Grid, sensors: int, lateness: int | None = None) -> None:
        self.grid = grid
        self.sensors = sensors
        self.lateness = grid.default_lateness if lateness is None else lateness
        self.ticks = OpenTicks(grid, sensors, self.lateness)
        # The last frame, for holds; running totals, for complete windows.
        self._last_tick = np.empty(0, np.int64)
        self._last_values = np.empty((0, sensors), np.float64)
        self._last_measured = np.empty((0, sensors), np.int64)
        self._ran = np.empty(0, np.int64)  # frames since the last gap or idle one
        self._stopped = np.empty(0, bool)  # whether that was an idle one
        self._count = np.empty(0, np.int64)
        self._long = np.empty(0, np.int64)
        self._long_before = np.empty((0, grid.window), np.int64)

    def step(
        self,
        asset: Ints,
        time: Ints,
        values: Floats,
        now: int | None = None,
        arrival: Ints | None = None,
    ) -> tuple[Frames, Intake]:
        """Take readings in their order of arrival and return the frames that close.

        Args:
            asset: shape (rows,).
            time: event time of each row, shape (rows,).
            values: NaN where a row has no reading of a sensor; no row is all NaN, shape
                (rows, sensors).
            now: the time before these rows arrive, at least that of the call before. None when the
                readings' own times are the clock, as in a recording: then silence closes nothing
                that the next reading would not close as well.
            arrival: of each row, ascending from `now` on; None = all at `now`, shape (rows,).
        """
        closed, intake = self.ticks.step(asset, time, values, now, arrival)
        return self._hold(closed), intake

    def finish(self) -> Frames:
        """Close every open tick: the end of the input."""
        return self._hold(self.ticks.finish())

    def _ensure(self, assets: int) -> None:
        if assets <= len(self._ran):
            return
        rows = max(assets, 2 * len(self._ran), 16)
        for name, fill in (
            ("_last_tick", NEVER),
            ("_last_values", np.nan),
            ("_last_measured", NEVER),
            ("_ran", 0),
            ("_stopped", False),
            ("_count", 0),
            ("_long", 0),
            ("_long_before", 0),
        ):
            setattr(self, name, grown(getattr(self, name), rows, fill))

    def _hold(self, ticks: Ticks) -> Frames:
        """Fill short holes, mark gaps and say which windows are complete."""
        grid, order = self.grid, np.lexsort((ticks.tick, ticks.asset))
        asset, tick = ticks.asset[order], ticks.tick[order]
        if not len(asset):
            empty = np.empty((0, self.sensors))
            return Frames(asset, tick, empty, empty.astype(np.int64), tick.astype(np.uint8), tick)
        self._ensure(int(asset[-1]) + 1)

        # A hole in the ticks becomes held frames, at most max_hold of them.
        starts = starts_of(asset)
        previous = np.r_[NEVER, tick[:-1]]
        previous[starts] = self._last_tick[asset[starts]]
        hole = np.where(previous == NEVER, 0, tick - previous - 1)
        added = np.minimum(hole, grid.max_hold)
        source = np.repeat(np.arange(len(asset)), added + 1)
        last_of = np.cumsum(added + 1) - 1
        values = np.full((len(source), self.sensors), np.nan)
        values[last_of] = ticks.values[order]
        offset = np.arange(len(source)) - (last_of - added)[source]
        tick = np.where(offset == added[source], tick[source], previous[source] + 1 + offset)
        asset = asset[source]
        broken = np.zeros(len(source), bool)
        broken[last_of] = hole > grid.max_hold

        # Carry the last measured value forward, as far as a hold goes.
        index = np.arange(len(asset))
        starts = starts_of(asset)
        first = np.repeat(starts, np.diff(np.append(starts, len(asset))))
        latest = np.maximum.accumulate(np.where(np.isnan(values), -1, index[:, None]), axis=0)
        earlier = latest < first[:, None]
        column = np.arange(self.sensors)
        values = np.where(earlier, self._last_values[asset], values[np.maximum(latest, 0), column])
        measured = np.where(earlier, self._last_measured[asset], tick[np.maximum(latest, 0)])
        age = tick[:, None] - measured
        is_gap = age > grid.max_hold
        values = np.where(is_gap, np.nan, values)

        # Length of the unbroken run; doubled indices tell a break before a row from one after it.
        idle = grid.idle(values)
        reset = np.maximum.accumulate(
            np.where(is_gap.any(axis=1) | idle, 2 * index + 1, np.where(broken, 2 * index, -1))
        )
        is_reset = reset >= 2 * first
        ran = np.where(is_reset, index - (reset + 1) // 2 + 1, index - first + 1 + self._ran[asset])
        run = np.maximum(ran - grid.settle_ticks, 0)
        stopped = np.where(is_reset, idle[reset // 2], self._stopped[asset])

        # Cells held longer than one tick among the last L frames.
        nth = self._count[asset] + index - first
        total = np.cumsum(((age > 1) & ~is_gap).sum(axis=1))
        total += self._long[asset] - np.where(first > 0, total[first - 1], 0)
        in_batch = index - first >= grid.window
        before = np.where(
            in_batch,
            total[np.maximum(index - grid.window, 0)],
            np.where(nth >= grid.window, self._long_before[asset, nth % grid.window], 0),
        )
        held = total - before > grid.max_held * grid.window * self.sensors
        short = run < grid.window
        fresh = (nth + 1 < grid.window) | (ran == nth + 1)
        coverage = np.select(
            [short & stopped, short & fresh, short, held],
            [Coverage.IDLE, Coverage.WARMING, Coverage.GAP, Coverage.HELD],
            Coverage.COMPLETE,
        ).astype(np.uint8)

        ends = np.append(starts[1:], len(asset)) - 1
        recent = np.repeat(ends, np.diff(np.append(starts, len(asset)))) - index < grid.window
        self._long_before[asset[recent], nth[recent] % grid.window] = total[recent]
        at = asset[ends]
        self._last_tick[at] = tick[ends]
        self._last_values[at] = values[ends]
        self._last_measured[at] = measured[ends]
        self._ran[at] = ran[ends]
        self._stopped[at] = stopped[ends]
        self._count[at] = nth[ends] + 1
        self._long[at] = total[ends]
        return Frames(asset, tick, values, age, coverage, run)


def frames_of(asset: Ints, time: Ints, values: Floats, grid: Grid) -> tuple[Frames, Intake]:
    """All frames of a recording, sorted by asset and tick; arguments as in `Framer.step`."""
    framer = Framer(grid, values.shape[1])
    early, intake = framer.step(asset, time, values)
    late = framer.finish()
    order = np.lexsort((np.r_[early.tick, late.tick], np.r_[early.asset, late.asset]))
    parts = ((getattr(early, name), getattr(late, name)) for name in Frames.__slots__)
    return Frames(*(np.concatenate(both)[order] for both in parts)), intake
