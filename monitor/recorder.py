"""Accepted readings → day files: rows wait for stragglers, so a file is in order of time."""

import fcntl
import math
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import structlog

from models.frame import NEVER, SECOND, Arrival, Grid, Ints, OpenTicks, Ticks
from monitor.config import Config
from monitor.daemon import BATCH, DRAIN, WAIT, link_settings, packet_size
from monitor.dayfiles import DayFiles, day_of
from monitor.errors import CannotWrite, SensorMonitorError, TakenOver
from monitor.link import Link
from monitor.pipeline import Outcome
from monitor.reading import Message, MessageOutcome, Readings
from monitor.stream import Stream, filters_of, retained_of

# A row waits for its tick to close, as in the daemon; of long ticks no longer than this, for what
# waits is lost in a kill. Without a bundle there is no tick, and no period to take a default from.
LONGEST_TICK = 60 * SECOND
TICK, LATENESS = SECOND, 5 * SECOND
MOST_WAITING = 2_000_000  # numbers; beyond, all that waits is written and what comes behind is late
NO_MORE = np.iinfo(np.int64).max  # a last row after which all is late
CONNECT_SECONDS = 10.0
TELL_SECONDS = 60.0  # how it goes, so often

log = structlog.get_logger("sensor_monitor")


class Recorder:
    """Writes what one stream accepts, one row per asset and time.

    A row is written when its tick closes: no row can come before it any more. Where frames are of
    LONGEST_TICK at most, a reading is so accepted or late as in the daemon, and frames made from
    the files equal its own. Longer ones the daemon keeps open for stragglers that are late here.
    Late is also what belongs to a day's file that is not ours to go on with.

    Args:
        stream: as configured.
        files: where to.
    """

    def __init__(self, stream: Stream, files: DayFiles) -> None:
        self.stream = stream
        self.files = files
        self._ticks: dict[int, OpenTicks] = {}  # by period
        self._period: list[int] = []  # of each asset
        self._waiting: dict[int, dict[int, list[float]]] = {}  # by asset and time
        self._count = 0  # of the rows that wait
        self._floor: dict[int, tuple[str, int]] = {}  # day and time of the asset's last row there
        self._foreign: set[tuple[int, str]] = set()  # assets and days whose files are not ours

    def take(self, messages: Sequence[Message], now: int) -> None:
        """Read messages, write what need wait no longer, and enter all of it in the books.

        Args:
            messages: in order of arrival.
            now: nanoseconds since the epoch.
        """
        self.stream.account(messages, now, self._step)
        if self._count * len(self.stream.sensors.names) > MOST_WAITING:
            self.finish()

    def finish(self) -> None:
        """Write all that waits."""
        for asset in list(self._waiting):
            self._write(asset, sorted(self._waiting[asset]))

    def _step(self, readings: Readings, now: int) -> Outcome:
        self._admit()
        sensors = readings.values.shape[1]
        rows = np.full(len(readings.asset), MessageOutcome.ACCEPTED, np.uint8)
        late, duplicate = np.zeros(sensors, np.int64), np.zeros(sensors, np.int64)
        whose, when = readings.asset.tolist(), readings.time.tolist()
        behind = np.array(
            [at <= self._last(asset, at) for asset, at in zip(whose, when, strict=True)], bool
        )
        rows[behind] = MessageOutcome.LATE
        period = np.array(self._period, np.int64)[readings.asset]
        closed: list[tuple[int, Ticks]] = []
        for one, ticks in self._ticks.items():
            mine = np.flatnonzero(~behind & (period == one))
            arrival = None if readings.arrival is None else readings.arrival[mine]
            ended, intake = ticks.step(
                readings.asset[mine], readings.time[mine], readings.values[mine], now, arrival
            )
            rows[mine[intake.outcome == Arrival.LATE]] = MessageOutcome.LATE
            closed.append((one, ended))
        for row in np.flatnonzero(rows == MessageOutcome.ACCEPTED).tolist():
            again = self._keep(whose[row], when[row], readings.values[row].tolist())
            duplicate[again] += 1
            if len(again) == np.count_nonzero(~np.isnan(readings.values[row])):
                rows[row] = MessageOutcome.DUPLICATE
        late += (~np.isnan(readings.values[rows == MessageOutcome.LATE])).sum(axis=0)
        for one, ended in closed:
            self._release(one, ended)
        return Outcome(rows, [], late, duplicate)

    def _admit(self) -> None:
        """Give new assets the grid that the daemon would put them on."""
        detectors, given = self.stream.detectors, self.stream.config.lateness
        for name in self.stream.assets.names[len(self._period) :]:
            detector = detectors.get(name, detectors.get(None))
            grid = detector.grid if detector else Grid(TICK, 1)
            period = min(grid.period, LONGEST_TICK)
            self._period.append(period)
            if period not in self._ticks:
                default = grid.default_lateness if detector else LATENESS
                lateness = default if given is None else round(given * SECOND)
                width = len(self.stream.sensors.names)
                self._ticks[period] = OpenTicks(replace(grid, period=period), width, lateness)

    def _last(self, asset: int, at: int) -> int:
        """The time of the last row in the file that a reading belongs to; NO_MORE if not ours."""
        day = day_of(at)
        known = self._floor.get(asset)
        if known is None or known[0] != day:
            name = self.stream.assets.names[asset]
            try:
                newest = self.files.newest(name, day)
            except (CannotWrite, OSError) as error:
                newest = NO_MORE
                if (asset, day) not in self._foreign:
                    self._foreign.add((asset, day))
                    log.warning("readings of a day count as late", why=str(error))
            known = self._floor[asset] = day, newest
        return known[1]

    def _keep(self, asset: int, at: int, values: list[float]) -> list[int]:
        """Put a row to those that wait; the sensors of which it brings nothing new."""
        rows = self._waiting.setdefault(asset, {})
        row = rows.get(at)
        if row is None:
            rows[at] = values
            self._count += 1
            return []
        again: list[int] = []
        for sensor, value in enumerate(values):
            if value == row[sensor]:
                again.append(sensor)
            elif math.isnan(row[sensor]) or value > row[sensor]:
                row[sensor] = value
        return again

    def _release(self, period: int, ended: Ticks) -> None:
        newest: dict[int, int] = {}
        for asset, tick in zip(ended.asset.tolist(), ended.tick.tolist(), strict=True):
            newest[asset] = max(tick, newest.get(asset, NEVER))
        grid = Grid(period, 1)
        for asset, tick in newest.items():
            times: Ints = np.array(sorted(self._waiting.get(asset, ())), np.int64)
            self._write(asset, times[grid.tick(times) <= tick].tolist())

    def _write(self, asset: int, times: Sequence[int]) -> None:
        if not times:
            return
        rows = self._waiting[asset]
        self.files.append(self.stream.assets.names[asset], [(at, rows.pop(at)) for at in times])
        self._count -= len(times)
        if not rows:
            del self._waiting[asset]
        self._floor[asset] = day_of(times[-1]), times[-1]


