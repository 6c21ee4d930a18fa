"""The default rule: the lowest threshold that keeps the request on the held-out data."""

import math

import numpy as np

from models.frame import Floats
from models.tail import peaks
from models.threshold.rule import LEAST, HeldOut, Proposal


def false_alarms_per_day(held_out: HeldOut) -> Proposal:
    """The lowest threshold with at most the requested false alarms per day.

    Alarms less than a window apart are one event, and on average an event may last a window. Where
    the data are too short for the request, the threshold is their highest score.
    """
    if held_out.too_short:
        return held_out.fallback(held_out.too_short)
    allowed = math.floor(held_out.allowed)
    value = lowest(held_out.opening, held_out.highest, allowed, held_out.window)
    return Proposal(
        max(LEAST, value), f"at most {held_out.requested:g} false alarms per day on held-out scores"
    )


def count(opening: list[Floats], threshold: float, gap: int) -> int:
    """Number of stretches over the threshold that lie at least `gap` frames apart."""
    return sum(len(peaks(series, threshold, gap)) for series in opening)


def poisson_bound(events: int, confidence: float = 0.95) -> float:
    """Upper confidence bound of a Poisson mean after so many events: 3.0 for none."""
    low, high = 0.0, 10.0 + 3.0 * events
    for _ in range(100):
        mean = (low + high) / 2
        low, high = (mean, high) if at_most(events, mean) > 1 - confidence else (low, mean)
    return high


def at_most(events: int, mean: float) -> float:
    """The probability of that many Poisson events or fewer."""
    logs = (i * math.log(mean) - mean - math.lgamma(i + 1) for i in range(events + 1))
    return math.fsum(map(math.exp, logs))


def lowest(opening: list[Floats], highest: float, allowed: int, gap: int) -> float:
    """The lowest threshold, from the highest down, with at most `allowed` events over it.

    Further down events merge until everything is one alarm, so the first threshold with too many
    ends the search, and so does one over which more than `allowed` times `gap` frames lie.
    """
    # Frames in order of time, each series in blocks of its own: frames of one block are one event,
    # and so are neighbouring blocks whose nearest frames lie less than `gap` apart.
    place = np.empty(0, np.int64)
    for series in opening:
        start = (place[-1] // gap + 2) * gap if len(place) else 0
        place = np.concatenate((place, start + np.arange(len(series))))
    scores = np.concatenate(opening)
    order = np.argsort(-scores, kind="stable")[: np.isfinite(scores).sum()]
    first: dict[int, int] = {}
    last: dict[int, int] = {}

    def joined(block: int) -> bool:
        return block in last and block + 1 in first and first[block + 1] - last[block] < gap

    threshold, events = highest, 0
    ranked = zip(place[order].tolist(), scores[order].tolist(), strict=True)
    for above, (at, score) in enumerate(ranked):
        if score < threshold:
            if events > allowed or above > allowed * gap:
                break
            threshold = score
        block = at // gap
        events += joined(block - 1) + joined(block) + (block not in first)
        first[block] = min(first.get(block, at), at)
        last[block] = max(last.get(block, at), at)
        events -= joined(block - 1) + joined(block)
    return threshold
