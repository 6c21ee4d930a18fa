"""Numbers, names, times and stretches of time as people read them."""

from collections.abc import Sequence
from datetime import UTC, datetime

from models.frame import SECOND

NBSP, NARROW = "\N{NO-BREAK SPACE}", "\N{NARROW NO-BREAK SPACE}"
MOST_NAMES = 12
_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def duration(seconds: float) -> str:
    """The two largest units: 1 min 41 s, 2 h 5 min."""
    if seconds < 10:
        return f"{seconds:.2g}{NBSP}s"
    left = round(seconds)
    parts: list[str] = []
    for size, unit in _UNITS:
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count}{NBSP}{unit}" if count else "")
    return " ".join(part for part in parts[:2] if part)


def moment(time: int) -> str:
    """Nanoseconds since the epoch to the second, UTC."""
    return datetime.fromtimestamp(time // SECOND, UTC).strftime("%Y-%m-%d %H:%M:%S")


def figure(value: float | None) -> str:
    """Two or three digits, or a dash."""
    if value is None:
        return "–"
    if isinstance(value, int) or abs(value) >= 100:
        text = f"{value:,.0f}".replace(",", NARROW)
    elif 0 < abs(value) < 0.1:
        text = f"{value:.2g}"
    else:
        text = f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"
    return text.replace("-", "\N{MINUS SIGN}")


def percent(share: float | None) -> str:
    """A share as a percentage, or a dash."""
    if share is None:
        return "–"
    digits = f"{100 * share:.0f}" if share >= 0.0995 or not share else f"{100 * share:.2g}"
    return f"{digits}{NARROW}%"


def count(number: int, noun: str) -> str:
    """1 event, 2 events, no events."""
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def listed(names: Sequence[str]) -> str:
    """Names one by one, of many only the first: p1, p2 and 7 more."""
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def after(seconds: float) -> str:
    """How long after its start an event was found."""
    return f"after {duration(seconds)}" if seconds else "at once"
