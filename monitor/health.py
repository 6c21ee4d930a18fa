"""No-data, stuck, out-of-range: facts about sensors, not anomalies. They need no score.

Silence counts the time of arrival, the rest that of the readings.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from models.detector import Detector
from models.frame import FOREVER, NEVER, SECOND, Bools, Floats, Frames, Ints, Runs, grown
from models.recording import iso
from monitor.alert import MOST_SENSORS, Alert, AlertRules, SensorEvidence, duration, number
from monitor.cases import Casebook, Finding
from monitor.reading import AssetTable, Readings
from monitor.units import UNKNOWN, UnitWatch, change_of

# Nothing is told of what has not lasted for so long.
MINUTE = 60 * SECOND
# Silent for so many of the longest usual pauses. Where readings come at random, the longest of the
# last 16 pauses is about three mean ones, and a pause of 15 mean ones comes once in 3 million.
PATIENCE = 5
# After a pause shorter than the usual one, the usual one is less by this part of the difference.
FORGETS = 16
# Flat for so many times its longest run in training. Were runs of chance, n times the longest one
# of N readings would come once in N**n; ten also lets a day's recording stand for a long weekend.
STUCK = 10
# Rejected, or in another unit, so many times in a row.
FEWEST = 5
# Who has not looked for so long has not listened.
BLINK = 10 * SECOND


@dataclass(frozen=True, slots=True)
class Channels:
    """The sensors of a stream.

    Args:
        names, units: one for each.
        low, high: what is outside is rejected, shape (sensors,).
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    low: Floats
    high: Floats

    @classmethod
    def plain(cls, *names: str) -> "Channels":
        """Sensors without units and limits."""
        wide = np.full(len(names), np.inf)
        return cls(names, ("",) * len(names), -wide, wide)


