"""Stuck and out-of-range: facts about sensors, not anomalies. They need no score.

They count the time of the readings; silence, which counts that of arrival, is `monitor.silence`.
"""

from collections.abc import Iterator

import numpy as np

from models.detector import Detector
from models.frame import FOREVER, SECOND, Bools, Floats, Frames, Ints, Runs, grown
from models.recording import iso
from monitor.alert import Alert, AlertRules, duration
from monitor.cases import Casebook, Finding
from monitor.channels import Channels
from monitor.keys import Keys
from monitor.reading import AssetTable, Readings
from monitor.silence import Silence
from monitor.units import UNKNOWN, UnitWatch, change_between, change_of

# Nothing is told of what has not lasted for so long.
MINUTE = 60 * SECOND
# Flat for so many times its longest run in training. Were runs of chance, n times the longest one
# of N readings would come once in N**n; ten also lets a day's recording stand for a long weekend.
STUCK = 10
# Rejected, or in another unit, so many times in a row.
FEWEST = 5


class Health:
    """The sensors of all assets of a stream; memory per asset is constant.

    Args:
        stream: its name.
        channels: its sensors.
        assets: its table of assets.
        rules: when an open alert is told again, and when silence expires.
        keys: of the assets' payloads; None = they are not known.

    Attributes:
        silence: who sends nothing.
    """

    def __init__(
        self,
        stream: str,
        channels: Channels,
        assets: AssetTable,
        rules: AlertRules,
        keys: Keys | None = None,
    ) -> None:
        sensors = len(channels.names)
        self._channels = channels
        self._astray = np.empty(0, bool)  # whether the newest reading of a sensor was rejected
        self._flat, self._rejected = Runs(sensors), Runs(sensors)
        self._units = UnitWatch(sensors)

        def book(kind: str, over: str) -> Casebook:
            return Casebook(kind, over, stream, sensors, assets, rules)

        self._stuck = book("stuck", "{names} moves again")
        self._outside = book("out-of-range", "{names} reads within its range again")
        self._changed = book("out-of-range", "{names} reads in its usual range again")
        self.silence = Silence(stream, channels, assets, rules, keys)

    @property
    def parts(self) -> list[object]:
        """What holds memory for each asset."""
        books = (self._stuck, self._outside, self._changed, self.silence.book)
        return [
            self,
            self.silence,
            self._flat,
            self._rejected,
            self._units,
            self._units.runs,
            *books,
        ]

    def firing(self) -> Iterator[tuple[int | None, Alert]]:
        """The open alerts and the index of the asset of each, None for the whole stream's."""
        for book in (self.silence.book, self._stuck, self._outside, self._changed):
            for index, case in list(book.lives.items()):
                if case.firing:
                    yield index, case.last
        for case in list(self.silence.together.lives.values()):
            if case.firing:
                yield None, case.last

    def judge(
        self, asset: Ints, frames: Frames, detector: Detector, told: Bools, spread: Floats
    ) -> list[Alert]:
        """Find sensors that are stuck, or read as if in another unit.

        Args:
            asset: the stream's index for each frame, shape (frames,).
            frames: sorted by asset and tick.
            detector: of these assets.
            told: whether alerts of the asset may be told, shape (frames,).
            spread: of the sensors in normal data, shape (frames, sensors).
        """
        habits = detector.habits
        if habits is None or not len(frames):
            return []
        period, time = detector.grid.period, frames.tick * detector.grid.period
        counted = (frames.age == 0) & ~frames.idle[:, None]
        names, reading = self._channels.names, self._channels.reading
        count, since = self._flat.step(asset, time, frames.values, counted)
        most = np.where(habits.flat > 0, np.maximum(STUCK * habits.flat, MINUTE // period), FOREVER)
        stuck = (count > most) & told[:, None]

        def standing(i: int) -> Finding:
            which = np.flatnonzero(stuck[i])
            parts = [
                f"{names[j]} has read exactly {reading(frames.values[i, j], j)}"
                f" since {iso(int(since[i, j]))}, and never kept one value for more than "
                f"{duration(int(habits.flat[j]) * period)} in training"
                for j in which[:2]
            ]
            return Finding(
                int(since[i, which].min()),
                self._channels.evidence(which, actual=frames.values[i]),
                "; ".join(parts) + ".",
                detector.name,
                detector.digest,
            )

        out = self._stuck.step(asset, time, stuck, standing)
        seen = self._units.step(asset, time, frames.values, counted, habits, spread)
        longest = max(FEWEST, MINUTE // period)
        changed = (seen.count > longest) & told[:, None]

        def converted(i: int) -> Finding:
            which = np.flatnonzero(changed[i])
            parts = [
                f"{names[j]} reads {reading(frames.values[i, j], j)}, usually "
                f"about {reading(seen.level[i, j], j)}, since "
                f"{iso(int(seen.since[i, j]))}: as if its unit had changed "
                f"({change_of(int(seen.change[i, j]))})"
                for j in which[:2]
            ]
            return Finding(
                # The end of the tick: no reading has its time.
                int(seen.since[i, which].min()) + period // 2,
                self._channels.evidence(which, actual=frames.values[i], expected=seen.level[i]),
                "; ".join(parts) + ".",
                detector.name,
                detector.digest,
            )

        return out + self._changed.step(asset, time, changed, converted)

    def reject(self, readings: Readings, strays: Readings, known: Floats) -> list[Alert]:
        """Find sensors that keep reading outside their range.

        Args:
            readings: accepted ones.
            strays: of the same messages, the values that were rejected as out of range.
            known: the newest reading before these messages, shape (assets, sensors).
        """
        both = np.concatenate((strays.asset, readings.asset))
        if len(both) and both.max() >= len(self._astray):
            self._astray = grown(
                self._astray, max(int(both.max()) + 1, 2 * len(self._astray), 16), 0
            )
        self._astray[strays.asset] = True
        mine = self._astray[readings.asset]
        if not (len(strays.asset) or mine.any()):
            return []
        asset = np.concatenate((strays.asset, readings.asset[mine]))
        time = np.concatenate((strays.time, readings.time[mine]))
        message = np.concatenate((strays.message, readings.message[mine]))
        order = np.lexsort((time, message, asset))
        asset, time = asset[order], time[order]
        none = np.full(strays.values.shape, np.nan)
        accepted = np.concatenate((none, readings.values[mine]))[order]
        bad = np.concatenate((strays.values, np.full(readings.values[mine].shape, np.nan)))[order]
        good = ~np.isnan(accepted)
        # A good one is equal to none, so that only rejected ones make a run.
        values = np.where(np.isnan(bad), np.nan, 1.0)
        count, since = self._rejected.step(asset, time, values, good | ~np.isnan(bad))
        self._astray[asset] = (self._rejected.value[asset] == 1).any(axis=1)
        long = (count >= FEWEST) & (time[:, None] - since >= MINUTE)

        def usual(i: int, j: int) -> float:
            before = np.flatnonzero(good[:i, j] & (asset[:i] == asset[i]))
            return float(accepted[before[-1], j] if len(before) else known[asset[i], j])

        def find(i: int) -> Finding:
            which = np.flatnonzero(long[i])
            parts = [
                self._rejection(j, usual(i, j), bad[i, j], int(since[i, j])) for j in which.tolist()
            ]
            return Finding(
                int(since[i, which].min()),
                self._channels.evidence(which, actual=bad[i]),
                "; ".join(parts[:2]) + ".",
            )

        return self._outside.step(asset, time, long, find)

    def _rejection(self, j: int, usual: float, value: float, since: int) -> str:
        channels = self._channels
        text = f"{channels.names[j]} reads {channels.beyond(j)} since {iso(since)}"
        if np.isnan(value):
            return text
        text += f", last {channels.reading(value, j)}"
        change = change_between(usual, value)
        word = "" if change == UNKNOWN else f", as if its unit had changed ({change_of(change)})"
        return text + word
