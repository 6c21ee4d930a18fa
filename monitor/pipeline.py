"""The live path over all assets of a stream at once: readings → frames → scores → alerts.

It changes only the arrays it holds, does no input or output and reads no clock: the daemon feeds it
from MQTT, `replay` from a file, and readings that are in time give equal alerts.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np

from models.decision import Decision
from models.detector import Detector, Scores
from models.frame import (
    Arrival,
    Bools,
    Codes,
    Coverage,
    Floats,
    Framer,
    Frames,
    Ints,
    rounds,
)
from monitor.alert import Alert, AlertRules
from monitor.board import Board, State
from monitor.channels import Channels
from monitor.health import Health
from monitor.keys import Keys
from monitor.lives import AlertBook, Evidence
from monitor.reading import AssetTable, MessageOutcome, Readings
from monitor.window import WindowRing


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step brought.

    Args:
        rows: a MessageOutcome per row of readings, shape (rows,).
        alerts: what there is to tell.
        late, duplicate: readings refused for that reason, shape (sensors,).
        scored: windows scored.
        skipped: windows not scored, by reason.
    """

    rows: Codes
    alerts: list[Alert]
    late: Ints
    duplicate: Ints
    scored: int = 0
    skipped: Counter[str] = field(default_factory=Counter[str])


class _Group:
    """The assets of a stream that share a detector, under indices of their own."""

    def __init__(self, stream: str, detector: Detector, lateness: int | None, rules: AlertRules):
        self.detector = detector
        self.framer = Framer(detector.grid, len(detector.sensors), lateness)
        self.ring = WindowRing(detector.grid.window, len(detector.sensors))
        self.decision = Decision(detector.rule, detector.adaptation)
        self.alerts = AlertBook(stream, detector, rules)
        self.assets = np.empty(0, np.int64)  # index in the stream of each asset of the group
        self.calibration = np.empty(0, np.int64)  # the row that scores it
        self.muted = np.empty(0, bool)  # scored without a calibration of its own, and not told of
        self._alert_all = rules.alert_uncalibrated

    def own(self, asset: Ints, slot: Ints, names: Sequence[str]) -> Ints:
        """The group's indices of the stream's assets; new ones get the next.

        Args:
            asset: indices in the stream.
            slot: the stream's table from its index to the group's, -1 where new; filled in here.
            names: of the stream's assets.
        """
        new = np.unique(asset[slot[asset] < 0])
        if len(new):
            slot[new] = np.arange(len(self.assets), len(self.assets) + len(new))
            self.assets = np.concatenate((self.assets, new))
            known = self.detector.calibration
            fresh = [names[int(index)] for index in new]
            rows = np.array([known.row_of(name) for name in fresh])
            muted = np.array([not (self._alert_all or known.covers(name)) for name in fresh])
            self.calibration = np.concatenate((self.calibration, rows))
            self.muted = np.concatenate((self.muted, muted))
        return slot[asset]

    @property
    def patience(self) -> int:
        """Without readings for longer, an asset has no data: nanoseconds."""
        grid = self.detector.grid
        return (grid.max_hold + 1) * grid.period + self.framer.lateness

    def rows(self, asset: Ints) -> Ints | int:
        """The calibration's rows for some of the group's assets; one for all where it is one."""
        return self.calibration[asset] if self.detector.calibration.assets else 0


