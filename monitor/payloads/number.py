"""A bare number, for topics that name the sensor."""

import math
import re
from collections.abc import Sequence

from monitor.payloads.sample import Decoder, MalformedError, Sample

# float() alone would also take 1_000, other scripts' digits and words.
_NUMBER = re.compile(rb"\s*[-+]?(?:\d{1,400}(?:\.\d{0,400})?|\.\d{1,400})(?:[eE][-+]?\d{1,4})?\s*")


def decoder(paths: Sequence[str], time: str | None) -> Decoder:
    """Decode one number; such a payload has no paths and no time."""
    del paths, time
    return _decode


def _decode(payload: bytes) -> list[Sample]:
    if not _NUMBER.fullmatch(payload):
        raise MalformedError("is no number")
    value = float(payload)
    if math.isinf(value):
        return [Sample(None, [math.nan], ((0, "not-finite"),))]
    return [Sample(None, [value])]
