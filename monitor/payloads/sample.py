"""What a payload format is told, and what it gives: samples, and why a field is no reading."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

# More samples than any device sends at once; a small payload can hold very many empty ones.
MOST_SAMPLES: Final = 10_000


class MalformedError(ValueError):
    """A payload that cannot be read at all; the message says why, without the payload."""


class TooLargeError(MalformedError):
    """A payload that would become larger than the stream takes."""


@dataclass(frozen=True, slots=True)
class Field:
    """A sensor in a payload.

    Args:
        column: the sensor's index in the stream.
        path: where its value stands; where items name their sensors, the name itself.
        text: whether a text such as ``"21.5"`` counts as its number.
        values: numbers of the texts that mean one; ``true`` and ``false`` are of booleans.
    """

    column: int
    path: str
    text: bool = False
    values: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, slots=True)
class Layout:
    """How a stream's payloads are laid out.

    Args:
        width: number of the stream's sensors.
        fields: those that the payload holds.
        time: path of the event time; None = when the message arrived.
        clock: a time in the payload to nanoseconds since the epoch; raises ValueError.
        asset: paths of what the payload says of the asset's name.
        samples: path of a list whose items are samples, ``[]`` where the payload is the list.
        sensor, value: paths of a sensor's name and of its value, where each item is of one sensor.
        columns, delimiter: of CSV; without names, cells are [0], [1] and so on.
        lenient: whether JSON may hold NaN and Infinity, and begin with a byte order mark.
        arrival: whether a time that the format itself carries is left aside.
    """

    width: int
    fields: tuple[Field, ...]
    time: str | None = None
    clock: Callable[[object], int] | None = None
    asset: tuple[str, ...] = ()
    samples: str | None = None
    sensor: str | None = None
    value: str | None = None
    columns: tuple[str, ...] = ()
    delimiter: str = ","
    lenient: bool = False
    arrival: bool = False


class Sample(msgspec.Struct, frozen=True, gc=False):
    """Values of one time in a message; a Struct, for one is made of every message.

    Args:
        values: one per sensor of the stream, NaN where there is none.
        time: nanoseconds since the epoch; None = when the message arrived.
        rejected: (sensor, reason) of fields that are there but are no readings.
        asset: what the payload says of the asset's name, one text per path, empty where it lacks.
        ago: nanoseconds from the arrival back to the sample, where `time` is None.
        lost: messages that a sequence number shows to have been lost before this one.
    """

    values: list[float]
    time: int | None = None
    rejected: tuple[tuple[int, str], ...] = ()
    asset: tuple[str, ...] = ()
    ago: int = 0
    lost: int = 0


# Reads a payload that came on a topic. Raises MalformedError; any other exception is a fault of the
# format and counts as malformed too.
Decoder = Callable[[bytes, str], list[Sample]]
# Compiles a decoder, once per source. Raises ValueError if a path is none.
Format = Callable[[Layout], Decoder]
