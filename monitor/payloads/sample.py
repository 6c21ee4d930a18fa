"""What a payload format gives: samples, and why a field of one is no reading."""

from collections.abc import Callable
from dataclasses import dataclass


class MalformedError(ValueError):
    """A payload that cannot be read at all; the message says why, without the payload."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Values of one time in a message.

    Args:
        time: nanoseconds since the epoch; None = when the message arrived.
        values: one per sensor of the stream, NaN where there is none; a payload of a topic that
            names the sensor has one value.
        rejected: (index in values, reason) of fields that are there but are no readings.
    """

    time: int | None
    values: list[float]
    rejected: tuple[tuple[int, str], ...] = ()


# Raises MalformedError; any other exception is a fault of the format and counts as malformed too.
Decoder = Callable[[bytes], list[Sample]]
