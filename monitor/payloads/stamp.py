"""Times in a payload → nanoseconds since the epoch."""

import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal
from zoneinfo import ZoneInfo

from models.frame import SECOND
from models.recording import EARLIEST, LATEST, timestamp_ns, utc_ns

TimeUnit = Literal["s", "ms", "us", "ns"]
UNITS: Final[dict[TimeUnit, int]] = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_NUMBER = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,20})?", re.ASCII)
_LOCAL = re.compile(r"\s*(\d{4}-?\d\d-?\d\d[T ]\d\d:?\d\d(?::?\d\d)?)([.,]\d{1,20})?\s*", re.ASCII)
_NAMES: Final[dict[TimeUnit, str]] = {
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
}


def clock(unit: TimeUnit = "s", timezone: str | None = None) -> Callable[[object], int]:
    """A function from a time in a payload to nanoseconds since the epoch.

    It reads ISO 8601, with `T` or a space and any fraction; a number, or a text of one, in `unit`;
    and MessagePack's timestamps. It raises TypeError for other things than these, and ValueError
    with the words of what was wanted.

    Args:
        unit: of numbers.
        timezone: IANA name of the zone of ISO texts without an offset; without it they are
            refused. Of a local time that comes twice, in autumn, the first is meant; one that
            spring leaves out counts as if the clocks had not been changed yet.
    """
    factor = UNITS[unit]
    zone = None if timezone is None else ZoneInfo(timezone)
    offset = " with an offset" if zone is None else ""
    wanted = f"wanted ISO 8601{offset}, or {_NAMES[unit]} since the epoch"

    def read(value: object) -> int:
        if isinstance(value, str) and (usual := utc_ns(value)) is not None:
            return usual
        try:
            time = _nanoseconds(value, factor, zone)
        except (ValueError, ArithmeticError):
            raise ValueError(wanted) from None
        if not EARLIEST <= time < LATEST:
            raise ValueError(f"{wanted}, between the years 1970 and 2100")
        return time

    return read


def _nanoseconds(value: object, factor: int, zone: ZoneInfo | None) -> int:
    if value.__class__ is float:
        # repr() is the shortest text of a float, so 1.1 is 1.1 s and not 1.100000000000000089 s.
        return int(Decimal(repr(value)) * factor)
    if isinstance(value, int) and not isinstance(value, bool):
        return value * factor
    if isinstance(value, str):
        if _NUMBER.fullmatch(value.strip()):
            return int(Decimal(value.strip()) * factor)
        if zone is not None and (local := _LOCAL.fullmatch(value)):
            offset = datetime.fromisoformat(local[1]).replace(tzinfo=zone).utcoffset()
            ahead = 0 if offset is None else round(offset.total_seconds()) * SECOND
            return timestamp_ns(f"{value.strip()}Z") - ahead
        return timestamp_ns(value)
    if isinstance(value, datetime) and value.tzinfo is not None:
        return timestamp_ns(value.isoformat())
    raise TypeError("is neither a text nor a number")
