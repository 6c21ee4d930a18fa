"""Runs of frames: events and alerts as half-open spans [start, end), in order of time."""

import numpy as np

from models.frame import Bools, Floats, Ints


def spans_of(flags: Bools) -> Ints:
    """The runs of true frames, shape (runs, 2)."""
    change = np.diff(np.r_[False, flags, False].astype(np.int8))
    return np.flatnonzero(change).reshape(-1, 2)


def events_of(label: Bools, score: Floats) -> Ints:
    """The labelled runs with a scored frame, shape (events, 2): nothing could find another."""
    spans = spans_of(label)
    return spans[touches(spans, ~np.isnan(score))]


def touches(spans: Ints, flags: Bools) -> Bools:
    """Whether there is a true frame in each span, shape (spans,)."""
    count = np.cumsum(np.r_[0, flags])
    return count[spans[:, 1]] > count[spans[:, 0]]


def in_ticks(spans: Ints, tick: Ints) -> Ints:
    """The ticks of some spans of frames, shape (spans, 2): a hole in a recording has no frames."""
    return np.column_stack((tick[spans[:, 0]], tick[spans[:, 1] - 1] + 1))


def delays_of(events: Ints, alarm: Bools, score: Floats, tick: Ints) -> list[int | None]:
    """Ticks from each event's start to its first scored frame in alert; None = missed."""
    hits = np.append(np.flatnonzero(alarm & ~np.isnan(score)), len(tick))
    first = hits[np.searchsorted(hits, events[:, 0])].tolist()
    return [
        int(tick[hit] - tick[start]) if hit < end else None
        for hit, (start, end) in zip(first, events.tolist(), strict=True)
    ]
