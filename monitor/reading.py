"""Messages → readings: who sent it, when it was measured, and what became of the rest."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from models.frame import SECOND, Bools, Codes, Floats, Ints
from monitor.payloads.sample import Decoder, MalformedError, Sample
from monitor.topics import TopicPattern, is_name

# A stamp further ahead of its arrival than this is a wrong clock.
MAX_SKEW = 60 * SECOND
# What is remembered of topics: so many, and none longer than any topic in honest use.
LARGEST_CACHE, LONGEST_CACHED = 100_000, 512


@dataclass(frozen=True, slots=True)
class Message:
    """One MQTT message as it came from the broker; ``arrival`` is nanoseconds since the epoch."""

    topic: str
    payload: bytes
    arrival: int
    retained: bool


class MessageOutcome(IntEnum):
    """What became of a message; among several samples the least one counts."""

    ACCEPTED = 0
    MALFORMED = 1
    NO_ASSET = 2
    AMBIGUOUS_ASSET = 3
    ASSET_LIMIT = 4
    FUTURE = 5
    LATE = 6
    DUPLICATE = 7
    NO_SENSOR = 8
    TOO_LARGE = 9
    RETAINED = 10
    OVERLOAD = 11

    @property
    def label(self) -> str:
        """The name in metrics."""
        return self.name.lower().replace("_", "-")


REASONS = ("not-a-number", "not-finite", "out-of-range", "missing", "late", "duplicate", "future")


@dataclass(frozen=True, slots=True)
class Readings:
    """Rows of readings in order of arrival.

    Args:
        asset: index in the stream's asset table, shape (rows,).
        time: nanoseconds since the epoch, shape (rows,).
        values: NaN where there is no reading; never a whole row, shape (rows, sensors).
        message: index of the message each row came in, shape (rows,).
    """

    asset: Ints
    time: Ints
    values: Floats
    message: Ints


@dataclass(frozen=True, slots=True)
class SensorMap:
    """The stream's sensors: names, and how a value in a payload becomes a reading.

    Args:
        names, paths: one per sensor.
        scale, offset, low, high: reading = value * scale + offset, rejected outside [low, high],
            each of shape (sensors,).
    """

    names: tuple[str, ...]
    paths: tuple[str, ...]
    scale: Floats
    offset: Floats
    low: Floats
    high: Floats

    @classmethod
    def plain(cls, names: Sequence[str]) -> "SensorMap":
        """Sensors under their own names, as they are."""
        one, wide = np.ones(len(names)), np.full(len(names), np.inf)
        paths = tuple(f'"{name}"' for name in names)
        return cls(tuple(names), paths, one, 0 * one, -wide, wide)


class AssetTable:
    """The assets of a stream, in order of appearance; at most `limit`."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.names: list[str] = []
        self.labels: list[tuple[tuple[str, str], ...]] = []
        self._index: dict[str, int] = {}

    def find(self, name: str) -> int:
        """The index of an asset that is in the table."""
        return self._index[name]

    def refusal(self, name: str, labels: tuple[tuple[str, str], ...]) -> MessageOutcome | None:
        """Why the asset can have no index, if so."""
        index = self._index.get(name)
        if index is not None:
            return None if self.labels[index] == labels else MessageOutcome.AMBIGUOUS_ASSET
        return None if len(self.names) < self.limit else MessageOutcome.ASSET_LIMIT

    def index(self, name: str, labels: tuple[tuple[str, str], ...]) -> int:
        """The index of an asset that is not refused, a new one if it is not in the table."""
        index = self._index.setdefault(name, len(self.names))
        if index == len(self.names):
            self.labels.append(labels)  # first: who reads along goes by the names
            self.names.append(name)
        return index


@dataclass(slots=True)
class _Sender:
    """What is known of a topic.

    Args:
        asset, labels: as the topic names them.
        sensor: index of the sensor the topic names; None where it names none, -1 if unknown.
        index: of the asset, -1 until its first good reading.
    """

    asset: str
    labels: tuple[tuple[str, str], ...]
    sensor: int | None
    index: int = -1


