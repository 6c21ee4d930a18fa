"""Scores of normal operation, without a network."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from models.decision import Rule
from models.frame import Floats
from models.threshold import HeldOut

RULE = Rule()


def held_out(series: Sequence[Sequence[float] | Floats], **changes: Any) -> HeldOut:
    """Held-out scores of three sensors at 1 Hz."""
    given: dict[str, Any] = {
        "rule": RULE,
        "period_s": 1.0,
        "window": 64,
        "requested": 0.1,
        "sensors": 3,
    }
    return HeldOut([np.array(scores) for scores in series], **{**given, **changes})
