"""The upper tail of smoothed scores: excursions as the decision sees them, and a law for them.

Window scores smear: one strange frame lifts the scores of all windows it lies in. So what is
counted and fitted is the peak of each excursion, never the single score.
"""

import math

import numpy as np

from models.frame import Floats

# Excesses that a prior of an exponential tail weighs as much as.
PRIOR = 10
# With fewer excursions the shape of a tail is anybody's guess.
LEAST_PEAKS = 10


def opening(scores: Floats, need: int, of: int) -> Floats:
    """Per frame the highest threshold at which an alarm would be open there.

    An alarm opens when `need` of the last `of` smoothed scores are over the threshold, that is
    when the need-th largest of them is.

    Args:
        scores: of an unbroken stretch, shape (frames,).
        need, of: as in `decision.Rule`.
    """
    padded = np.concatenate((np.full(of - 1, -np.inf), scores))
    recent = np.lib.stride_tricks.sliding_window_view(padded, of)
    return np.sort(recent, axis=1)[:, -need]


def peaks(opening: Floats, level: float, gap: int) -> Floats:
    """The highest number of each excursion over a level, in order of time.

    Frames over the level belong to one excursion while they lie less than `gap` apart.
    """
    over = np.flatnonzero(opening > level)
    if not len(over):
        return np.empty(0)
    first = np.flatnonzero(np.r_[True, np.diff(over) >= gap])
    return np.maximum.reduceat(opening[over], first)


def fit(
    excess: Floats, missing: Floats | float = 0.0, beyond: Floats | float = 0.0
) -> tuple[Floats, Floats]:
    """Shape and scale of generalised Pareto laws, one for each row of excesses.

    The mean of the posterior over a grid (Zhang & Stephens 2009, Technometrics 51(3)): no
    iteration, and right for tails of every weight. Few excesses often look bounded where they are
    not, so the shape is drawn towards 0 with the weight of PRIOR excesses, as Vehtari et al. (2024,
    JMLR 25(72)) draw it towards 0.5.

    Args:
        excess: over 0, at least one in each row, NaN where there is none, shape (rows, n).
        missing, beyond: how many more excesses there were than are given, all of them over a
            height, shape (rows,); they enter by the probability of that.

    Returns:
        Shape and scale, shape (rows,) each: P(excess > x) = (1 + shape x / scale)^(-1 / shape).
    """
    ordered = np.sort(excess, axis=1)
    count = (~np.isnan(ordered)).sum(axis=1)
    row = np.arange(len(ordered))
    largest = np.maximum(ordered[row, count - 1], beyond)
    quartile = ordered[row, np.maximum((count + 2) // 4, 1) - 1]
    ordered = np.where(np.isnan(ordered), 0.0, ordered)  # adds log(1 + 0)

    def logs(theta: Floats) -> tuple[Floats, Floats]:
        """Sum of log(1 - theta x) over the given excesses, and the shape that theta leads to."""
        total = np.log1p(-theta[:, None] * ordered).sum(axis=1)
        return total, (total + missing * np.log1p(-theta * beyond)) / count

    size = 30 + math.isqrt(ordered.shape[1])
    step = 1 - np.sqrt(size / (np.arange(size) + 0.5))
    thetas = 1 / largest[:, None] + step / (3 * quartile[:, None])  # (rows, size)
    thetas = np.where(thetas == 0, 1e-9 / largest[:, None], thetas)
    totals, shapes = np.stack([logs(theta) for theta in thetas.T], axis=2)
    profile = count[:, None] * np.log(-thetas / shapes) - totals
    weight = np.exp(profile - profile.max(axis=1, keepdims=True))
    theta = (thetas * weight).sum(axis=1) / weight.sum(axis=1)
    shape = logs(theta)[1]
    return shape * count / (count + PRIOR), -shape / theta


def exceeded(ratio: Floats, shape: Floats, scale: Floats) -> Floats:
    """The excess that a share `ratio` of all excesses exceeds."""
    nearly_0 = np.abs(shape) < 1e-9
    safe = np.where(nearly_0, 1.0, shape)
    logarithm = -np.log(ratio)
    return scale * np.where(nearly_0, logarithm, np.expm1(safe * logarithm) / safe)