class Pipeline:
    """All assets of one stream.

    Args:
        stream: the stream's name.
        channels: its sensors.
        assets: its table of assets.
        detectors: by asset name, or under None the one for all; empty = read, not scored.
        lateness: nanoseconds a tick waits after its end; None = the grid's default.
        rules: how verdicts become alerts.
        keys: of the assets' payloads; None = they are not known.

    Attributes:
        listening_since: when we began to hear the assets, nanoseconds; silence before is ours, not
            theirs.
    """

    def __init__(
        self,
        stream: str,
        channels: Channels,
        assets: AssetTable,
        detectors: Mapping[str | None, Detector],
        lateness: int | None,
        rules: AlertRules,
        keys: Keys | None = None,
    ) -> None:
        self.assets = assets
        self.listening_since = 0
        self.board = Board.empty(len(channels.names))
        self.health = Health(stream, channels, assets, rules, keys)
        self.groups = [_Group(stream, detector, lateness, rules) for detector in detectors.values()]
        self._group_of = {name: index for index, name in enumerate(detectors)}
        self._group = np.empty(0, np.int64)  # index of each asset's group, -1 without
        self._slot = np.empty(0, np.int64)

    @property
    def bytes_per_asset(self) -> int:
        """Memory of one asset's windows and state, alerts included; constant."""
        parts: list[object] = [self.board, *self.health.parts]
        if self.groups:
            group = self.groups[0]
            parts += [group.framer, group.framer.ticks, group.ring, group.decision]
            if group.decision.adapter:
                parts.append(group.decision.adapter.state)
        return sum(_row_bytes(part) for part in parts)

    def step(self, readings: Readings, now: int | None) -> Outcome:
        """Take readings in order of arrival.

        Args:
            readings: of any of the stream's assets.
            now: as in `Framer.step`.
        """
        self._admit()
        out = self._nothing(len(readings.asset))
        if readings.strays is not None:
            rejected = self.health.reject(readings, readings.strays, self.board.value)
            out.alerts.extend(rejected)
        if len(readings.asset):
            self._note(readings)
        results = [
            self._step_group(group, rows, readings, now, out)
            for group, rows in self._rows_by_group(readings.asset)
            if now is not None or len(rows)
        ]
        total = _total(out, results)
        if now is not None:
            self._hear(readings, np.flatnonzero(out.rows == MessageOutcome.ACCEPTED), now)
            if readings.strays is not None:
                self._hear(readings.strays, np.arange(len(readings.strays.asset)), now)
            total.alerts.extend(self.health.silence.look(now, self.listening_since))
            self._notice_silence(now)
        return total

    def _hear(self, readings: Readings, rows: Ints, now: int) -> None:
        arrival = np.full(len(rows), now) if readings.arrival is None else readings.arrival[rows]
        there = ~np.isnan(readings.values[rows])
        self.health.silence.hear(readings.asset[rows], there, arrival)

    def firing(self) -> Iterator[tuple[int | None, Alert]]:
        """The open alerts, each with its asset's index; None where it is the whole stream's."""
        for group in self.groups:
            for index, life in list(group.alerts.lives.items()):
                if life.firing and life.last is not None:
                    yield index, life.last
        yield from self.health.firing()

    def finish(self) -> Outcome:
        """The end of the input: close every open tick."""
        return _total(
            self._nothing(0), [self._judge(group, group.framer.finish()) for group in self.groups]
        )

    def _nothing(self, rows: int) -> Outcome:
        sensors = self.board.read.shape[1]
        none = np.zeros(sensors, np.int64)
        return Outcome(np.zeros(rows, np.uint8), [], none, none.copy())

    def _admit(self) -> None:
        known, names = len(self._group), self.assets.names
        if known == len(names):
            return
        everyone = self._group_of.get(None, -1)
        fresh = [self._group_of.get(name, everyone) for name in names[known:]]
        self._group = np.concatenate((self._group, np.array(fresh, np.int64)))
        self._slot = np.concatenate((self._slot, np.full(len(fresh), -1)))
        self.board.ensure(len(names))
        new = np.arange(known, len(names))
        self.health.silence.admit(new, None, 0)
        for index, group in enumerate(self.groups):
            self.health.silence.admit(
                new[self._group[new] == index], group.detector, group.patience
            )
        self.board.state[new[self._group[new] < 0]] = State.UNCALIBRATED

    def _rows_by_group(self, asset: Ints) -> list[tuple[_Group, Ints]]:
        if len(self.groups) == 1 and not (self._group < 0).any():
            return [(self.groups[0], np.arange(len(asset)))]
        mine = self._group[asset]
        return [(group, np.flatnonzero(mine == i)) for i, group in enumerate(self.groups)]

    def _note(self, readings: Readings) -> None:
        board = self.board
        row, sensor = np.nonzero(~np.isnan(readings.values))
        asset, time, value = readings.asset[row], readings.time[row], readings.values[row, sensor]
        # As in a frame: the newest counts, of equal stamps the larger value.
        at = asset, sensor
        value = np.where(time == board.read[at], np.fmax(value, board.value[at]), value)
        np.maximum.at(board.read, at, time)
        newest = time == board.read[at]
        at, value = (asset[newest], sensor[newest]), value[newest]
        board.value[at] = value
        np.fmax.at(board.value, at, value)

    def _step_group(
        self, group: _Group, rows: Ints, readings: Readings, now: int | None, out: Outcome
    ) -> "_Judged":
        asset = group.own(readings.asset[rows], self._slot, self.assets.names)
        arrival = None if readings.arrival is None or now is None else readings.arrival[rows]
        frames, intake = group.framer.step(
            asset, readings.time[rows], readings.values[rows], now, arrival
        )
        out.rows[rows] = _ROW_OUTCOMES[intake.outcome]
        if now is not None:
            accepted = intake.outcome == Arrival.ACCEPTED
            heard = now if arrival is None else arrival[accepted]
            np.maximum.at(self.board.heard, readings.asset[rows[accepted]], heard)
        out.late[:] += intake.late
        out.duplicate[:] += intake.duplicate
        return self._judge(group, frames)

    def _judge(self, group: _Group, frames: Frames) -> "_Judged":
        """Score the complete windows of closed frames in one batch, decide, and tell."""
        if not len(frames):
            return _Judged([], 0, Counter())
        detector = group.detector
        complete = frames.coverage == Coverage.COMPLETE
        row = np.where(complete, np.cumsum(complete) - 1, -1)
        scores = self._score(group, frames, complete)
        raw = np.full(len(frames), np.nan)
        raw[complete] = scores.raw
        rows = group.rows(frames.asset)
        verdicts = group.decision.step(frames.asset, frames.tick, raw, frames.broken, rows)
        told = ~group.muted[frames.asset]
        verdicts = replace(
            verdicts, anomalous=verdicts.anomalous & told, pending=verdicts.pending & told
        )
        row[np.isnan(raw)] = -1
        asset = group.assets[frames.asset]
        time = frames.tick * detector.grid.period
        seen = Evidence(asset, time, frames, verdicts, row, scores)
        alerts = group.alerts.step(seen, self.assets)
        spread = detector.calibration.spread[group.calibration[frames.asset]]
        alerts += self.health.judge(asset, frames, detector, told, spread)
        skipped = Counter(
            {name: int((frames.coverage == code).sum()) for name, code in _SKIPPED.items()}
        )
        skipped["unscorable"] = int((complete & np.isnan(raw)).sum())
        self._show(group, seen, complete)
        return _Judged(alerts, int((row >= 0).sum()), skipped)

    def _score(self, group: _Group, frames: Frames, complete: Bools) -> Scores:
        window, sensors = group.detector.grid.window, len(group.detector.sensors)
        scaled = group.detector.scale(frames.values, group.rows(frames.asset))
        total = int(complete.sum())
        position = np.cumsum(complete) - 1
        raw = np.empty(total)
        shares, expected = np.empty((total, sensors)), np.empty((total, sensors))
        pending: list[Ints] = []
        batch: list[np.ndarray] = []

        def flush() -> None:
            if not batch:
                return
            whose = np.concatenate(pending)
            at = position[whose]
            found = group.detector.score_windows(
                np.concatenate(batch), group.rows(frames.asset[whose])
            )
            raw[at], shares[at], expected[at] = found.raw, found.shares, found.expected
            pending.clear()
            batch.clear()

        # The ring holds one window per asset: push a frame to each, take the windows, go on.
        waiting = 0
        for turn in rounds(frames.asset):
            group.ring.push(frames.asset[turn], scaled[turn])
            whole = turn[complete[turn]]
            if len(whole):
                pending.append(whole)
                batch.append(group.ring.windows(frames.asset[whole]))
                waiting += len(whole) * window * sensors
            if waiting > _BATCH_CELLS:
                flush()
                waiting = 0
        flush()
        return Scores(raw, shares, expected)

    def _show(self, group: _Group, seen: Evidence, complete: Bools) -> None:
        """Put the newest frame of each asset on the board."""
        last = np.flatnonzero(np.r_[seen.asset[1:] != seen.asset[:-1], True])
        at, board = seen.asset[last], self.board
        board.time[at] = seen.time[last]
        board.score[at] = seen.verdicts.score[last]
        board.coverage[at] = seen.frames.coverage[last]
        scored = seen.row[last] >= 0
        board.share[at] = np.nan
        board.expected[at] = np.nan
        board.share[at[scored]] = seen.scores.shares[seen.row[last[scored]]]
        board.expected[at[scored]] = seen.scores.expected[seen.row[last[scored]]]
        lives = group.alerts.lives
        firing = np.array([a in lives and lives[a].firing for a in at.tolist()], bool)
        waiting = seen.verdicts.pending[last] | seen.verdicts.anomalous[last]
        muted = group.muted[seen.frames.asset[last]]
        board.state[at] = np.select(
            [muted, firing, seen.frames.idle[last], waiting, scored, complete[last]],
            [
                State.UNCALIBRATED,
                State.ANOMALOUS,
                State.IDLE,
                State.PENDING,
                State.NORMAL,
                State.UNSCORABLE,
            ],
            State.WARMING,
        )

    def _notice_silence(self, now: int) -> None:
        """An asset without readings for longer than a hold has no score and no normal state.

        Whether it or we are to blame is told by alerts, and by `mqtt_connected`.
        """
        for group in self.groups:
            quiet = group.assets[self.board.heard[group.assets] + group.patience < now]
            self.board.score[quiet] = np.nan
            self.board.share[quiet] = np.nan
            self.board.expected[quiet] = np.nan
            quiet = quiet[self.board.state[quiet] != State.ANOMALOUS]
            self.board.state[quiet] = State.NO_DATA
        state = self.board.state[: len(self._group)]
        mute = self.health.silence.told[: len(state)] & (state == State.WARMING)
        state[mute] = State.NO_DATA
        gone = np.flatnonzero(self._group < 0)
        state[gone] = np.where(self.health.silence.gone[gone], State.NO_DATA, State.UNCALIBRATED)


