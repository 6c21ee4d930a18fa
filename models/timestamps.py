"""Times as people write them ↔ integer nanoseconds since the epoch."""

import re
from datetime import UTC, datetime

from models.grid import SECOND

EARLIEST, LATEST = 0, 4_102_444_800 * SECOND  # 1970 to 2100: doubled ticks stay within int64
_EPOCH = re.compile(r"(-?[0-9]{1,11})(?:\.([0-9]+))?(?:[eE]\+?0+)?")
_ISO = re.compile(
    r"(\d{4}-?\d\d-?\d\d[T ]\d\d:?\d\d(?::?\d\d)?)(?:[.,](\d+))?"
    r"(Z|[+-]\d\d(?::?\d\d)?)?",
    re.ASCII,
)
_START = datetime(1970, 1, 1, tzinfo=UTC)


def timestamp_ns(text: str) -> int:
    """A timestamp to integer nanoseconds since the epoch.

    Args:
        text: ISO 8601 with offset or Z, or seconds since the epoch, with any fraction.

    Raises:
        ValueError: if it is neither, has no offset, or lies outside the years 1970 to 2100.
    """
    if (usual := utc_ns(text)) is not None:
        return usual
    text = text.strip()
    if number := _EPOCH.fullmatch(text):
        fraction = (number[2] or "")[:9].ljust(9, "0")
        time = int(number[1]) * SECOND + int(fraction) * (-1 if text.startswith("-") else 1)
    else:
        found = _ISO.fullmatch(text.upper())
        try:
            moment = datetime.fromisoformat(found[1] + (found[3] or "")) if found else None
        except ValueError:
            moment = None
        if found is None or moment is None:
            raise ValueError("wanted ISO 8601 with an offset or Z, or seconds since the epoch")
        if moment.tzinfo is None:
            raise ValueError("has no offset; wanted one, such as Z or +01:00")
        since = moment - _START
        # The standard library stops at microseconds.
        fraction = found[2][:9].ljust(9, "0") if found[2] else "0"
        time = (since.days * 86_400 + since.seconds) * SECOND + int(fraction)
    if not EARLIEST <= time < LATEST:
        raise ValueError("lies outside the years 1970 to 2100")
    return time


def utc_ns(text: str) -> int | None:
    """As `timestamp_ns`, four times faster, of texts such as 2026-01-01T00:00:00.5Z; else None."""
    if not (
        20 <= len(text) <= 27
        and text[-1] == "Z"
        and text[10] == "T"
        and text[7] == "-"
        and text[16] == ":"
        and text[19] in ".Z"
        and text[-2] != "."
        and text.isprintable()  # CPython reads to a NUL and no further
    ):
        return None
    try:
        since = datetime.fromisoformat(text) - _START
    except ValueError:
        return None
    time = ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1_000
    return time if EARLIEST <= time < LATEST else None


def seconds(time: int) -> str:
    """Nanoseconds since the epoch as seconds, as fine as needed."""
    whole, fraction = divmod(time, SECOND)
    return f"{whole}.{fraction:09d}".rstrip("0").rstrip(".") if fraction else str(whole)


def iso(time: int) -> str:
    """Nanoseconds since the epoch as ISO 8601 in UTC, to the second or as fine as needed."""
    moment = datetime.fromtimestamp(time // SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f"{time % SECOND:09d}".rstrip("0")
    return f"{moment}.{fraction}Z" if fraction else f"{moment}Z"
