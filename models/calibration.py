"""What a network's errors on normal windows say: error statistics, and scores for the threshold."""

from collections.abc import Sequence
from typing import cast

import numpy as np

from models.decision import Decision, Rule
from models.detector import LEAST_ERROR, Score, mahalanobis, mean_square, scale
from models.frame import Float32s, Floats, Ints
from models.runtime import TorchRuntime
from models.training import Fitted, Split


def error_statistics(
    values: Floats, window: int, folds: Sequence[tuple[Fitted, Split]], score: Score, tail: int
) -> tuple[Floats, Floats | None, Floats | None]:
    """Normal error per sensor, pooled over the folds' validation windows.

    Returns:
        Mean square of the newest `tail` frames (sensors,); for the Mahalanobis score also mean
        (sensors,) and inverse covariance (sensors, sensors) of absolute residuals of all frames,
        Ledoit-Wolf shrunk in units of each sensor's own deviation.
    """
    per_fold = [errors(fitted, values, split.validation, window) for fitted, split in folds]
    together = np.concatenate(
        [found[:, -tail:].mean(axis=1, dtype=np.float64) for found in per_fold]
    )
    error_scale = np.maximum(together.mean(axis=0), LEAST_ERROR)
    if score != "mahalanobis":
        return error_scale, None, None
    from sklearn import covariance as shrinkage

    absolute = np.sqrt(
        np.concatenate([found.reshape(-1, found.shape[2]) for found in per_fold]).astype(np.float64)
    )
    mean, deviation = absolute.mean(axis=0), np.maximum(absolute.std(axis=0), LEAST_ERROR**0.5)
    covariance = cast(Floats, shrinkage.ledoit_wolf((absolute - mean) / deviation)[0])
    return error_scale, mean, np.linalg.inv(covariance) / np.outer(deviation, deviation)


def errors(fitted: Fitted, values: Floats, ends: Ints, window: int) -> Float32s:
    """The network's errors on some windows, shape (windows, L, sensors)."""
    frames = scale(values, fitted.center, fitted.spread)
    run = TorchRuntime(fitted.network)
    return np.concatenate(
        [
            run(frames[ends[start : start + 1024, None] + np.arange(1 - window, 1)])[1]
            for start in range(0, len(ends), 1024)
        ]
    )


def score_errors(
    found: Float32s,
    score: Score,
    tail: int,
    error_scale: Floats,
    error_mean: Floats | None,
    precision: Floats | None,
) -> Floats:
    """Scores without a threshold, shape (windows,)."""
    if error_mean is not None and precision is not None and score == "mahalanobis":
        return mahalanobis(found, error_mean, precision)[0]
    return mean_square(found, error_scale, tail)[0]


def smoothed(raw: Floats, ends: Ints, rule: Rule) -> list[Floats]:
    """The rule's trailing mean over each unbroken stretch of windows, frames one after another."""
    order = np.argsort(ends)
    raw, ends = raw[order], ends[order]
    breaks = np.r_[True, np.diff(ends) != 1]
    verdicts = Decision(rule).step(np.zeros(len(ends), np.int64), ends, raw, breaks)
    return np.split(verdicts.score, np.flatnonzero(breaks)[1:])
