"""Payload formats: bytes → samples. One file each, and one line in FORMATS."""

from collections.abc import Callable, Sequence
from typing import Final

from monitor.payloads.json import decoder as json
from monitor.payloads.number import decoder as number
from monitor.payloads.sample import Decoder

# Compiles a decoder from the paths of the sensors and of the time, once per stream.
Format = Callable[[Sequence[str], str | None], Decoder]

FORMATS: Final[dict[str, Format]] = {
    "json": json,
    "number": number,
}

__all__ = ["FORMATS", "Decoder", "Format"]