class Health:
    """The sensors of all assets of a stream; memory per asset is constant.

    Args:
        stream: its name.
        channels: its sensors.
        assets: its table of assets.
        rules: when an open alert is told again, and when silence expires.

    Attributes:
        gone: assets of which nothing has come for longer than their patience, shape (assets,).
    """

    def __init__(
        self, stream: str, channels: Channels, assets: AssetTable, rules: AlertRules
    ) -> None:
        sensors = len(channels.names)
        self._channels = channels
        self._assets = assets
        self._heard = np.empty((0, sensors), np.int64)  # arrival of the newest reading
        self._pause = np.empty((0, sensors), np.int64)  # the usual one between two; 0 = unknown
        self._least = np.empty(0, np.int64)  # patience at least; 0 = not known what to expect
        self._astray = np.empty(0, bool)  # whether the newest reading of a sensor was rejected
        self._listening = NEVER  # since when
        self._looked = NEVER
        self.gone = np.empty(0, bool)
        self._mute = np.empty((0, sensors), bool)  # whose silence has been told of
        self._together = np.empty(0, bool)  # whose silence the whole stream's alert tells of
        self._flat, self._rejected = Runs(sensors), Runs(sensors)
        self._units = UnitWatch(sensors)

        def book(kind: str, over: str) -> Casebook:
            return Casebook(kind, over, stream, sensors, assets, rules)

        self._stuck = book("stuck", "{names} moves again")
        self._outside = book("out-of-range", "{names} reads within its range again")
        self._changed = book("out-of-range", "{names} reads in its usual range again")
        back = "{names}: readings come again"
        self._silent = Casebook("no-data", back, stream, sensors, assets, rules, rules.expire)
        again = "most of the silent assets are heard again"
        self._all = Casebook("no-data", again, stream, 1, None, rules, rules.expire)

    @property
    def parts(self) -> list[object]:
        """What holds memory for each asset."""
        books = (self._stuck, self._outside, self._changed, self._silent)
        return [self, self._flat, self._rejected, self._units, self._units.runs, *books]

    @property
    def silent(self) -> Bools:
        """Assets that an open alert says to lack readings, shape (assets,)."""
        out = np.zeros(len(self._least), bool)
        out[list(self._silent.lives)] = True
        return out

    def firing(self) -> Iterator[tuple[int | None, Alert]]:
        """The open alerts and the index of the asset of each, None for the whole stream's."""
        for book in (self._silent, self._stuck, self._outside, self._changed):
            for index, case in list(book.lives.items()):
                if case.firing:
                    yield index, case.last
        for case in list(self._all.lives.values()):
            if case.firing:
                yield None, case.last

    def admit(self, asset: Ints, detector: Detector | None, patience: int) -> None:
        """Get to know some assets.

        Args:
            asset: indices that are new.
            detector: that scores them; None = nobody knows what to expect of them.
            patience: nanoseconds after which they count as having no data.
        """
        if len(asset) and asset.max() >= len(self._least):
            rows = max(int(asset.max()) + 1, 2 * len(self._least), 16)
            self._heard, self._pause = grown(self._heard, rows, NEVER), grown(self._pause, rows, 0)
            self._least = grown(self._least, rows, 0)
            self._astray, self.gone = grown(self._astray, rows, 0), grown(self.gone, rows, 0)
            self._together = grown(self._together, rows, 0)
            self._mute = grown(self._mute, rows, 0)
        if detector is not None:
            self._least[asset] = max(MINUTE, patience, PATIENCE * detector.grid.period)

    def hear(self, asset: Ints, there: Bools, now: int) -> None:
        """Readings have arrived.

        Args:
            asset: shape (rows,).
            there: whether a row has a reading of a sensor, shape (rows, sensors).
            now: when.
        """
        row, sensor = np.nonzero(there)
        at = asset[row], sensor
        last = self._heard[at]
        pause = now - np.maximum(last, self._listening)
        pause, usual = np.where(last == NEVER, 0, pause), self._pause[at]
        calmer = usual - (usual - pause) // FORGETS
        # All rows of a cell come from the same numbers to the same ones.
        self._pause[at] = np.where(pause > usual, pause, np.where(pause > 0, calmer, usual))
        self._heard[at] = now
        # Of a sensor that a model wants and that has never come, silence begins with its asset.
        fresh = asset[(self._heard[asset] == NEVER).any(axis=1) & (self._least[asset] > 0)]
        self._heard[fresh] = np.where(self._heard[fresh] == NEVER, now, self._heard[fresh])

    def look(self, now: int, listening_since: int) -> list[Alert]:
        """Notice who is silent, once a second.

        Args:
            now: nanoseconds.
            listening_since: as of the pipeline.
        """
        if now - self._looked < SECOND:
            return []
        self._listening = max(self._listening, listening_since if listening_since < now else NEVER)
        if now - self._looked > BLINK or listening_since > now:
            self._listening = now
        self._looked = now
        n = len(self._assets.names)
        heard, pause, least = self._heard[:n], self._pause[:n], self._least[:n, None]
        patience = np.maximum(np.maximum(MINUTE, least), PATIENCE * pause)
        patience[(pause == 0) & (least == 0)] = FOREVER
        unheard = now - heard
        silence = now - np.maximum(heard, self._listening)
        soonest = patience.min(axis=1)
        gone = silence.min(axis=1) > soonest
        # What we have not listened to begins no silence, and ends none.
        still = unheard.min(axis=1) > soonest
        self.gone[:n] = gone | (self.gone[:n] & still)
        known = heard != NEVER
        affected = (known & (silence > patience)) | gone[:, None]
        affected |= self._mute[:n] & ((known & (unheard > patience)) | still[:, None])
        quiet = (2 * silence.min(axis=1) > soonest) & (soonest < FOREVER)
        out, together = self._look_at_all(now, gone, quiet | (self._together[:n] & still))
        affected &= ~together[:, None]
        self._mute[:n] = affected

        def find(i: int) -> Finding:
            return self._silence(i, affected[i], everything=bool(self.gone[i]))

        return out + self._silent.step(np.arange(n), np.full(n, now), affected, find)

    def _look_at_all(self, now: int, gone: Bools, quiet: Bools) -> tuple[list[Alert], Bools]:
        """More than half of the stream silent at once is one alert, and none for each asset."""
        alone = self._mute[: len(gone)].all(axis=1)  # told of already, each by itself
        quiet, others, was_open = quiet & ~alone, int((~alone).sum()), bool(self._all.lives)
        many = int(quiet.sum())
        most = many > 1 and 2 * many > others and (was_open or bool((gone & quiet).any()))
        self._together[: len(gone)] = quiet & most
        if was_open and not most:
            self._listening = now  # those still silent are told of, each after its own patience
        which: list[int] = np.flatnonzero(quiet)[:MOST_SENSORS].tolist()
        names = [self._assets.names[i] for i in which]
        more = ", …" if many > len(names) else ""

        def find(_: int) -> Finding:
            onset = int(self._heard[: len(quiet)][quiet].max(axis=1).min())
            return Finding(
                onset,
                (),
                f"{many} of {others} assets have been silent since {iso(onset)} "
                f"({', '.join(names)}{more}): look for what they have in common.",
            )

        here = np.zeros(1, np.int64), np.array([now]), np.array([[most]])
        return self._all.step(*here, find), quiet & (most or was_open)

    def _silence(self, index: int, affected: Bools, *, everything: bool) -> Finding:
        which = np.flatnonzero(affected)
        heard = self._heard[index]
        onset = int(heard[which].max() if everything else heard[which].min())
        usual = int(self._pause[index, which].min())
        often = f"; a reading usually comes every {duration(usual)}" if usual >= SECOND else ""
        who = "no sensor" if everything else ", ".join(self._channels.names[j] for j in which)
        says = "has sent a usable reading" if everything else "has been silent"
        others = "" if everything else ", while others come"
        return Finding(
            onset, self._named(which), f"{who} {says} since {iso(onset)}{others}{often}."
        )

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
        count, since = self._flat.step(asset, time, frames.values, counted)
        most = np.where(habits.flat > 0, np.maximum(STUCK * habits.flat, MINUTE // period), FOREVER)
        stuck = (count > most) & told[:, None]

        def standing(i: int) -> Finding:
            which = np.flatnonzero(stuck[i])
            parts = [
                f"{self._channels.names[j]} has read exactly {self._number(frames.values[i, j], j)}"
                f" since {iso(int(since[i, j]))}, and never kept one value for more than "
                f"{duration(int(habits.flat[j]) * period)} in training"
                for j in which[:2]
            ]
            return Finding(
                int(since[i, which].min()),
                self._named(which, actual=frames.values[i]),
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
                f"{self._channels.names[j]} reads {self._number(frames.values[i, j], j)}, usually "
                f"about {self._number(seen.level[i, j], j)}, since "
                f"{iso(int(seen.since[i, j]))}: as if its unit had changed "
                f"({change_of(int(seen.change[i, j]))})"
                for j in which[:2]
            ]
            return Finding(
                # The end of the tick: no reading has its time.
                int(seen.since[i, which].min()) + period // 2,
                self._named(which, actual=frames.values[i], expected=seen.level[i]),
                "; ".join(parts) + ".",
                detector.name,
                detector.digest,
            )

        return out + self._changed.step(asset, time, changed, converted)

    def reject(self, readings: Readings, strays: Readings) -> list[Alert]:
        """Find sensors that keep reading outside their range.

        Args:
            readings: accepted ones.
            strays: of the same messages, the values that were rejected as out of range.
        """
        self._astray[strays.asset] = True
        mine = self._astray[readings.asset]
        if not (len(strays.asset) or mine.any()):
            return []
        asset = np.concatenate((strays.asset, readings.asset[mine]))
        time = np.concatenate((strays.time, readings.time[mine]))
        message = np.concatenate((strays.message, readings.message[mine]))
        order = np.lexsort((time, message, asset))
        asset, time = asset[order], time[order]
        good = np.concatenate((np.full(strays.values.shape, np.nan), readings.values[mine]))
        bad = np.concatenate((strays.values, np.full(readings.values[mine].shape, np.nan)))
        good, bad = ~np.isnan(good[order]), bad[order]
        # A good one is equal to none, so that only rejected ones make a run.
        values = np.where(np.isnan(bad), np.nan, 1.0)
        count, since = self._rejected.step(asset, time, values, good | ~np.isnan(bad))
        self._astray[asset] = (self._rejected.value[asset] == 1).any(axis=1)
        long = (count >= FEWEST) & (time[:, None] - since >= MINUTE)

        def find(i: int) -> Finding:
            which = np.flatnonzero(long[i])
            parts = [
                self._rejection(int(asset[i]), j, bad[i, j], int(since[i, j]))
                for j in which.tolist()
            ]
            return Finding(
                int(since[i, which].min()),
                self._named(which, actual=bad[i]),
                "; ".join(parts[:2]) + ".",
            )

        return self._outside.step(asset, time, long, find)

    def _rejection(self, asset: int, j: int, value: float, since: int) -> str:
        channels = self._channels
        text = f"{channels.names[j]} reads outside {channels.low[j]:g} to "
        text += self._number(channels.high[j], j) + f" since {iso(since)}"
        if np.isnan(value):
            return text
        text += f", last {self._number(value, j)}"
        change = self._units.change(asset, j, value)
        return (
            text
            if change == UNKNOWN
            else f"{text}, as if its unit had changed ({change_of(change)})"
        )

    def _number(self, value: float, j: int) -> str:
        return number(float(value), self._channels.units[j])

    def _named(
        self, which: Ints, actual: Floats | None = None, expected: Floats | None = None
    ) -> tuple[SensorEvidence, ...]:
        def at(values: Floats | None, j: int) -> float | None:
            return None if values is None or np.isnan(values[j]) else float(values[j])

        names, units = self._channels.names, self._channels.units
        chosen: list[int] = which[:MOST_SENSORS].tolist()
        return tuple(
            SensorEvidence(names[j], units[j], expected=at(expected, j), actual=at(actual, j))
            for j in chosen
        )