def record(
    config: Config,
    streams: Sequence[Stream],
    folder: Path,
    duration: float | None,
    stop: threading.Event,
) -> list[Recorder]:
    """Record until told to stop, or until the time is up.

    Args:
        config: as read.
        streams: with their bundles loaded.
        folder: where to; one recorder at a time.
        duration: seconds, None = for ever.
        stop: ends it.

    Returns:
        The recorders, with their books.

    Raises:
        BrokerUnavailable: if there is no broker at the start.
        CannotWrite: if the folder is in use, or a file in it is not ours to go on with.
    """
    lock = _locked(folder)
    recorders = [
        Recorder(stream, DayFiles(folder / stream.name, stream.sensors.names)) for stream in streams
    ]
    settings = link_settings(config.mqtt, f"{config.mqtt.client_id}-record-{os.getpid()}")
    link = Link(
        replace(settings, packet_size=packet_size(streams)),
        filters=filters_of(streams),
        retained=retained_of(streams),
    )
    for recorder in recorders:
        recorder.files.check(day_of(link.clock.now()))
    link.start()
    own = f"{config.alerts.prefix}/{config.instance}/"

    def take(timeout: float) -> int:
        messages = link.receive(timeout, BATCH)
        now = messages[0].arrival if messages else link.clock.now()
        heard = [message for message in messages if not message.topic.startswith(own)]
        for recorder in recorders:
            recorder.take([m for m in heard if recorder.stream.reads(m.topic)], now)
        link.acknowledge(len(messages))
        return len(messages)

    try:
        link.require_ready(CONNECT_SECONDS, " that grants our subscriptions")
        told = time.monotonic()
        end = math.inf if duration is None else told + duration
        while not stop.is_set() and (left := end - time.monotonic()) > 0:
            take(min(WAIT, left))
            if link.taken_over:
                raise TakenOver("another client has connected with our client id")
            if link.failure:
                raise SensorMonitorError(f"the network thread ended: {link.failure!r}")
            if time.monotonic() - told > TELL_SECONDS:
                told = time.monotonic()
                for one in recorders:
                    log.info(
                        "recording",
                        stream=one.stream.name,
                        messages=one.stream.books.received,
                        assets=len(one.stream.assets.names),
                        rows=one.files.rows,
                    )
        deadline = time.monotonic() + DRAIN
        while take(0) and time.monotonic() < deadline:
            pass
    finally:
        link.stop(timeout=1.0)
        for recorder in recorders:
            recorder.finish()
        os.close(lock)
    return recorders


def _locked(folder: Path) -> int:
    """A lock on the folder that lasts as long as we do: two writers would mix their lines."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotWrite(f"{folder}: {error.strerror}; wanted a folder to record to") from None
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CannotWrite(
            f"{folder}: another record writes here; wanted a folder of its own"
        ) from None
    return lock
