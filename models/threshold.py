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
    the need-th largest of them is; alarms less than a window apart are one event. Where the data
    are too short for the request, the threshold is their highest smoothed score.

    Args:
        series: smoothed unscaled scores of held-out normal data, one array per unbroken stretch.
        rule: the decision rule the promise is for.
        period_s: seconds between scores.
        window: frames of a window.
        requested: false alarms per day per asset.
    """
    days = sum(len(scores) for scores in series) * period_s / DAY
    highest = max([LEAST, *(float(scores.max()) for scores in series)])
    if requested * days < 3:
        return Threshold(highest, requested, False, 0.0, poisson_bound(0) / days, days)
    opening = [_opening(scores, rule) for scores in series]
    candidates = np.unique(np.concatenate(opening))
    candidates = candidates[np.isfinite(candidates)]
    allowed = math.floor(requested * days)
    # Fewer scores lie over a higher threshold, so the first allowed one is found by bisection.
    low, high = 0, len(candidates) - 1
    while low < high:
        middle = (low + high) // 2
        if _events(opening, float(candidates[middle]), window) <= allowed:
            high = middle
        else:
            low = middle + 1
    value = max(LEAST, float(candidates[high]))
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


def _events(opening: list[Floats], threshold: float, gap: int) -> int:
    """Number of stretches over the threshold that lie at least `gap` frames apart."""
    over = [np.flatnonzero(scores > threshold) for scores in opening]
    return sum(1 + int((np.diff(at) >= gap).sum()) for at in over if len(at))
