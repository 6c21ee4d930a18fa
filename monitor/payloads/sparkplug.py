"""Sparkplug B 3.0: births name metrics and their aliases, data follows by alias, deaths end it.

A metric's name is its sensor's path. What a birth told is kept per edge node, the newest births
only, so that no stream of births takes all memory. Births are not retained: what a node without
one, as after a restart of ours, sends under a name is read, and an alias alone is malformed.
Sequence numbers count what was lost on the way.
"""

from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from monitor.payloads.document import Rejected, joined, take
from monitor.payloads.sample import (
    MOST_SAMPLES,
    Decoder,
    Field,
    Layout,
    MalformedError,
    Sample,
)
from monitor.payloads.stamp import clock

MOST_METRICS: Final = 1_000_000  # names and aliases kept of all births of a source
_KINDS: Final = ("BIRTH", "DATA", "DEATH")
_COMMAND, _STATE, _BIRTH_NUMBER = "CMD", "STATE", "bdSeq"
_SEQUENCE: Final = 256
_REORDERED: Final = 16  # so few steps back are a late message, not a round of lost ones
# Types of the specification (table 8) whose values travel in unsigned fields, with their bits.
_SIGNED: Final = {1: 8, 2: 16, 3: 32, 4: 64}
_TOP_BIT: Final = {"int_value": 31, "long_value": 63}
# Of the protocol, not of a machine.
_OWN: Final = (_BIRTH_NUMBER, "Node Control/", "Device Control/")
_VALUES: Final = ("int_value", "long_value", "float_value", "double_value", "boolean_value")

Metric = Any  # the class is made at run time


@dataclass(slots=True)
class _Known:
    """What a birth said: (name, type) by alias, and the type by name."""

    by_alias: dict[int, tuple[str, int]] = field(default_factory=dict[int, tuple[str, int]])
    by_name: dict[str, int] = field(default_factory=dict[str, int])

    def __len__(self) -> int:
        return len(self.by_alias) + len(self.by_name)


@dataclass(slots=True)
class _Node:
    """An edge node since its birth: its devices' metrics, its own under the empty name."""

    devices: dict[str, _Known] = field(default_factory=dict[str, _Known])
    sequence: int | None = None
    missed: int = 0
    birth: object = None  # the number of its birth, which its death repeats

    def __len__(self) -> int:
        return 1 + sum(1 + len(known) for known in self.devices.values())


def decoder(layout: Layout) -> Decoder:
    """Compile a decoder; it keeps what births say, so one is made for each source.

    Raises:
        ModuleNotFoundError: without the extra `sparkplug`.
    """
    _payload_class()
    return _Decoder(layout).decode


class _Decoder:
    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._fields: dict[str, Field] = {one.path: one for one in layout.fields}
        self._clock = clock("ms")
        self._nodes: dict[tuple[str, str], _Node] = {}
        self._size = 0

    def decode(self, payload: bytes, topic: str) -> list[Sample]:
        address = _address(topic)
        if address is None:
            return [self._blank()]
        kind, owner, node_name, device = address
        message = _parsed(payload)
        if len(message.metrics) > MOST_SAMPLES:
            raise MalformedError(f"holds more than {MOST_SAMPLES} metrics")
        key = owner, node_name
        node = self._nodes.get(key)
        if kind == "DEATH":
            self._bury(key, node, device, message)
            return [self._blank(_missed(node if device else None, message))]
        if kind == "BIRTH":
            node = self._born(key, node, device, message)
        lost = _missed(node, message)
        known = _Known() if node is None else node.devices.get(device, _Known())
        try:
            samples = self._samples(message, known)
        except MalformedError:
            if node is not None:
                node.missed = lost  # for the next good one to tell
            raise
        return self._counted(joined(samples), lost)

    def _samples(self, message: Any, known: _Known) -> list[Sample]:
        samples: list[Sample] = []
        strange: int | None = None
        for metric in message.metrics:
            named = _named(metric, known)
            if named is None:
                strange = metric.alias
            elif (one := self._fields.get(named[0])) is not None:
                samples.append(self._sample(metric, one, named[1], message))
        if strange is not None and not samples:
            raise MalformedError(f"has the alias {strange}, which no birth has named")
        return samples

    def _blank(self, lost: int = 0) -> Sample:
        return Sample([float("nan")] * self._layout.width, lost=lost)

    def _counted(self, samples: list[Sample], lost: int) -> list[Sample]:
        if lost or not samples:
            samples.append(self._blank(lost))
        return samples

    def _sample(self, metric: Metric, one: Field, datatype: int, message: Any) -> Sample:
        stamp = metric.timestamp if metric.HasField("timestamp") else message.timestamp
        time: int | None = None
        if stamp and not self._layout.arrival:
            try:
                time = self._clock(stamp)
            except ValueError as error:
                raise MalformedError(f"has no time; {error}") from None
        values = [float("nan")] * self._layout.width
        rejected: Rejected = take(_value(metric, datatype), one, values)
        return Sample(values, time, rejected)

    def _born(self, key: tuple[str, str], node: _Node | None, device: str, message: Any) -> _Node:
        """Take a birth's metrics as all that its node, or device, has."""
        self._size -= len(self._nodes.pop(key, ()))
        if not device:
            node = _Node(birth=_birth_number(message))
        elif node is None:
            node = _Node()
        known = node.devices[device] = _Known()
        for metric in message.metrics:
            if metric.HasField("name"):
                known.by_name[metric.name] = metric.datatype
                if metric.HasField("alias"):
                    known.by_alias[metric.alias] = metric.name, metric.datatype
        self._nodes[key] = node  # last, as the newest
        self._size += len(node)
        while self._size > MOST_METRICS:
            self._size -= len(self._nodes.pop(next(iter(self._nodes))))
        return node

    def _bury(self, key: tuple[str, str], node: _Node | None, device: str, message: Any) -> None:
        if node is None:
            return
        if not device and node.birth is not None:
            # A broker may tell of a lost connection when the node is back on a new one.
            number = _birth_number(message)
            if number is not None and number != node.birth:
                return
        self._size -= len(node)
        if device:
            node.devices.pop(device, None)
            self._size += len(node)
        else:
            del self._nodes[key]


