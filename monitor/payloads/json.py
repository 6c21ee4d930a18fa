"""A JSON object of one machine, with its sensors at paths."""

import math
from collections.abc import Sequence

import msgspec

from models.recording import timestamp_ns
from monitor.payloads.path import MISSING, compiled
from monitor.payloads.sample import Decoder, MalformedError, Sample


def decoder(paths: Sequence[str], time: str | None) -> Decoder:
    """Compile a decoder.

    Args:
        paths: of the sensors, in their order.
        time: path of the event time, ISO 8601 with an offset or seconds since the epoch.

    Raises:
        ValueError: if a path is none.
    """
    parse = msgspec.json.Decoder().decode
    getters = [compiled(path) for path in paths]
    time_of = compiled(time) if time is not None else None
    nan = math.nan

    def decode(payload: bytes) -> list[Sample]:
        try:
            document = parse(payload)
        except RecursionError:
            raise MalformedError("is nested too deeply") from None
        except ValueError as error:
            raise MalformedError(f"is no JSON ({str(error)[:80]})") from None
        stamp = None if time_of is None else _time(time_of(document), time)
        values: list[float] = []
        rejected: list[tuple[int, str]] = []
        for getter in getters:
            value = getter(document)
            if value.__class__ is float:
                values.append(value)  # pyright: ignore[reportArgumentType]
                continue
            reason = "missing"
            if value.__class__ is int:
                try:
                    values.append(float(value))  # pyright: ignore[reportArgumentType]
                    continue
                except OverflowError:
                    reason = "not-finite"
            elif value is not MISSING and value is not None:
                reason = "not-a-number"
            if value is not MISSING:
                rejected.append((len(values), reason))
            values.append(nan)
        return [Sample(stamp, values, tuple(rejected))]

    return decode


def _time(value: object, path: str | None) -> int:
    if value is MISSING:
        raise MalformedError(f"has no time at {path}")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise MalformedError(f"has no time at {path}, but a value of another kind")
    try:
        # repr() is the shortest text of a float, so 1.1 is 1.1 s and not 1.100000000000000089 s.
        return timestamp_ns(value if isinstance(value, str) else repr(value))
    except ValueError:
        raise MalformedError(
            f"has no time at {path}; wanted ISO 8601 with an offset, or seconds since the epoch"
        ) from None
