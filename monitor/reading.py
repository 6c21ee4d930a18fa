"""Messages → readings: who sent it, when it was measured, and what became of the rest."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from models.frame import SECOND, Bools, Codes, Floats, Ints
from models.recording import EARLIEST, LATEST
from monitor.keys import Keys
from monitor.payloads.packed import PACKED, unpacked
from monitor.payloads.path import Place
from monitor.payloads.sample import Decoder, MalformedError, TooLargeError
from monitor.topics import AssetName, TopicPattern, is_name

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


# Called with sensor index, reason and count of values that are no readings.
Reject = Callable[[int, str, int], None]
REASONS = ("not-a-number", "not-finite", "out-of-range", "missing", "late", "duplicate", "future")


@dataclass(frozen=True, slots=True)
class Readings:
    """Rows of readings in order of arrival.

    Args:
        asset: index in the stream's asset table, shape (rows,).
        time: nanoseconds since the epoch, shape (rows,).
        values: NaN where there is no reading; never a whole row, shape (rows, sensors).
        message: index of the message each row came in, shape (rows,).
        strays: of the same messages, the values of known assets that are out of range.
        arrival: of each row, nanoseconds since the epoch; None = when the step takes them, shape
            (rows,).
    """

    asset: Ints
    time: Ints
    values: Floats
    message: Ints
    strays: "Readings | None" = None
    arrival: Ints | None = None


@dataclass(frozen=True, slots=True)
class SensorMap:
    """The stream's sensors in a source: how a value in a payload becomes a reading.

    Args:
        names, paths: one per sensor of the stream; the path of one the source lacks is empty.
        scale, offset, low, high: reading = value * scale + offset, rejected outside [low, high],
            each of shape (sensors,).
        counter: whether the value only grows, and its rate per second counts, shape (sensors,).
    """

    names: tuple[str, ...]
    paths: tuple[str, ...]
    scale: Floats
    offset: Floats
    low: Floats
    high: Floats
    counter: Bools


@dataclass(frozen=True, slots=True)
class Source:
    """The topics of one kind, and how their payloads are read.

    Args:
        pattern: of the topics.
        asset: how the asset's name is made.
        sensors: of the stream, as this source has them.
        decode: the compiled payload format.
        of_sensor: the same, for the sensors that the topic names, by the topic's word for them.
        labels: names of the labels in the stream's order.
        read: places in a payload that something is read from; None = it has no keys.
    """

    pattern: TopicPattern
    asset: AssetName
    sensors: SensorMap
    decode: Decoder
    of_sensor: Mapping[str, Decoder]
    labels: tuple[str, ...]
    read: frozenset[Place] | None = None


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


class Rates:
    """Counters → rates per second: how much a counter grew since its newest earlier reading.

    Readings are taken in order of arrival, so it does not matter how they come in batches. One that
    arrives behind a newer one of its counter is late, whatever the stream's lateness, and the rate
    then holds for the whole time between its neighbours. A first reading, and the first after a
    counter has fallen, as after a restart, have no rate and are missing.

    Args:
        counter: whether a sensor is a counter, shape (sources, sensors).
    """

    def __init__(self, counter: Bools) -> None:
        self.counter = counter
        self._last: dict[tuple[int, int], tuple[int, float]] = {}  # by asset and sensor

    def take(self, of: tuple[int, int], time: int, value: float) -> float | str:
        """The rate at a time, in 1/s, or the reason why there is none.

        Args:
            of: index of the asset and of the sensor.
            time: nanoseconds since the epoch.
            value: of the counter.
        """
        before = self._last.get(of)
        if before is not None and time <= before[0]:
            return "duplicate" if (time, value) == before else "late"
        self._last[of] = time, value
        if before is None or value < before[1]:
            return "missing"
        return (value - before[1]) / ((time - before[0]) / SECOND)


@dataclass(slots=True)
class _Sender:
    """What is known of a topic, or of an asset that its payloads name.

    Args:
        source: index of the source that reads it.
        decode: its payloads' format.
        words: what the topic says at its placeholders.
        asset: the asset's name; empty where there is none, or where each payload says it.
        labels: as the topic names them.
        index: of the asset, -1 until its first good reading.
    """

    source: int
    decode: Decoder
    words: Mapping[str, str]
    asset: str
    labels: tuple[tuple[str, str], ...]
    index: int = -1


class Reader:
    """Reads the messages of one stream.

    Args:
        sources: of the stream; of several that match a topic the first reads it.
        assets: the stream's table.
        keys: told of every payload that may have such as nobody reads.
        largest: bytes of the largest payload that is decoded, packed or not.
        accept_retained: whether retained messages are readings.

    Attributes:
        lost: messages that sequence numbers have shown to be missing.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        assets: AssetTable,
        keys: Keys,
        *,
        largest: int,
        accept_retained: bool,
    ) -> None:
        self.assets = assets
        self.lost = 0
        self._sources = tuple(sources)
        self._largest = largest
        self._accept_retained = accept_retained
        self._senders: dict[str | tuple[str, ...], _Sender] = {}
        maps = [source.sensors for source in sources]
        self._width = len(maps[0].names)
        self._keys = keys
        self._has_keys = np.array([source.read is not None for source in sources])
        self._scale, self._offset, self._low, self._high = (
            np.stack([getattr(one, name) for one in maps])
            for name in ("scale", "offset", "low", "high")
        )
        counter = np.stack([one.counter for one in maps])
        self._rates = Rates(counter) if counter.any() else None

    def read(
        self,
        messages: Sequence[Message],
        reject: Reject,
        explain: Callable[[str], None] | None = None,
    ) -> tuple[Readings, Codes]:
        """Decode messages whose topics match the stream's.

        Args:
            messages: in order of arrival.
            reject: called with sensor index, reason and count for fields that are no readings.
            explain: called with the words for a refused message, and for a count without a rate.

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
            payload = message.payload
            if len(payload) > self._largest:
                outcome[index] = MessageOutcome.TOO_LARGE
                continue
            sender = self._senders.get(message.topic) or self._sender(message.topic)
            try:
                if payload.startswith(PACKED):
                    payload = unpacked(payload, self._largest)
                samples = sender.decode(payload, message.topic)
            except Exception as error:
                # Whatever a payload does to a format, the message is counted and the next one read.
                outcome[index] = _refusal(error)
                if explain:
                    known = isinstance(error, MalformedError)
                    why = error if known else f"could not be read ({type(error).__name__})"
                    explain(f"the payload {why}")
                continue
            several = len(samples) > 1
            for sample in samples:
                of = sender if not sample.asset else self._of_payload(message.topic, sample.asset)
                if sample.lost:
                    self.lost += sample.lost
                if not of.asset:
                    outcome[index] = min(outcome[index], MessageOutcome.NO_ASSET)
                    continue
                when = message.arrival - sample.ago if sample.time is None else sample.time
                if not EARLIEST <= when < LATEST:
                    outcome[index] = min(outcome[index], MessageOutcome.MALFORMED)
                    if explain:
                        explain("the payload has a time before 1970 or after 2099")
                    continue
                if sample.rejected:
                    for sensor, reason in sample.rejected:
                        reject(sensor, reason, 1)
                if several and all(map(math.isnan, sample.values)):
                    continue  # a small payload can hold very many of them
                senders.append(of)
                times.append(when)
                rows.append(sample.values)
                origins.append(index)
        time, origin = np.array(times, np.int64), np.array(origins, np.int64)
        values = np.array(rows, np.float64).reshape(len(rows), self._width)
        arrival = np.array([message.arrival for message in messages], np.int64)
        future = time > arrival[origin] + MAX_SKEW
        source = np.array([sender.source for sender in senders], np.int64)
        became = np.full(len(rows), MessageOutcome.NO_SENSOR, np.uint8)
        if self._rates is not None:
            self._rate(self._rates, senders, time, values, source, future, became, reject, explain)
        values, strays = self._good(values, source, future, reject)
        became[~np.isnan(values).all(axis=1)] = MessageOutcome.ACCEPTED
        became[future] = MessageOutcome.FUTURE
        asset = np.array([sender.index for sender in senders], np.int64)
        for row in np.flatnonzero(asset < 0).tolist():
            sender = senders[row]
            refusal = self.assets.refusal(sender.asset, sender.labels)
            if refusal is not None:
                became[row] = refusal
            elif became[row] == MessageOutcome.ACCEPTED or not np.isnan(strays[row]).all():
                # A reading makes an asset, one out of its range too.
                asset[row] = sender.index = self.assets.index(sender.asset, sender.labels)
        np.minimum.at(outcome, origin, became)
        kept = became == MessageOutcome.ACCEPTED
        # Of those without a reading too: a sensor may be there under another name.
        there = (asset >= 0) & (kept | (became == MessageOutcome.NO_SENSOR))
        noted = np.flatnonzero(there & self._has_keys[source])
        sent = [messages[origins[i]].payload for i in noted.tolist()]
        self._keys.note(sent, asset[noted], values[noted])
        astray = (asset >= 0) & ~np.isnan(strays).all(axis=1)

        def of_rows(which: Bools, of: Floats, out: Readings | None = None) -> Readings:
            whose, came = asset[which], arrival[origin[which]]
            return Readings(whose, time[which], of[which], origin[which], out, came)

        return of_rows(kept, values, of_rows(astray, strays)), outcome

    def _rate(
        self,
        rates: Rates,
        senders: Sequence[_Sender],
        time: Ints,
        values: Floats,
        source: Ints,
        future: Bools,
        became: Codes,
        reject: Reject,
        explain: Callable[[str], None] | None,
    ) -> None:
        """Put rates in the place of counters; a good count makes an asset, though not a reading."""
        counts = rates.counter[source] & ~np.isnan(values) & ~future[:, None]
        for row, sensor in np.argwhere(counts).tolist():
            sender, value = senders[row], float(values[row, sensor])
            values[row, sensor] = math.nan
            if self.assets.refusal(sender.asset, sender.labels) is not None:
                continue
            sender.index = self.assets.index(sender.asset, sender.labels)
            found = rates.take((sender.index, sensor), int(time[row]), value)
            if isinstance(found, str):
                if explain and found == "missing":
                    name = self._sources[0].sensors.names[sensor]
                    explain(f"{name}: the first of a counter, or the first lower one, has no rate")
                else:
                    reject(sensor, found, 1)
                became[row] = min(became[row], _OUTCOMES[found])
            else:
                values[row, sensor] = found

    def _good(
        self, values: Floats, source: Ints, future: Bools, reject: Reject
    ) -> tuple[Floats, Floats]:
        """The values as readings, NaN where they are none, and those that are out of range."""
        of = source if len(self._sources) > 1 else 0
        with np.errstate(over="ignore"):
            values = values * self._scale[of] + self._offset[of]
        ahead = ~np.isnan(values) & future[:, None]
        infinite = np.isinf(values) & ~ahead
        outside = (values < self._low[of]) | (values > self._high[of])
        outside &= ~ahead & ~infinite
        strays = np.where(outside, values, math.nan)
        for refused, reason in (
            (ahead, "future"),
            (infinite, "not-finite"),
            (outside, "out-of-range"),
        ):
            for sensor in np.flatnonzero(refused.any(axis=0)):
                reject(int(sensor), reason, int(refused[:, sensor].sum()))
            values[refused] = math.nan
        return values, strays

    def _sender(self, topic: str) -> _Sender:
        """Who sends on a topic."""
        for number, source in enumerate(self._sources):
            match = source.pattern.match(topic)
            if match is not None:
                return self._remembered(topic, _topics_sender(number, source, match.words))
        return self._remembered(topic, _Sender(0, self._sources[0].decode, {}, "", ()))

    def _of_payload(self, topic: str, said: tuple[str, ...]) -> _Sender:
        """Who sends on a topic, the payload saying who."""
        known = self._senders.get((topic, *said))
        if known is not None:
            return known
        via = self._sender(topic)
        source = self._sources[via.source]
        asset = source.asset.build(via.words, said)
        sender = _named(via.source, source, via.decode, via.words, asset)
        return self._remembered((topic, *said), sender)

    def _remembered(self, key: str | tuple[str, ...], sender: _Sender) -> _Sender:
        if sum(map(len, key)) <= LONGEST_CACHED:
            if len(self._senders) >= LARGEST_CACHE:
                self._senders.clear()
            self._senders[key] = sender
        return sender


def _topics_sender(number: int, source: Source, words: Mapping[str, str]) -> _Sender:
    decode = source.of_sensor.get(words.get("sensor", ""), source.decode)
    asset = "" if source.asset.paths else source.asset.build(words, ())
    return _named(number, source, decode, words, asset)


def _named(
    number: int, source: Source, decode: Decoder, words: Mapping[str, str], asset: str
) -> _Sender:
    labels = tuple((name, words[name]) for name in source.labels if name in words)
    good = all(is_name(text) for text in (asset, *dict(labels).values()))
    return _Sender(number, decode, words, asset if good else "", labels)


def _refusal(error: Exception) -> MessageOutcome:
    too_large = isinstance(error, TooLargeError)
    return MessageOutcome.TOO_LARGE if too_large else MessageOutcome.MALFORMED


_OUTCOMES = {
    "missing": MessageOutcome.NO_SENSOR,
    "late": MessageOutcome.LATE,
    "duplicate": MessageOutcome.DUPLICATE,
}
