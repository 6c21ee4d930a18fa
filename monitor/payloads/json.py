"""JSON: an object of one machine, or a list of samples, with its sensors at paths."""

import json
import math

import msgspec
from msgspec.structs import astuple

from monitor.payloads.document import documents
from monitor.payloads.path import parse
from monitor.payloads.sample import Decoder, Layout, MalformedError, Sample


def decoder(layout: Layout) -> Decoder:
    """Compile a decoder."""
    parsed = _lenient if layout.lenient else msgspec.json.Decoder().decode
    samples = documents(layout)

    def decode(payload: bytes, topic: str) -> list[Sample]:
        del topic
        try:
            document = parsed(payload)
        except RecursionError:
            raise MalformedError("is nested too deeply") from None
        except ValueError as error:
            raise MalformedError(f"is no JSON ({str(error)[:80]})") from None
        return samples((document,))

    return _flat(layout, decode) or decode


def _lenient(payload: bytes) -> object:
    """JSON with what some devices add: NaN, Infinity, and a byte order mark."""
    return json.loads(payload.decode("utf-8-sig"))


def _flat(layout: Layout, decode: Decoder) -> Decoder | None:
    """A decoder for an object of plain numbers under plain keys, the form most devices send.

    It leaves any other payload to `decode`, which reads the same in three times the time; but what
    stands under other keys it skips, and does not judge.
    """
    keys = [_key(field.path) for field in layout.fields]
    time = None if layout.time is None else _key(layout.time)
    plain = (
        [field.column for field in layout.fields] == [*range(layout.width)]
        and not any(field.text or field.values for field in layout.fields)
        and not (layout.asset or layout.samples or layout.sensor or layout.lenient)
        and len({*keys, time}) == len(keys) + 1
        and None not in keys
        and (layout.time is None or time is not None)
    )
    if not plain:
        return None
    names = {f"v{column}": str(key) for column, key in enumerate(keys)}
    fields = [(name, float, math.nan) for name in names]
    clock = layout.clock
    if clock is None or time is None:
        row = msgspec.defstruct("Row", fields, rename=names, gc=False)
        read = msgspec.json.Decoder(row).decode

        def without_time(payload: bytes, topic: str) -> list[Sample]:
            try:
                return [Sample([*astuple(read(payload))])]
            except (ValueError, RecursionError):
                return decode(payload, topic)

        return without_time
    row = msgspec.defstruct(
        "Row", [("t", str | int | float), *fields], rename={"t": time, **names}, gc=False
    )
    read_timed = msgspec.json.Decoder(row).decode

    def with_time(payload: bytes, topic: str) -> list[Sample]:
        try:
            stamp, *values = astuple(read_timed(payload))
            return [Sample(values, clock(stamp))]  # pyright: ignore[reportArgumentType]
        except (ValueError, RecursionError):
            return decode(payload, topic)

    return with_time


def _key(path: str) -> str | None:
    """The key that a path consists of, if that is all, and one that a Struct can have."""
    steps = parse(path)
    key = steps[0] if len(steps) == 1 else None
    if isinstance(key, str) and key.isprintable() and not {'"', "\\"} & {*key}:
        return key
    return None
