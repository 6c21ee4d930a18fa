"""How a payload looks: its format, its numbers and its time, guessed from its bytes."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec

from monitor.payloads.packed import PACKED, unpacked
from monitor.payloads.sample import MalformedError, TooLargeError
from monitor.payloads.sparkplug import numeric_metrics
from monitor.payloads.stamp import UNITS, clock
from monitor.payloads.value import NUMBER

LARGEST, MOST_FIELDS, DEEPEST = 16_384, 200, 8
_TIME = re.compile(r"(?i).*(time|timestamp|date|last_?seen|created_?at)|ts|t")
_PLAIN_KEY = re.compile(r'[^."\[\]]+')
_INFLUX = re.compile(r"[^\s,=]+(?:,[^\s,=]+=[^\s,=]+)* ([^\s=,]+=\S+?)(?: \d{10,19})?", re.DOTALL)
_INFLUX_FIELD = re.compile(r"([^\s=,]+)=(-?[\d.]+(?:[eE][-+]?\d+)?[iu]?)(?=,|$)")


@dataclass(slots=True)
class Shape:
    """How a payload looks.

    Args:
        form: its format; empty where it is none that we know.
        fields: paths of numbers, and whether the payload has them as text.
        keys: further keys of a source that reads it.
        hints: what a person should know of it.
    """

    form: str = ""
    fields: dict[str, bool] = field(default_factory=dict[str, bool])
    keys: dict[str, Any] = field(default_factory=dict[str, Any])
    hints: tuple[str, ...] = ()


def shape_of(topic: str, payload: bytes) -> Shape:
    """Guess the format of a payload, and where its numbers and its time are."""
    if topic.startswith("spBv1.0/"):
        return Shape("sparkplug", {} if "CMD/" in topic else _metrics(payload))
    try:
        if payload.startswith(PACKED):
            payload = unpacked(payload, LARGEST)
    except (MalformedError, TooLargeError):
        return Shape()
    try:
        document: object = msgspec.json.decode(payload)
    except (ValueError, RecursionError):
        return _no_json(payload)
    if isinstance(document, list):
        records = cast("list[object]", document)
        names = [cast("dict[str, object]", r) for r in records if isinstance(r, dict)]
        base = str(names[0].get("bn", "")) if names else ""
        found = {base + str(r.get("n", "")): False for r in names if "v" in r}
        return Shape("senml", found) if found and "" not in found else Shape()
    if _is_number(document):
        return Shape("number", {"": False})
    return (
        Shape()
        if document is None or isinstance(document, str)
        else _of_document("json", document, topic.split("/"))
    )


def _metrics(payload: bytes) -> dict[str, bool]:
    try:
        return dict.fromkeys(numeric_metrics(payload)[:MOST_FIELDS], False)
    except (ModuleNotFoundError, ValueError):
        return {}


def _no_json(payload: bytes) -> Shape:
    try:
        text = payload.decode().strip()
    except UnicodeDecodeError:
        text = ""
    if NUMBER.fullmatch(text):
        return Shape("number", {"": False})
    line = text.split("\n")[0].strip()
    if found := _INFLUX.fullmatch(line):
        fields = dict.fromkeys((one[1] for one in _INFLUX_FIELD.finditer(found[1])), False)
        return Shape("influx", fields)
    for delimiter in ",;\t":
        cells = [cell.strip() for cell in line.split(delimiter)]
        numbers = [i for i, cell in enumerate(cells) if NUMBER.fullmatch(cell)]
        if len(cells) > 1 and len(numbers) >= len(cells) - 1:
            keys: dict[str, Any] = {} if delimiter == "," else {"delimiter": delimiter}
            stamps = [i for i in range(len(cells)) if _stamp(_number(cells[i])) is not None]
            if stamps:
                keys |= _time_keys(f"[{stamps[0]}]", _number(cells[stamps[0]]))
            return Shape("csv", {f"[{i}]": False for i in numbers if i not in stamps}, keys)
    if payload[:1] and (payload[0] & 0xF0 == 0x80 or payload[0] in (0xDE, 0xDF)):
        try:
            return _of_document("msgpack", msgspec.msgpack.decode(payload), [])
        except (ValueError, RecursionError):
            pass
    return Shape()


def numbers_of(document: object) -> list[str]:
    """Paths of a document's numbers, as far as one looks; times are none."""
    return [path for path, text in _of_document("", document, []).fields.items() if not text]


def _of_document(form: str, document: object, levels: list[str]) -> Shape:
    shape = Shape(form)
    for path, value in _leaves(document, "", 0):
        if len(shape.fields) >= MOST_FIELDS:
            break
        last = re.split(r'[."\]]+', path.rstrip('"'))[-1]
        zone = _stamp(value) if _TIME.fullmatch(last) else None
        if zone is not None:
            if not shape.hints and "time" not in shape.keys:
                if zone:
                    shape.keys |= _time_keys(path, value)
                else:
                    hint = f"{path} is a time without a zone: the time key, if timezone says where"
                    shape.hints = (hint,)
        elif _is_number(value):
            shape.fields[path] = False
        elif isinstance(value, str) and NUMBER.fullmatch(value):
            shape.fields[path] = True
    if set(shape.fields) in ({"value"}, {"v"}) and len(levels) > 2 and form == "json":
        shape.keys["value"] = next(iter(shape.fields))
    return shape


def _leaves(value: object, path: str, depth: int) -> Iterator[tuple[str, object]]:
    if depth > DEEPEST:
        return
    if isinstance(value, dict):
        for key, inner in cast("dict[object, object]", value).items():
            if isinstance(key, str) and key and '"' not in key:
                step = key if _PLAIN_KEY.fullmatch(key) else f'"{key}"'
                yield from _leaves(inner, f"{path}.{step}" if path else step, depth + 1)
    elif isinstance(value, list):
        for index, inner in enumerate(cast("list[object]", value)[:64]):
            yield from _leaves(inner, f"{path}[{index}]", depth + 1)
    elif path:
        yield path, value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(text: str) -> object:
    return float(text) if NUMBER.fullmatch(text) else text


def _stamp(value: object) -> str | None:
    """How a time is read: in "s" or another unit, "iso", or "" with a zone; None = no time."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        # From 2001 to 2096 in each unit: no value lies in two of them.
        return next((u for u, n in UNITS.items() if 1e18 <= value * n < 4e18), None)
    if isinstance(value, str) and re.match(r"\d{4}-?\d\d-?\d\d[T ]", value):
        for zone, word in ((None, "iso"), ("UTC", "")):
            try:
                clock("s", zone)(value)
            except ValueError:
                continue
            return word
    return None


def _time_keys(path: str, value: object) -> dict[str, Any]:
    unit = _stamp(value)
    return {"time": path} | ({} if unit in ("iso", "s", "") else {"time_unit": unit})
