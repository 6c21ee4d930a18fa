"""InfluxDB's line protocol: every line is a sample.

A line `pump,line=a current=1.2,speed=50i 1790000000000000000` is a document with the keys `line`,
`current` and `speed`, and the same again under `pump`; its time, if it has one, is its event time.
Source: docs.influxdata.com, "Line protocol reference".
"""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from monitor.payloads.document import documents
from monitor.payloads.sample import Decoder, Layout, MalformedError, Sample

TIME: Final = "time"  # no tag and no field may have this name
_NAME = re.compile(r"((?:[^\\ ,=\n]|\\[^\n])+)")
_MEASUREMENT = re.compile(r"((?:[^\\ ,\n]|\\[^\n])+)")
_STRING = re.compile(r'((?:[^"\\]|\\.)*)"', re.DOTALL)
_COMMA, _EQUALS, _QUOTE = re.compile(","), re.compile("="), re.compile('"')
_PLAIN = re.compile(r"[^ ,\r\n]+")
_SPACES = re.compile(r" +")
_LINE_END = re.compile(r" *\r?(?:\n|$)")
_NO_LINE = re.compile(r"(?:\s+|#[^\n]*)*")
_INTEGER = re.compile(r"-?\d{1,20}[iu]", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\d{1,400}\.?\d{0,400}|\.\d{1,400})(?:[eE][-+]?\d{1,4})?", re.ASCII)
_STAMP = re.compile(r"-?\d{1,19}", re.ASCII)
_ESCAPED = re.compile(r"\\([ ,=])")
_QUOTED = re.compile(r'\\(["\\])')
_TRUE, _FALSE = ("t", "T", "true", "True", "TRUE"), ("f", "F", "false", "False", "FALSE")


def decoder(layout: Layout) -> Decoder:
    """Compile a decoder."""
    timed = documents(layout)
    untimed = documents(replace(layout, time=None))

    def decode(payload: bytes, topic: str) -> list[Sample]:
        del topic
        try:
            text = _Text(payload.decode())
        except UnicodeDecodeError:
            raise MalformedError("is no line protocol (it is not UTF-8)") from None
        with_time: list[object] = []
        without: list[object] = []
        text.skip(_NO_LINE)
        while text.left or not (with_time or without):
            document = _line(text)
            (with_time if TIME in document else without).append(document)
            text.skip(_NO_LINE)
        return (timed(with_time) if with_time else []) + (untimed(without) if without else [])

    return decode


class _Text:
    """A text as it is read from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    @property
    def left(self) -> bool:
        return self._at < len(self._text)

    def take(self, wanted: re.Pattern[str], what: str) -> str:
        found = wanted.match(self._text, self._at)
        if found is None:
            raise MalformedError(f"is no line protocol (wanted {what} at character {self._at + 1})")
        self._at = found.end()
        return found[found.lastindex or 0]

    def skip(self, wanted: re.Pattern[str]) -> bool:
        found = wanted.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return found is not None


def _line(line: _Text) -> dict[str, object]:
    measurement = _plain(line.take(_MEASUREMENT, "a measurement"))
    keys: dict[str, object] = {}
    while line.skip(_COMMA):
        _pair(line, keys, lambda: _plain(line.take(_NAME, "a tag's value")))
    line.take(_SPACES, "a space")
    _pair(line, keys, lambda: _field(line))
    while line.skip(_COMMA):
        _pair(line, keys, lambda: _field(line))
    document: dict[str, object] = {measurement: dict(keys), **keys}
    document.pop(TIME, None)
    if not line.skip(_LINE_END):
        line.take(_SPACES, "a space")
        document[TIME] = int(line.take(_STAMP, "a time"))
        line.take(_LINE_END, "the end of the line")
    return document


def _plain(text: str) -> str:
    return _ESCAPED.sub(r"\1", text)


def _pair(line: _Text, keys: dict[str, object], value: Callable[[], object]) -> None:
    key = _plain(line.take(_NAME, "a key"))
    line.take(_EQUALS, "=")
    keys[key] = value()


def _field(line: _Text) -> object:
    if line.skip(_QUOTE):
        return _QUOTED.sub(r"\1", line.take(_STRING, "a closing quote"))
    word = line.take(_PLAIN, "a field's value")
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    if _INTEGER.fullmatch(word):
        return int(word[:-1])
    if _FLOAT.fullmatch(word):
        return float(word)
    raise MalformedError("is no line protocol (a field's value is none)")
