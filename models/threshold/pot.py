"""Peaks over threshold: a Pareto tail, extrapolated beyond the data."""

import math

import numpy as np

from models import tail
from models.threshold.false_alarms import lowest
from models.threshold.rule import LEAST, HeldOut, Proposal


def pot(held_out: HeldOut) -> Proposal:
    """The height that excursions reach as often as is asked for, by a generalised Pareto tail.

    Siffer et al. (2017), eq. 1, on peaks of excursions in place of single scores, so that the
    promise is one of events: threshold = level + excess exceeded by (allowed / peaks) of all.
    """
    level = float(np.quantile(held_out.scores, held_out.settings.level))
    heights = [tail.peaks(series, level, held_out.window) for series in held_out.opening]
    excess = np.concatenate(heights) - level
    if len(excess) < tail.LEAST_PEAKS:
        return held_out.fallback(
            f"{len(excess)} excursions over the {held_out.settings.level:g} quantile of held-out "
            f"scores are too few to fit a tail to (wanted {tail.LEAST_PEAKS}; record longer, or "
            "lower --set level)"
        )
    parameters = {"level": level, "peaks": len(excess)}
    if held_out.allowed >= len(excess):
        # There is nothing to extrapolate: excursions over the level are rarer than the request.
        allowed = math.floor(held_out.allowed)
        value = lowest(held_out.opening, held_out.highest, allowed, held_out.window)
        promise = f"at most {held_out.requested:g} false alarms per day on held-out scores"
        return Proposal(max(LEAST, value), promise, parameters)
    shape, scale = tail.fit(excess[None])
    ratio = np.array([held_out.allowed / len(excess)])
    gamma, sigma = float(shape[0]), float(scale[0])
    return Proposal(
        max(LEAST, level + float(tail.exceeded(ratio, shape, scale)[0])),
        f"{held_out.requested:g} false alarms per day by a Pareto tail of {len(excess)} excursions",
        {**parameters, "gamma": gamma, "sigma": sigma},
        caution=f"the tail is heavy (gamma {gamma:.2g}, over 0.5): what it promises is vague"
        if gamma > 0.5
        else "",
    )