class Reader:
    """Reads the messages of one stream.

    Args:
        pattern: of the stream's topics.
        decode: the compiled payload format.
        sensors: of the stream.
        assets: the stream's table.
        largest: bytes of the largest payload that is decoded.
        accept_retained: whether retained messages are readings.
        timed: whether payloads carry the event time.
    """

    def __init__(
        self,
        pattern: TopicPattern,
        decode: Decoder,
        sensors: SensorMap,
        assets: AssetTable,
        *,
        largest: int,
        accept_retained: bool,
        timed: bool,
    ) -> None:
        self.assets = assets
        self.sensors = sensors
        self._pattern = pattern
        self._decode = decode
        self._largest = largest
        self._accept_retained = accept_retained
        self._timed = timed
        self._senders: dict[str, _Sender | None] = {}
        self._sensor_index = {path: i for i, path in enumerate(sensors.paths)}

    def read(
        self,
        messages: Sequence[Message],
        reject: Callable[[int, str, int], None],
        explain: Callable[[str], None] | None = None,
    ) -> tuple[Readings, Codes]:
        """Decode messages whose topics match the stream's.

        Args:
            messages: in order of arrival.
            reject: called with sensor index, reason and count for fields that are no readings.
            explain: called with the words for a refused message.

        Returns:
            The readings, and a MessageOutcome per message; ACCEPTED is yet to be confirmed by
            what becomes of its rows.
        """
        outcome = np.full(len(messages), MessageOutcome.NO_SENSOR, np.uint8)
        senders: list[_Sender] = []
        times: list[int] = []
        rows: list[list[float]] = []
        origins: list[int] = []
        for index, message in enumerate(messages):
            if message.retained and not self._accept_retained:
                outcome[index] = MessageOutcome.RETAINED
                continue
            if len(message.payload) > self._largest:
                outcome[index] = MessageOutcome.TOO_LARGE
                continue
            try:
                samples = self._decode(message.payload)
            except Exception as error:
                # Whatever a payload does to a format, the message is counted and the next one read.
                outcome[index] = MessageOutcome.MALFORMED
                if explain:
                    known = isinstance(error, MalformedError)
                    why = error if known else f"could not be read ({type(error).__name__})"
                    explain(f"the payload {why}")
                continue
            sender = self._sender(message.topic)
            if sender is None:
                outcome[index] = MessageOutcome.NO_ASSET
                continue
            for sample in samples:
                senders.append(sender)
                times.append(message.arrival if sample.time is None else sample.time)
                rows.append(self._row(sender, sample, reject))
                origins.append(index)
        time, origin = np.array(times, np.int64), np.array(origins, np.int64)
        values = np.array(rows, np.float64).reshape(len(rows), len(self.sensors.names))
        future = np.zeros(len(rows), bool)
        if self._timed:
            arrival = np.array([message.arrival for message in messages], np.int64)
            future = time > arrival[origin] + MAX_SKEW
        values = self._good(values, future, reject)
        empty = np.isnan(values).all(axis=1)
        became = np.select(
            [future, empty],
            [np.uint8(MessageOutcome.FUTURE), np.uint8(MessageOutcome.NO_SENSOR)],
            np.uint8(MessageOutcome.ACCEPTED),
        )
        asset = np.array([sender.index for sender in senders], np.int64)
        for row in np.flatnonzero(asset < 0).tolist():
            sender = senders[row]
            refusal = self.assets.refusal(sender.asset, sender.labels)
            if refusal is not None:
                became[row] = refusal
            elif became[row] == MessageOutcome.ACCEPTED:
                # Only a good reading makes an asset.
                asset[row] = sender.index = self.assets.index(sender.asset, sender.labels)
        np.minimum.at(outcome, origin, became)
        kept = became == MessageOutcome.ACCEPTED
        return Readings(asset[kept], time[kept], values[kept], origin[kept]), outcome

    def _row(
        self, sender: _Sender, sample: Sample, reject: Callable[[int, str, int], None]
    ) -> list[float]:
        """The values of a sample at their sensors' places."""
        if sender.sensor is None:
            for sensor, reason in sample.rejected:
                reject(sensor, reason, 1)
            return sample.values
        values = [math.nan] * len(self.sensors.names)
        if sender.sensor >= 0:
            for _, reason in sample.rejected:
                reject(sender.sensor, reason, 1)
            values[sender.sensor] = sample.values[0]
        return values

    def _good(
        self, values: Floats, future: Bools, reject: Callable[[int, str, int], None]
    ) -> Floats:
        """The values as readings, NaN where they are none."""
        with np.errstate(over="ignore"):
            values = values * self.sensors.scale + self.sensors.offset
        ahead = ~np.isnan(values) & future[:, None]
        infinite = np.isinf(values) & ~ahead
        outside = (values < self.sensors.low) | (values > self.sensors.high)
        outside &= ~ahead & ~infinite
        for refused, reason in (
            (ahead, "future"),
            (infinite, "not-finite"),
            (outside, "out-of-range"),
        ):
            for sensor in np.flatnonzero(refused.any(axis=0)):
                reject(int(sensor), reason, int(refused[:, sensor].sum()))
            values[refused] = math.nan
        return values

    def _sender(self, topic: str) -> _Sender | None:
        """Who sends on a topic; None where it names no asset."""
        if topic in self._senders:
            return self._senders[topic]
        match = self._pattern.match(topic)
        sender = None
        if (
            match is not None
            and match.asset is not None
            and all(is_name(text) for text in (match.asset, *dict(match.labels).values()))
        ):
            sensor = None if match.sensor is None else self._sensor_index.get(match.sensor, -1)
            sender = _Sender(match.asset, match.labels, sensor)
        if len(topic) <= LONGEST_CACHED:
            if len(self._senders) >= LARGEST_CACHE:
                self._senders.clear()
            self._senders[topic] = sender
        return sender
