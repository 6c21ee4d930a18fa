"""Readings → frames → complete windows, on a bundle's grid.

The one place that says what a frame, a hold, a gap and a complete window are: training, `score`,
`replay` and the daemon all come through here. Everything works on arrays over many assets at once;
times are integer nanoseconds since the epoch, so ticks are exact.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Float32s = NDArray[np.float32]
Codes = NDArray[np.uint8]
Bools = NDArray[np.bool_]

T = TypeVar("T", bound=np.generic)

SECOND = 1_000_000_000
# Before and after any time until 2100; NEVER is far enough from the limit of int64 to be doubled.
NEVER, FOREVER = -(2**60), 2**62


@dataclass(frozen=True, slots=True)
class Grid:
    """How readings become frames and frames become windows.

    Args:
        period: time between frames, nanoseconds.
        window: frames in a window (L).
        max_hold: ticks a sensor's last value is held over.
        max_held: share of a window's cells that may be held longer than one tick.
    """

    period: int
    window: int
    max_hold: int = 3
    max_held: float = 0.2

    @property
    def default_lateness(self) -> int:
        """min(2 periods, 5 s), in nanoseconds."""
        return min(2 * self.period, 5 * SECOND)

    def tick(self, time: Ints) -> Ints:
        """The tick k of each time: [kP - P/2, kP + P/2)."""
        return (2 * time + self.period) // (2 * self.period)

    def last_ended(self, time: Ints) -> Ints:
        """The newest tick whose end is at or before each time."""
        return (2 * time - self.period) // (2 * self.period)


class Arrival(IntEnum):
    """What became of a row of readings."""

    ACCEPTED = 0
    DUPLICATE = 1
    LATE = 2


class Coverage(IntEnum):
    """Whether the window that ends at a frame is complete, and if not, why."""

    COMPLETE = 0
    WARMING = 1
    GAP = 2
    HELD = 3


@dataclass(frozen=True, slots=True)
class Frames:
    """Closed frames, sorted by asset and tick.

    Args:
        asset: index of the asset, shape (frames,).
        tick: number of the tick; its time is tick * period, shape (frames,).
        values: newest reading or held value per sensor, NaN in a gap, shape (frames, sensors).
        age: ticks since the value was measured, 0 = in this tick, shape (frames, sensors).
        coverage: a Coverage per frame, shape (frames,).
        run: frames in a row without a gap up to and with this one, shape (frames,).
    """

    asset: Ints
    tick: Ints
    values: Floats
    age: Ints
    coverage: Codes
    run: Ints

    def __len__(self) -> int:
        return len(self.asset)


@dataclass(frozen=True, slots=True)
class Intake:
    """What became of the readings given to `Framer.step`.

    Args:
        outcome: an Arrival per row, shape (rows,).
        late, duplicate: readings refused for that reason, per sensor, shape (sensors,).
    """

    outcome: Codes
    late: Ints
    duplicate: Ints


def grown(array: NDArray[T], rows: int, fill: float) -> NDArray[T]:
    """The array with its first axis lengthened to `rows`, the new part filled."""
    out = np.full((rows, *array.shape[1:]), fill, dtype=array.dtype)
    out[: len(array)] = array
    return out


def rounds(asset: Ints) -> Iterator[Ints]:
    """Split rows sorted by asset into rounds that hold each asset at most once, in order."""
    if not len(asset):
        return
    first = starts_of(asset)
    length = np.diff(np.append(first, len(asset)))
    for turn in range(int(length.max())):
        yield first[length > turn] + turn


def starts_of(*sorted_keys: Ints) -> Ints:
    """Index of the first row of every run of equal keys."""
    change = np.zeros(len(sorted_keys[0]), dtype=bool)
    change[:1] = True
    for key in sorted_keys:
        change[1:] |= key[1:] != key[:-1]
    return np.flatnonzero(change)


class Framer:
    """Readings → closed, held frames with their coverage, over many assets.

    The state is a handful of arrays with one row per asset; memory per asset is constant.

    Args:
        grid: period, window and hold rules.
        sensors: how many sensors a frame has (m).
        lateness: how long a tick waits for stragglers after its end, nanoseconds.
    """

    def __init__(self, grid: Grid, sensors: int, lateness: int | None = None) -> None:
        self.grid = grid
        self.sensors = sensors
        self.lateness = grid.default_lateness if lateness is None else lateness
        self.assets = 0
        slots = self.lateness // grid.period + 3  # ticks that can be open at once
        # Ticks that still wait for readings.
        self._open_tick = np.empty((0, slots), np.int64)
        self._open_since = np.empty((0, slots), np.int64)  # `now` at the first reading of the tick
        self._open_values = np.empty((0, slots, sensors), np.float64)
        self._open_stamp = np.empty((0, slots, sensors), np.int64)
        self._closed = np.empty(0, np.int64)  # newest closed tick
        self._newest = np.empty(0, np.int64)  # newest event time
        self._heard = np.empty(0, np.int64)  # `now` of the last reading
        # The last frame, for holds; running totals, for complete windows.
        self._last_tick = np.empty(0, np.int64)
        self._last_values = np.empty((0, sensors), np.float64)
        self._last_measured = np.empty((0, sensors), np.int64)
        self._run = np.empty(0, np.int64)
        self._count = np.empty(0, np.int64)
        self._long = np.empty(0, np.int64)
        self._long_before = np.empty((0, grid.window), np.int64)

    def ensure(self, assets: int) -> None:
        """Make room for asset indices below `assets`."""
        if assets <= len(self._closed):
            self.assets = max(self.assets, assets)
            return
        rows = max(assets, 2 * len(self._closed), 16)
        for name, fill in (
            ("_open_tick", NEVER),
            ("_open_since", FOREVER),
            ("_open_values", np.nan),
            ("_open_stamp", NEVER),
            ("_closed", NEVER),
            ("_newest", NEVER),
            ("_heard", FOREVER),
            ("_last_tick", NEVER),
            ("_last_values", np.nan),
            ("_last_measured", NEVER),
            ("_run", 0),
            ("_count", 0),
            ("_long", 0),
            ("_long_before", 0),
        ):
            setattr(self, name, grown(getattr(self, name), rows, fill))
        self.assets = assets

    def step(
        self, asset: Ints, time: Ints, values: Floats, now: int | None = None
    ) -> tuple[Frames, Intake]:
        """Take readings in their order of arrival and return the frames that close.

        Args:
            asset: shape (rows,).
            time: event time of each row, shape (rows,).
            values: NaN where a row has no reading of a sensor; no row is all NaN, shape
                (rows, sensors).
            now: arrival time of these rows, at least that of the call before. None when the
                readings' own times are the clock, as in a recording: then silence closes nothing
                that the next reading would not close as well.
        """
        if len(asset):
            self.ensure(int(asset.max()) + 1)
        silent = self._close_by_time(now) if now is not None else _no_ticks(self.sensors)
        ended, intake = self._fold(asset, time, values, now)
        return self._hold(_merge(silent, ended)), intake

    def finish(self) -> Frames:
        """Close every open tick: the end of the input."""
        row, slot = np.nonzero(self._open_tick != NEVER)
        return self._hold(self._take(row, slot))

    def _close_by_time(self, now: int) -> "_Ticks":
        silent = self._heard + self.grid.period + self.lateness <= now
        due = np.flatnonzero(silent | (self._open_since.min(axis=1) + self.lateness <= now))
        if not len(due):
            return _no_ticks(self.sensors)
        # The first reading past a tick's end is the first one of any later tick.
        newest_first = np.argsort(-self._open_tick[due], axis=1)
        since = np.take_along_axis(self._open_since[due], newest_first, axis=1)
        waited = np.zeros(since.shape, bool)
        waited[:, 1:] = np.minimum.accumulate(since, axis=1)[:, :-1] + self.lateness <= now
        tick = np.take_along_axis(self._open_tick[due], newest_first, axis=1)
        at, nth = np.nonzero((tick != NEVER) & (waited | silent[due, None]))
        return self._take(due[at], newest_first[at, nth])

    def _take(self, row: Ints, slot: Ints) -> "_Ticks":
        ticks = _Ticks(row, self._open_tick[row, slot], self._open_values[row, slot])
        np.maximum.at(self._closed, row, ticks.tick)
        self._open_tick[row, slot] = NEVER
        self._open_since[row, slot] = FOREVER
        return ticks

    def _fold(
        self, asset: Ints, time: Ints, values: Floats, now: int | None
    ) -> tuple["_Ticks", Intake]:
        rows = len(asset)
        outcome = np.zeros(rows, np.uint8)
        late = np.zeros(self.sensors, np.int64)
        duplicate = np.zeros(self.sensors, np.int64)
        if not rows:
            return _no_ticks(self.sensors), Intake(outcome, late, duplicate)
        order = np.argsort(asset, kind="stable")
        starts = starts_of(asset[order])
        here = asset[order][starts]  # the assets of this batch, ascending
        position = np.repeat(np.arange(len(here)), np.diff(np.append(starts, rows)))
        time_of = time[order]

        # A row is late if its tick had closed when the row arrived.
        newest = _newest_so_far(position, time_of)
        before = np.where(np.r_[True, np.diff(position) > 0], NEVER, np.r_[NEVER, newest[:-1]])
        before = np.maximum(before, self._newest[here][position])
        closed = np.maximum(
            self.grid.last_ended(before - self.lateness), self._closed[here][position]
        )
        tick = self.grid.tick(time_of)
        is_late = tick <= closed
        outcome[order[is_late]] = Arrival.LATE
        late += np.isfinite(values[order[is_late]]).sum(axis=0)

        # Put open ticks and the rows that are in time into groups of (asset, tick).
        kept = order[~is_late]
        sort = np.lexsort((tick[~is_late], position[~is_late]))  # keeps the order of arrival
        kept = kept[sort]
        row_position, row_tick = position[~is_late][sort], tick[~is_late][sort]
        open_position, slot = np.nonzero(self._open_tick[here] != NEVER)
        open_tick = self._open_tick[here[open_position], slot]
        pair_position = np.concatenate((open_position, row_position))
        pair_tick = np.concatenate((open_tick, row_tick))
        by_pair = np.lexsort((pair_tick, pair_position))
        firsts = starts_of(pair_position[by_pair], pair_tick[by_pair])
        group = np.empty(len(by_pair), np.int64)
        group[by_pair] = np.repeat(np.arange(len(firsts)), np.diff(np.append(firsts, len(by_pair))))
        group_position = pair_position[by_pair][firsts]
        group_tick = pair_tick[by_pair][firsts]
        cell = np.full((len(firsts), self.sensors), np.nan)
        stamp = np.full((len(firsts), self.sensors), NEVER, np.int64)
        since = np.full(len(firsts), FOREVER, np.int64)
        of_open, of_row = group[: len(open_tick)], group[len(open_tick) :]
        cell[of_open] = self._open_values[here[open_position], slot]
        stamp[of_open] = self._open_stamp[here[open_position], slot]
        since[of_open] = self._open_since[here[open_position], slot]
        if now is not None:
            since = np.minimum(since, now)

        # The newest reading of a tick wins; of equal stamps the larger value.
        for turn in rounds(of_row):
            into, source = of_row[turn], kept[turn]
            value, at = values[source], time[source][:, None]
            measured = ~np.isnan(value)
            same = measured & (stamp[into] == at)
            again = same & (cell[into] == value)
            newer = measured & ((at > stamp[into]) | (same & (value > cell[into])))
            cell[into] = np.where(newer, value, cell[into])
            stamp[into] = np.where(newer, at, stamp[into])
            duplicate += again.sum(axis=0)
            outcome[source[(again == measured).all(axis=1)]] = Arrival.DUPLICATE

        # Close what the newest reading has passed, keep the rest open.
        ends = np.append(starts[1:], rows) - 1
        self._newest[here] = np.maximum(self._newest[here], newest[ends])
        if now is not None:
            self._heard[here] = now
        closed = np.maximum(
            self.grid.last_ended(self._newest[here] - self.lateness), self._closed[here]
        )
        self._closed[here] = closed
        self._open_tick[here] = NEVER
        self._open_since[here] = FOREVER
        stays = group_tick > closed[group_position]
        row, slot = here[group_position[stays]], group_tick[stays] % self._open_tick.shape[1]
        self._open_tick[row, slot] = group_tick[stays]
        self._open_values[row, slot] = cell[stays]
        self._open_stamp[row, slot] = stamp[stays]
        self._open_since[row, slot] = since[stays]
        ended = _Ticks(here[group_position[~stays]], group_tick[~stays], cell[~stays])
        return ended, Intake(outcome, late, duplicate)

    def _hold(self, ticks: "_Ticks") -> Frames:
        """Fill short holes, mark gaps and say which windows are complete."""
        grid, order = self.grid, np.lexsort((ticks.tick, ticks.asset))
        asset, tick = ticks.asset[order], ticks.tick[order]
        if not len(asset):
            empty = np.empty((0, self.sensors))
            return Frames(asset, tick, empty, empty.astype(np.int64), tick.astype(np.uint8), tick)

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

        # Length of the unbroken run; doubled indices tell a break before a row from one after it.
        gap_row = is_gap.any(axis=1)
        reset = np.maximum.accumulate(
            np.where(gap_row, 2 * index + 1, np.where(broken, 2 * index, -1))
        )
        run = np.where(
            reset >= 2 * first, index - (reset + 1) // 2 + 1, index - first + 1 + self._run[asset]
        )

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
        coverage = np.select(
            [nth + 1 < grid.window, run < grid.window, held],
            [Coverage.WARMING, Coverage.GAP, Coverage.HELD],
            Coverage.COMPLETE,
        ).astype(np.uint8)

        ends = np.append(starts[1:], len(asset)) - 1
        recent = np.repeat(ends, np.diff(np.append(starts, len(asset)))) - index < grid.window
        self._long_before[asset[recent], nth[recent] % grid.window] = total[recent]
        at = asset[ends]
        self._last_tick[at] = tick[ends]
        self._last_values[at] = values[ends]
        self._last_measured[at] = measured[ends]
        self._run[at] = run[ends]
        self._count[at] = nth[ends] + 1
        self._long[at] = total[ends]
        return Frames(asset, tick, np.where(is_gap, np.nan, values), age, coverage, run)


class WindowRing:
    """The last L scaled frames of many assets, float32, each window one contiguous slice.

    A frame is written twice, L rows apart, so that no window ever wraps.
    """

    def __init__(self, window: int, sensors: int) -> None:
        self._window = window
        self._rows = np.empty((0, 2 * window, sensors), np.float32)
        self._next = np.empty(0, np.int64)

    def push(self, asset: Ints, frames: Float32s) -> None:
        """Append one frame to each of some distinct assets, frames of shape (assets, sensors)."""
        if len(asset) and asset.max() >= len(self._next):
            rows = max(int(asset.max()) + 1, 2 * len(self._next), 16)
            self._rows, self._next = grown(self._rows, rows, 0), grown(self._next, rows, 0)
        at = self._next[asset]
        self._rows[asset, at] = frames
        self._rows[asset, at + self._window] = frames
        self._next[asset] = (at + 1) % self._window

    def windows(self, asset: Ints) -> Float32s:
        """Windows of some assets, oldest frame first, shape (assets, window, sensors)."""
        at = self._next[asset][:, None] + np.arange(self._window)
        return self._rows[asset[:, None], at]


def frames_of(asset: Ints, time: Ints, values: Floats, grid: Grid) -> Frames:
    """All frames of a recording, sorted by asset and tick; arguments as in `Framer.step`."""
    framer = Framer(grid, values.shape[1])
    early, _ = framer.step(asset, time, values)
    late = framer.finish()
    order = np.lexsort((np.r_[early.tick, late.tick], np.r_[early.asset, late.asset]))
    return Frames(
        *(
            np.concatenate((getattr(early, name), getattr(late, name)))[order]
            for name in Frames.__slots__
        )
    )


@dataclass(frozen=True, slots=True)
class _Ticks:
    asset: Ints
    tick: Ints
    values: Floats


def _no_ticks(sensors: int) -> _Ticks:
    return _Ticks(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, sensors)))


def _merge(one: _Ticks, other: _Ticks) -> _Ticks:
    return _Ticks(
        np.concatenate((one.asset, other.asset)),
        np.concatenate((one.tick, other.tick)),
        np.concatenate((one.values, other.values)),
    )


def _newest_so_far(position: Ints, time: Ints) -> Ints:
    """Running maximum of time within each run of equal, ascending positions."""
    rows = len(time)
    by_time = np.argsort(time, kind="stable")
    rank = np.empty(rows, np.int64)
    rank[by_time] = np.arange(rows)
    return time[by_time][np.maximum.accumulate(position * rows + rank) % rows]
