"""Affiliation: how near, in time, alerts lie to events, and events to alerts.

Huet, Navarro and Rossi 2022, "Local Evaluation of Time Series Anomaly Detection Algorithms", KDD
(arXiv 2206.13167). Each moment belongs to the zone of the event nearest to it. A distance counts
as the chance that a moment drawn anywhere in the zone would lie no nearer: 1 for a moment that is
right, about a half for alerts at random. Everything between two ends of spans is a polynomial, so
the integrals are exact.
"""

import numpy as np

from models.frame import Floats, Ints


def affiliation(events: Ints, alerts: Ints, length: int) -> tuple[Floats, Floats]:
    """Precision and recall of each event of a file.

    Args:
        events, alerts: disjoint and in order of time, [start, end) in ticks since the file's
            start, shape (n, 2).
        length: of the file, ticks.

    Returns:
        Precision, NaN where no alert lies in the event's zone, and recall, shape (events,).
    """
    # Zones and what of each alert lies in which.
    cuts = (events[:-1, 1] + events[1:, 0]) / 2
    zones = np.r_[0, cuts, length]
    within = np.searchsorted(alerts[:, 0], cuts) > np.searchsorted(alerts[:, 1], cuts, "right")
    begin = np.sort(np.r_[alerts[:, 0], cuts[within]])
    end = np.sort(np.r_[alerts[:, 1], cuts[within]])
    zone = np.searchsorted(zones, begin, "right") - 1
    count = len(events)
    if not count or not len(zone):
        return np.full(count, np.nan), np.zeros(count)
    low, high = zones[zone], zones[zone + 1]
    first, last = events[zone, 0], events[zone, 1]
    size = high - low

    def nearness(distance: Floats) -> Floats:
        # Of moments up to so far from the event: the chance that a random one is no nearer.
        sides = _clipped(distance, first - low) + _clipped(distance, high - last)
        return distance - (distance * (last - first) + sides) / size

    covered = np.maximum(np.minimum(end, last) - np.maximum(begin, first), 0)
    right = covered + (
        nearness(np.maximum(first - begin, 0))
        - nearness(np.maximum(first - end, 0))
        + nearness(np.maximum(end - last, 0))
        - nearness(np.maximum(begin - last, 0))
    )

    def missed(near: Floats, far: Floats, room: Floats) -> Floats:
        # Of moments of the event at distances near to far on one side of an alert's end.
        nearer = (far**2 - near**2) / 2 + _folded(far, room) - _folded(near, room)
        return far - near - nearer / size

    same = zone[1:] == zone[:-1]
    middle = (end[:-1] + begin[1:]) / 2
    since = np.clip(np.r_[-np.inf, np.where(same, middle, -np.inf)], first, last)
    until = np.clip(np.r_[np.where(same, middle, np.inf), np.inf], first, last)
    reached = covered + (
        missed(begin - np.clip(begin, first, last), begin - since, begin - low)
        + missed(np.clip(end, first, last) - end, until - end, high - end)
    )
    with np.errstate(invalid="ignore"):
        precision = np.bincount(zone, right, count) / np.bincount(zone, end - begin, count)
    return precision, np.bincount(zone, reached, count) / (events[:, 1] - events[:, 0])


def _clipped(distance: Floats, most: Floats) -> Floats:
    """Integral of min(t, most) from 0 to a distance."""
    short = np.minimum(distance, most)
    return short**2 / 2 + most * (distance - short)


def _folded(distance: Floats, room: Floats) -> Floats:
    """Integral of min(t, room - t) from 0 to a distance of at most `room`."""
    beyond = np.maximum(distance - room / 2, 0)
    return distance**2 / 2 - beyond**2
