"""What several benchmarks share."""

import numpy as np

from models.frame import Float32s, Floats
from models.runtime import Outputs


def squared(windows: Float32s) -> Outputs:
    """The runtime of a network that expects every sensor at its center."""
    return Outputs(np.zeros_like(windows), np.square(windows))


def spread_of(values: Floats) -> dict[str, float]:
    return {
        "median": float(np.median(values)),
        "least": float(values.min()),
        "most": float(values.max()),
    }


def shown(values: Floats, digits: int) -> str:
    return f"{np.median(values):8.{digits}f} ({values.min():.{digits}f}–{values.max():.{digits}f})"
