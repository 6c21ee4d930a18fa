"""The contract's words on frames, holds and windows, one reading and one frame at a time."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from models.frame import Coverage, Grid


class Row(NamedTuple):
    """One row of readings as it arrives."""

    asset: int
    time: int
    values: tuple[float, ...]  # NaN where there is no reading


class Frame(NamedTuple):
    """One frame of one asset."""

    asset: int
    tick: int
    values: tuple[float | None, ...]  # None in a gap
    age: tuple[int, ...]  # None's age says nothing
    coverage: Coverage
    run: int


@dataclass
class _Asset:
    cells: dict[int, dict[int, tuple[int, float]]] = field(default_factory=dict)
    heard: list[tuple[int, int | None]] = field(default_factory=list)  # event time, now
    closed: dict[int, dict[int, float]] = field(default_factory=dict)
    newest_closed: float = -math.inf


def always(values: Sequence[float | None]) -> bool | None:
    """The condition of a machine that never rests."""
    return True


class SequentialFramer:
    """What `Framer` must do, slowly.

    Args:
        runs: what the grid's condition says of a frame's values, None where it cannot be told.
    """

    def __init__(
        self,
        grid: Grid,
        lateness: int,
        runs: Callable[[Sequence[float | None]], bool | None] = always,
    ) -> None:
        self.grid = grid
        self.lateness = lateness
        self.runs = runs
        self.assets: dict[int, _Asset] = {}

    def tick(self, time: int) -> int:
        """The k of [kP - P/2, kP + P/2), in whole numbers."""
        return (2 * time + self.grid.period) // (2 * self.grid.period)

    def _end(self, tick: int) -> float:
        return (2 * tick + 1) * self.grid.period  # doubled, so that it is whole

    def _close(self, asset: _Asset, now: int | None) -> None:
        newest = max((time for time, _ in asset.heard), default=None)
        if newest is not None:
            ended = (2 * (newest - self.lateness) - self.grid.period) // (2 * self.grid.period)
            asset.newest_closed = max(asset.newest_closed, ended)
        for tick in sorted(asset.cells):
            past = [at for time, at in asset.heard if 2 * time >= self._end(tick)]
            last = asset.heard[-1][1]
            is_passed = tick <= asset.newest_closed
            has_waited = now is not None and past and past[0] + self.lateness <= now  # pyright: ignore[reportOptionalOperand]
            is_silent = (
                now is not None
                and last is not None
                and last + self.grid.period + self.lateness <= now
            )
            if is_passed or has_waited or is_silent:
                cells = asset.cells.pop(tick)
                asset.closed[tick] = {sensor: value for sensor, (_, value) in cells.items()}
                asset.newest_closed = max(asset.newest_closed, tick)

    def advance(self, now: int) -> None:
        """Time passes."""
        for asset in self.assets.values():
            self._close(asset, now)

    def take(self, row: Row, now: int | None = None) -> str:
        """A row arrives."""
        asset = self.assets.setdefault(row.asset, _Asset())
        tick = self.tick(row.time)
        is_late = tick <= asset.newest_closed
        asset.heard.append((row.time, now))
        outcome = "late"
        if not is_late:
            outcome = "duplicate"
            cells = asset.cells.setdefault(tick, {})
            for sensor, value in enumerate(row.values):
                if math.isnan(value) or cells.get(sensor) == (row.time, value):
                    continue
                outcome = "accepted"
                cells[sensor] = max(cells.get(sensor, (row.time, value)), (row.time, value))
        self._close(asset, None)
        return outcome

    def finish(self) -> None:
        """The input ends."""
        for asset in self.assets.values():
            asset.newest_closed = max([asset.newest_closed, *asset.cells])
            self._close(asset, None)

    def frames(self, sensors: int) -> list[Frame]:
        """All closed frames, by asset and tick."""
        return [
            frame
            for asset in sorted(self.assets)
            for frame in self._held(asset, self.assets[asset].closed, sensors)
        ]

    def _held(self, asset: int, measured: dict[int, dict[int, float]], sensors: int) -> list[Frame]:
        hold, length = self.grid.max_hold, self.grid.window
        ticks: list[int] = []
        for tick in sorted(measured):
            if ticks:
                ticks += range(ticks[-1] + 1, min(ticks[-1] + hold + 1, tick))
            ticks.append(tick)
        out: list[Frame] = []
        since: int | None = None  # tick from which the machine has run, all of it seen
        broken_by, run = Coverage.WARMING, 0
        for tick in ticks:
            newest = [
                max((k for k in measured if k <= tick and sensor in measured[k]), default=None)
                for sensor in range(sensors)
            ]
            age = tuple(hold + 1 if k is None else tick - k for k in newest)
            values = tuple(
                None if k is None or tick - k > hold else measured[k][sensor]
                for sensor, k in enumerate(newest)
            )
            follows = not out or out[-1].tick == tick - 1
            rests = self.runs(values) is False
            if rests or None in values or not follows:
                broken_by, since, run = Coverage.IDLE if rests else Coverage.GAP, None, 0
            if not rests and None not in values:
                since = tick if since is None else since
                run += (tick - since) * self.grid.period >= self.grid.settle
            frame = Frame(asset, tick, values, age, Coverage.COMPLETE, run)
            window = [*out, frame][-length:]
            out.append(frame._replace(coverage=self._coverage(window, sensors, broken_by)))
        return out

    def _coverage(self, window: Sequence[Frame], sensors: int, broken_by: Coverage) -> Coverage:
        length = self.grid.window
        if window[-1].run < length:
            is_new = broken_by == Coverage.GAP and len(window) < length
            return Coverage.WARMING if is_new else broken_by
        long_held = sum(age > 1 for frame in window for age in frame.age)
        allowed = self.grid.max_held * length * sensors
        return Coverage.HELD if long_held > allowed else Coverage.COMPLETE
