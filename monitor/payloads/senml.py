"""SenML in JSON (RFC 8428): records of one sensor each, resolved and joined by their times.

A resolved record has the keys `n` (the whole name), `bn` and `name` (its two parts), `u`, and `v`,
which also holds what the record calls `vb`, `vs` or `vd`; and `s`, the sum.
"""

import math
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final, cast

import msgspec

from monitor.payloads.document import documents
from monitor.payloads.sample import Decoder, Layout, MalformedError, Sample
from monitor.payloads.stamp import clock

VERSION: Final = 10
RELATIVE: Final = 2**28  # seconds; a smaller time counts from now (section 4.5.3)
_TEXTS = ("bn", "bu", "n", "u", "vs", "vd")
_NUMBERS = ("bt", "bv", "bs", "bver", "t", "ut", "v", "s")


def decoder(layout: Layout) -> Decoder:
    """Compile a decoder; `n` names the sensor unless the layout says otherwise."""
    parsed = msgspec.json.Decoder(list[dict[str, Any]]).decode
    one = replace(
        layout, sensor=layout.sensor or "n", value=layout.value or "v", time=None, samples=None
    )
    samples = documents(one)
    absolute = clock("ns")

    def decode(payload: bytes, topic: str) -> list[Sample]:
        del topic
        try:
            records = _resolved(parsed(payload))
        except MalformedError:
            raise
        except RecursionError:
            raise MalformedError("is nested too deeply") from None
        except ValueError as error:
            raise MalformedError(f"is no SenML ({str(error)[:80]})") from None
        by_time: dict[int | None, list[object]] = {}
        for record in records:
            stamp = None if layout.arrival else cast("int", record["t"])
            by_time.setdefault(stamp, []).append(record)
        found: list[Sample] = []
        for stamp, of_time in by_time.items():
            found.extend(_at(sample, stamp, absolute) for sample in samples(of_time))
        return found or samples(())

    return decode


def _at(sample: Sample, stamp: int | None, absolute: Any) -> Sample:
    if stamp is None:
        return sample
    if stamp < RELATIVE * 10**9:
        return msgspec.structs.replace(sample, ago=-stamp)
    try:
        return msgspec.structs.replace(sample, time=absolute(stamp))
    except ValueError as error:
        raise MalformedError(f"has no time at t; {error}") from None


def _resolved(records: list[dict[str, Any]]) -> list[dict[str, object]]:
    """Records with the base values in them (section 4.6)."""
    base: dict[str, Any] = {"bn": "", "bt": 0, "bv": None, "bs": None, "bu": None}
    found: list[dict[str, object]] = []
    for record in records:
        _check(record)
        base.update({key: record[key] for key in base if key in record})
        name = f"{base['bn']}{record.get('n', '')}"
        resolved: dict[str, object] = {
            "n": name,
            "bn": base["bn"],
            "name": record.get("n", ""),
            "u": record.get("u", base["bu"]),
            "t": _nanoseconds(base["bt"]) + _nanoseconds(record.get("t", 0)),
        }
        for key, base_key in (("v", "bv"), ("s", "bs")):
            if key in record or base[base_key] is not None:
                resolved[key] = (base[base_key] or 0) + record.get(key, 0)
        resolved.update(("v", record[key]) for key in ("vb", "vs", "vd") if key in record)
        if len(resolved) > 5:  # a record of base values alone is no measurement
            found.append(resolved)
    return found


def _check(record: dict[str, Any]) -> None:
    for key in _TEXTS:
        if not isinstance(record.get(key, ""), str):
            raise MalformedError(f"is no SenML ({key} is no text)")
    for key in _NUMBERS:
        value = record.get(key, 0)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise MalformedError(f"is no SenML ({key} is no number)")
        if isinstance(value, int) and abs(value) >= 2**64:
            raise MalformedError(f"is no SenML ({key} has too many digits)")
    if not isinstance(record.get("vb", False), bool):
        raise MalformedError("is no SenML (vb is no boolean)")
    if record.get("bver", VERSION) > VERSION:
        raise MalformedError(f"is SenML of a version after {VERSION}")
    if unknown := [key for key in record if key.endswith("_")]:
        # Section 4.4: what is called so must be understood.
        raise MalformedError(f"is SenML with {unknown[0][:40]}, which must be understood")


def _nanoseconds(seconds: float) -> int:
    if not math.isfinite(seconds) or abs(seconds) > 2**34:
        raise MalformedError("is no SenML (a time is out of all bounds)")
    whole = math.floor(seconds)
    # The shortest text of a float is what was written: 0.1 is 0.1 s.
    return whole * 10**9 if whole == seconds else int(Decimal(repr(seconds)) * 10**9)
