"""Thresholds from the scores of normal data the network did not fit."""

import math
from dataclasses import dataclass

import numpy as np

from models.decision import Rule
from models.frame import Floats

DAY = 86_400.0
# Where a network rebuilds normal data exactly, rounding would rule a lower threshold.
LEAST = 1e-4


@dataclass(frozen=True, slots=True)
class Threshold:
    """A threshold and what it promises.

    Args:
        value: the unscaled score that becomes 1.0.
        requested: false alarms per day per asset that were asked for.
        supported: whether the normal data are long enough to promise that.
        expected: false alarms per day seen on the held-out normal data at this value.
        bound: their 95 % upper bound; 3 / days when none was seen.
        days: length of the scored held-out normal data.
    """

    value: float
    requested: float
    supported: bool
    expected: float
    bound: float
    days: float


def false_alarms_per_day(
    series: list[Floats], rule: Rule, period_s: float, window: int, requested: float
) -> Threshold:
    """The lowest threshold with at most the requested false alarms per day.

    An alarm opens when `need` of the last `of` smoothed scores are over the threshold, that is when
    the need-th largest of them is; alarms less than a window apart are one event, and on average
    an event may last a window. Where the data are too short for the request, the threshold is
    their highest smoothed score.

    Args:
        series: smoothed unscaled scores of held-out normal data, one array per unbroken stretch.
        rule: the decision rule the promise is for.
        period_s: seconds between scores.
        window: frames of a window.
        requested: false alarms per day per asset.
    """
    series = [scores for scores in series if len(scores)]
    days = sum(len(scores) for scores in series) * period_s / DAY
    highest = max([LEAST, *(float(scores.max()) for scores in series)])
    if requested * days < 3:
        return Threshold(highest, requested, False, 0.0, poisson_bound(0) / days, days)
    opening = [_opening(scores, rule) for scores in series]
    value = max(LEAST, _lowest(opening, highest, math.floor(requested * days), window))
    events = _events(opening, value, window)
    return Threshold(value, requested, True, events / days, poisson_bound(events) / days, days)


def poisson_bound(events: int, confidence: float = 0.95) -> float:
    """Upper confidence bound of a Poisson mean after so many events: 3.0 for none."""
    low, high = 0.0, 10.0 + 3.0 * events
    for _ in range(100):
        mean = (low + high) / 2
        log_terms = [i * math.log(mean) - mean - math.lgamma(i + 1) for i in range(events + 1)]
        low, high = (
            (mean, high) if math.fsum(map(math.exp, log_terms)) > 1 - confidence else (low, mean)
        )
    return high


def _opening(scores: Floats, rule: Rule) -> Floats:
    """Per frame the highest threshold at which an alarm would be open there."""
    padded = np.concatenate((np.full(rule.of - 1, -np.inf), scores))
    recent = np.lib.stride_tricks.sliding_window_view(padded, rule.of)
    return np.sort(recent, axis=1)[:, -rule.need]


def _lowest(opening: list[Floats], highest: float, allowed: int, gap: int) -> float:
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


def _events(opening: list[Floats], threshold: float, gap: int) -> int:
    """Number of stretches over the threshold that lie at least `gap` frames apart."""
    over = [np.flatnonzero(scores > threshold) for scores in opening]
    return sum(1 + int((np.diff(at) >= gap).sum()) for at in over if len(at))