@dataclass(frozen=True, slots=True)
class _Judged:
    alerts: list[Alert]
    scored: int
    skipped: Counter[str]


_ROW_OUTCOMES = np.array(
    [MessageOutcome.ACCEPTED, MessageOutcome.DUPLICATE, MessageOutcome.LATE], np.uint8
)
_SKIPPED = {
    code.name.lower(): code
    for code in (Coverage.WARMING, Coverage.GAP, Coverage.HELD, Coverage.IDLE)
}
# Windows are scored together up to this many numbers (16 MB), to bound memory in a replay.
_BATCH_CELLS = 4_000_000


def _row_bytes(part: object) -> int:
    names = getattr(part, "__slots__", None) or vars(part)
    parts: list[object] = [getattr(part, name) for name in names]
    arrays = [cast("Floats", part) for part in parts if isinstance(part, np.ndarray)]
    return sum(array.itemsize * math.prod(array.shape[1:]) for array in arrays)


def _total(out: Outcome, results: list[_Judged]) -> Outcome:
    skipped: Counter[str] = Counter()
    for judged in results:
        out.alerts.extend(judged.alerts)
        skipped.update(judged.skipped)
    return Outcome(
        out.rows,
        out.alerts,
        out.late,
        out.duplicate,
        sum(judged.scored for judged in results),
        skipped,
    )
