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


def delays_of(events: Ints, alarm: Bools, score: Floats) -> list[int | None]:
    """Frames from each event's start to its first scored frame in alert; None = missed."""
    hits = alarm & ~np.isnan(score)
    return [
        int(hits[start:end].argmax()) if hits[start:end].any() else None for start, end in events
    ]