def _missed(node: _Node | None, message: Any) -> int:
    """How many messages of the node are missing before this one, and have not been told of."""
    if node is None:
        return 0
    missed, node.missed = node.missed, 0
    if not message.HasField("seq"):
        return missed
    sequence, last = message.seq % _SEQUENCE, node.sequence
    step = 1 if last is None else (sequence - last) % _SEQUENCE
    if step == 0 or step >= _SEQUENCE - _REORDERED:
        return missed
    node.sequence = sequence
    return missed + step - 1


def numeric_metrics(payload: bytes) -> list[str]:
    """Names of the metrics in a payload whose values are numbers, but for the protocol's own.

    Raises:
        ModuleNotFoundError: without the extra `sparkplug`.
        MalformedError: if the payload is none of Sparkplug B.
    """
    metrics: list[Metric] = list(_parsed(payload).metrics)
    found = {one.name: _value(one, one.datatype) for one in metrics[:MOST_SAMPLES]}
    return [
        name
        for name, value in found.items()
        if isinstance(value, int | float)
        and not isinstance(value, bool)
        and name
        and not name.startswith(_OWN)
    ]


def _address(topic: str) -> tuple[str, str, str, str] | None:
    """Kind of message, group, node and device of a topic; the device is empty for the node.

    None for commands and for states of host applications, which hold no data.
    """
    parts = topic.split("/")
    if len(parts) in (4, 5) and parts[0] == "spBv1.0":
        level, kind = parts[2][:1], parts[2][1:]
        if level == ("N" if len(parts) == 4 else "D"):
            if kind in _KINDS:
                return kind, parts[1], parts[3], parts[4] if len(parts) == 5 else ""
            if kind == _COMMAND:
                return None
    elif len(parts) == 3 and parts[:2] == ["spBv1.0", _STATE]:
        return None
    raise MalformedError(
        "came on no topic of Sparkplug B data; wanted spBv1.0/group/NDATA/node or the like"
    )


def _named(metric: Metric, known: _Known) -> tuple[str, int] | None:
    """Name and type of a metric; None for an alias that no birth has named."""
    if metric.HasField("name") and metric.name:
        return metric.name, metric.datatype or known.by_name.get(metric.name, 0)
    found = known.by_alias.get(metric.alias)
    if found is None:
        return None
    return found[0], metric.datatype or found[1]


def _birth_number(message: Any) -> object:
    """What ties a node's death to its birth; None where the message does not say."""
    found = [one for one in message.metrics if one.name == _BIRTH_NUMBER]
    return _value(found[0], found[0].datatype) if found else None


def _value(metric: Metric, datatype: int) -> object:
    if metric.is_null:
        return None
    which = metric.WhichOneof("value")
    if which == "string_value":
        return metric.string_value
    if which not in _VALUES:
        return None if which is None else b""  # bytes, data sets and templates are no numbers
    value = getattr(metric, which)
    bits = _SIGNED.get(datatype)
    if bits is not None and isinstance(value, int) and not isinstance(value, bool):
        value &= (1 << bits) - 1
        return value - (1 << bits) if value >> (bits - 1) else value
    if not datatype and which in _TOP_BIT and value >> _TOP_BIT[which]:
        return b""  # below zero or very large: only its birth knows
    return value


def _parsed(payload: bytes) -> Any:
    parse = _payload_class().FromString
    try:
        return parse(payload)
    except Exception as error:
        # protobuf has an error class per implementation
        raise MalformedError(f"is no Sparkplug B ({type(error).__name__})") from None


@cache
def _payload_class() -> Any:
    """The message Payload, from the field numbers that the specification publishes."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    of = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="sensor_monitor/sparkplug_b.proto", package="sensor_monitor.sparkplug", syntax="proto2"
    )
    metric = file.message_type.add(name="Metric")
    metric.oneof_decl.add(name="value")
    for number, name, kind in (
        (1, "name", of.TYPE_STRING),
        (2, "alias", of.TYPE_UINT64),
        (3, "timestamp", of.TYPE_UINT64),
        (4, "datatype", of.TYPE_UINT32),
        (5, "is_historical", of.TYPE_BOOL),
        (7, "is_null", of.TYPE_BOOL),
        (10, "int_value", of.TYPE_UINT32),
        (11, "long_value", of.TYPE_UINT64),
        (12, "float_value", of.TYPE_FLOAT),
        (13, "double_value", of.TYPE_DOUBLE),
        (14, "boolean_value", of.TYPE_BOOL),
        (15, "string_value", of.TYPE_STRING),
        (16, "bytes_value", of.TYPE_BYTES),
    ):
        one = metric.field.add(name=name, number=number, type=kind, label=of.LABEL_OPTIONAL)
        if number >= 10:
            one.oneof_index = 0
    payload = file.message_type.add(name="Payload")
    payload.field.add(name="timestamp", number=1, type=of.TYPE_UINT64, label=of.LABEL_OPTIONAL)
    payload.field.add(
        name="metrics",
        number=2,
        type=of.TYPE_MESSAGE,
        type_name=".sensor_monitor.sparkplug.Metric",
        label=of.LABEL_REPEATED,
    )
    payload.field.add(name="seq", number=3, type=of.TYPE_UINT64, label=of.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(
        pool.FindMessageTypeByName("sensor_monitor.sparkplug.Payload")
    )
