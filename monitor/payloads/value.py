"""Values in a payload → numbers, or why they are none."""

import math
import re
from typing import Final

from monitor.payloads.sample import Field

# float() alone would also take 1_000, other scripts' digits and words.
NUMBER: Final = re.compile(
    r"\s*[-+]?(?:\d{1,400}(?:\.\d{0,400})?|\.\d{1,400})(?:[eE][-+]?\d{1,4})?\s*", re.ASCII
)
# What devices and bridges write where they have no value.
NO_VALUE: Final = frozenset(("", "nan", "none", "null", "unavailable", "unknown", "n/a"))
LONGEST_WORD: Final = 64


def number(value: object, field: Field) -> float | str:
    """The number that a value of a sensor is, or the reason why it is no reading."""
    if value is None:
        return "missing"
    if isinstance(value, str):
        return _of_text(value, field)
    if isinstance(value, bool):
        return field.values.get("true" if value else "false", "not-a-number")
    if isinstance(value, int | float):
        try:
            found = float(value)
        except OverflowError:
            return "not-finite"
        if math.isnan(found):
            return "missing"
        return found if math.isfinite(found) else "not-finite"
    return "not-a-number"


def _of_text(text: str, field: Field) -> float | str:
    if len(text) <= LONGEST_WORD:
        word = text.strip()
        if word in field.values:
            return field.values[word]
        if word.lower() in NO_VALUE:
            return "missing"
    if field.text and NUMBER.fullmatch(text):
        found = float(text)
        return found if math.isfinite(found) else "not-finite"
    return "not-a-number"
