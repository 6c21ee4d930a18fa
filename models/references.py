"""Two plain detectors beside the network: what normal windows of other stretches alone can tell.

Both are called with the normal windows, float32 of shape (N, L, m), and the stretch each is from,
shape (N,), and return the strangeness (N,) of as many windows, each seen from other stretches only.
"""

from collections.abc import Callable
from typing import cast

import numpy as np

from models.detector import LEAST_ERROR
from models.frame import Float32s, Floats, Ints

Distance = Callable[[Float32s], Floats]


def nearest_window(windows: Float32s, stretch: Ints) -> Distance:
    """Squared distance to the nearest normal window: knows shapes in time."""
    known = windows.reshape(len(windows), -1).astype(np.float64)  # (N, L*m)
    power = np.square(known).sum(axis=1)
    own = stretch[:, None] == stretch

    def distance(strange: Float32s) -> Floats:
        flat = strange.reshape(len(strange), -1).astype(np.float64)
        squares = np.square(flat).sum(axis=1)[:, None] + power - 2 * (flat @ known.T)
        return np.where(own, np.inf, squares).min(axis=1)

    return distance


def neighbouring_frames(windows: Float32s, stretch: Ints) -> Distance:
    """Mean Mahalanobis distance of two frames in a row: knows how sensors and steps are related."""
    halves = [stretch % 2 == half for half in (0, 1)]
    gaussians: list[tuple[Floats, Floats]] = []
    for half in halves:
        pairs = _pairs(windows[~half]).reshape(-1, 2 * windows.shape[2])
        covariance = np.cov(pairs.T) + LEAST_ERROR * np.eye(pairs.shape[1])
        gaussians.append((pairs.mean(axis=0), cast(Floats, np.linalg.inv(covariance))))

    def distance(strange: Float32s) -> Floats:
        found = np.empty(len(strange))
        for half, (mean, precision) in zip(halves, gaussians, strict=True):
            apart = _pairs(strange[half]) - mean  # (n, L-1, 2m)
            found[half] = ((apart @ precision) * apart).sum(axis=2).mean(axis=1)
        return found

    return distance


def _pairs(windows: Float32s) -> Floats:
    """Each frame with the one before it, (n, L-1, 2m)."""
    return np.concatenate((windows[:, 1:], windows[:, :-1]), axis=2).astype(np.float64)
