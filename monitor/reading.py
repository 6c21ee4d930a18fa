"""Messages → readings: who sent it, when it was measured, and what became of the rest."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from models.frame import SECOND, Codes, Floats, Ints
from monitor.payloads.sample import Decoder, MalformedError
from monitor.topics import TopicPattern, is_name

# A stamp further ahead of its arrival than this is a wrong clock.
MAX_SKEW = 60 * SECOND
LARGEST_CACHE = 100_000


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

    def index(self, name: str, labels: tuple[tuple[str, str], ...]) -> int | MessageOutcome:
        """The asset's index, a new one if there is room; else why not."""
        index = self._index.get(name)
        if index is not None:
            return index if self.labels[index] == labels else MessageOutcome.AMBIGUOUS_ASSET
        if len(self.names) >= self.limit:
            return MessageOutcome.ASSET_LIMIT
        self._index[name] = len(self.names)
        self.names.append(name)
        self.labels.append(labels)
        return len(self.names) - 1


@dataclass(slots=True)
class _Sender:
    """What is known of a topic; the index is asked for once its first reading is good."""

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
        self._senders: dict[str, _Sender | MessageOutcome] = {}
        self._sensor_index = {name: i for i, name in enumerate(sensors.names)}

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
        outcome = np.zeros(len(messages), np.uint8)
        assets: list[int] = []
        times: list[int] = []
        rows: list[list[float]] = []
        origins: list[int] = []
        for index, message in enumerate(messages):
            try:
                found = self._rows(message, reject)
            except MalformedError as error:
                outcome[index] = MessageOutcome.MALFORMED
                if explain:
                    explain(f"the payload {error}")
                continue
            except Exception as error:
                # Whatever a payload does to a format, the message is counted and the next one read.
                outcome[index] = MessageOutcome.MALFORMED
                if explain:
                    explain(f"the payload could not be read ({type(error).__name__})")
                continue
            if isinstance(found, MessageOutcome):
                outcome[index] = found
                continue
            for asset, time, values in found:
                assets.append(asset)
                times.append(time)
                rows.append(values)
                origins.append(index)
        values = np.array(rows, np.float64).reshape(len(rows), len(self.sensors.names))
        with np.errstate(over="ignore"):
            values = values * self.sensors.scale + self.sensors.offset
        infinite = np.isinf(values)
        outside = ~infinite & ((values < self.sensors.low) | (values > self.sensors.high))
        for refused, reason in ((infinite, "not-finite"), (outside, "out-of-range")):
            for sensor in np.flatnonzero(refused.any(axis=0)):
                reject(int(sensor), reason, int(refused[:, sensor].sum()))
            values[refused] = np.nan
        readings = Readings(
            np.array(assets, np.int64),
            np.array(times, np.int64),
            values,
            np.array(origins, np.int64),
        )
        empty = np.isnan(values).all(axis=1)
        if empty.any():
            outcome[readings.message[empty]] = MessageOutcome.NO_SENSOR
            kept = ~empty
            readings = Readings(
                readings.asset[kept], readings.time[kept], values[kept], readings.message[kept]
            )
            outcome[readings.message] = MessageOutcome.ACCEPTED
        return readings, outcome

    def _rows(
        self, message: Message, reject: Callable[[int, str, int], None]
    ) -> list[tuple[int, int, list[float]]] | MessageOutcome:
        if message.retained and not self._accept_retained:
            return MessageOutcome.RETAINED
        if len(message.payload) > self._largest:
            return MessageOutcome.TOO_LARGE
        sender = self._senders.get(message.topic)
        if sender is None:
            sender = self._sender(message.topic)
        if isinstance(sender, MessageOutcome):
            return sender
        found: list[tuple[int, int, list[float]]] = []
        outcome = MessageOutcome.NO_SENSOR
        for sample in self._decode(message.payload):
            for sensor, reason in sample.rejected:
                reject(sensor if sender.sensor is None else sender.sensor, reason, 1)
            values = sample.values
            if sender.sensor is not None:
                values = [math.nan] * len(self.sensors.names)
                values[sender.sensor] = sample.values[0]
            time = message.arrival if sample.time is None else sample.time
            if self._timed and time > message.arrival + MAX_SKEW:
                for sensor, value in enumerate(values):
                    if not math.isnan(value):
                        reject(sensor, "future", 1)
                outcome = MessageOutcome.FUTURE
                continue
            if all(map(math.isnan, values)):
                continue
            if sender.index < 0:
                index = self.assets.index(sender.asset, sender.labels)
                if isinstance(index, MessageOutcome):
                    return index
                sender.index = index
            found.append((sender.index, time, values))
        return found or outcome

    def _sender(self, topic: str) -> _Sender | MessageOutcome:
        match = self._pattern.match(topic)
        sensor = None
        known: _Sender | MessageOutcome
        if (
            match is None
            or match.asset is None
            or not all(is_name(text) for text in (match.asset, *dict(match.labels).values()))
        ):
            known = MessageOutcome.NO_ASSET
        elif match.sensor is not None and match.sensor not in self._sensor_index:
            known = MessageOutcome.NO_SENSOR
        else:
            if match.sensor is not None:
                sensor = self._sensor_index[match.sensor]
            known = _Sender(match.asset, match.labels, sensor)
        if len(self._senders) >= LARGEST_CACHE:
            self._senders.clear()
        self._senders[topic] = known
        return known
