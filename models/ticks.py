"""Readings → closed ticks: what waits for stragglers, what is late, when a tick ends."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from models.grid import FOREVER, NEVER, Codes, Floats, Grid, Ints, grown, rounds, starts_of


class Arrival(IntEnum):
    """What became of a row of readings."""

    ACCEPTED = 0
    DUPLICATE = 1
    LATE = 2


@dataclass(frozen=True, slots=True)
class Intake:
    """What became of some rows of readings.

    Args:
        outcome: an Arrival per row, shape (rows,).
        late, duplicate: readings refused for that reason, per sensor, shape (sensors,).
    """

    outcome: Codes
    late: Ints
    duplicate: Ints


@dataclass(frozen=True, slots=True)
class Ticks:
    """Closed ticks in which something was read, in any order.

    Args:
        asset: shape (ticks,).
        tick: shape (ticks,).
        values: newest reading per sensor, NaN without one, shape (ticks, sensors).
    """

    asset: Ints
    tick: Ints
    values: Floats


class OpenTicks:
    """The ticks that still wait for readings, over many assets.

    The state is a handful of arrays with one row per asset; memory per asset is constant.

    Args:
        grid: of the ticks.
        sensors: how many sensors a reading's row has (m).
        lateness: how long a tick waits for stragglers after its end, nanoseconds.
    """

    def __init__(self, grid: Grid, sensors: int, lateness: int) -> None:
        self.grid = grid
        self.sensors = sensors
        self.lateness = lateness
        slots = lateness // grid.period + 3  # ticks that can be open at once
        self._tick = np.empty((0, slots), np.int64)
        self._since = np.empty((0, slots), np.int64)  # arrival of the tick's first reading
        self._values = np.empty((0, slots, sensors), np.float64)
        self._stamp = np.empty((0, slots, sensors), np.int64)
        self._closed = np.empty(0, np.int64)  # newest closed tick
        self._newest = np.empty(0, np.int64)  # newest event time
        self._heard = np.empty(0, np.int64)  # arrival of the last reading
        self._due = np.empty(0, np.int64)  # `now` at which time closes the first of them

    def step(
        self,
        asset: Ints,
        time: Ints,
        values: Floats,
        now: int | None,
        arrival: Ints | None = None,
    ) -> tuple[Ticks, Intake]:
        """Take readings in their order of arrival and return the ticks that close.

        Arguments as in `models.frame.Framer.step`.
        """
        if len(asset):
            self._ensure(int(asset.max()) + 1)
        silent = self._close_by_time(now) if now is not None else _no_ticks(self.sensors)
        if now is not None and arrival is None:
            arrival = np.full(len(asset), now)
        ended, intake = self._fold(asset, time, values, arrival)
        return _merge(silent, ended), intake

    def finish(self) -> Ticks:
        """Close every open tick: the end of the input."""
        return self._take(*np.nonzero(self._tick != NEVER))

    def _ensure(self, assets: int) -> None:
        if assets <= len(self._closed):
            return
        rows = max(assets, 2 * len(self._closed), 16)
        for name, fill in (
            ("_tick", NEVER),
            ("_since", FOREVER),
            ("_values", np.nan),
            ("_stamp", NEVER),
            ("_closed", NEVER),
            ("_newest", NEVER),
            ("_heard", FOREVER),
            ("_due", FOREVER),
        ):
            setattr(self, name, grown(getattr(self, name), rows, fill))

    def _close_by_time(self, now: int) -> Ticks:
        due = np.flatnonzero(self._due <= now)
        if not len(due):
            return _no_ticks(self.sensors)
        silent = self._heard[due] + self.grid.period + self.lateness <= now
        # The first reading past a tick's end is the first one of any later tick.
        newest_first = np.argsort(-self._tick[due], axis=1)
        since = np.take_along_axis(self._since[due], newest_first, axis=1)
        waited = np.zeros(since.shape, bool)
        waited[:, 1:] = np.minimum.accumulate(since, axis=1)[:, :-1] + self.lateness <= now
        tick = np.take_along_axis(self._tick[due], newest_first, axis=1)
        at, nth = np.nonzero((tick != NEVER) & (waited | silent[:, None]))
        ticks = self._take(due[at], newest_first[at, nth])
        self._schedule(due)
        return ticks

    def _schedule(self, row: Ints) -> None:
        """Say when time will close a tick of some distinct assets, if no reading does before."""
        tick = self._tick[row]
        oldest = np.where(tick == NEVER, FOREVER, tick).min(axis=1)
        later = np.where(tick > oldest[:, None], self._since[row], FOREVER).min(axis=1)
        due = np.minimum(later, self._heard[row] + self.grid.period) + self.lateness
        self._due[row] = np.where(oldest == FOREVER, FOREVER, due)

    def _take(self, row: Ints, slot: Ints) -> Ticks:
        ticks = Ticks(row, self._tick[row, slot], self._values[row, slot])
        np.maximum.at(self._closed, row, ticks.tick)
        self._tick[row, slot] = NEVER
        self._since[row, slot] = FOREVER
        return ticks

    def _fold(
        self, asset: Ints, time: Ints, values: Floats, arrival: Ints | None
    ) -> tuple[Ticks, Intake]:
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
        open_position, slot = np.nonzero(self._tick[here] != NEVER)
        open_tick = self._tick[here[open_position], slot]
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
        cell[of_open] = self._values[here[open_position], slot]
        stamp[of_open] = self._stamp[here[open_position], slot]
        since[of_open] = self._since[here[open_position], slot]
        if arrival is not None:
            np.minimum.at(since, of_row, arrival[kept])

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
        if arrival is not None:
            self._heard[here] = arrival[order[ends]]
        closed = np.maximum(
            self.grid.last_ended(self._newest[here] - self.lateness), self._closed[here]
        )
        self._closed[here] = closed
        self._tick[here] = NEVER
        self._since[here] = FOREVER
        stays = group_tick > closed[group_position]
        row, slot = here[group_position[stays]], group_tick[stays] % self._tick.shape[1]
        self._tick[row, slot] = group_tick[stays]
        self._values[row, slot] = cell[stays]
        self._stamp[row, slot] = stamp[stays]
        self._since[row, slot] = since[stays]
        self._schedule(here)
        ended = Ticks(here[group_position[~stays]], group_tick[~stays], cell[~stays])
        return ended, Intake(outcome, late, duplicate)


def _no_ticks(sensors: int) -> Ticks:
    return Ticks(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, sensors)))


def _merge(one: Ticks, other: Ticks) -> Ticks:
    return Ticks(
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
