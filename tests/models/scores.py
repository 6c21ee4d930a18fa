"""Scores of normal operation, without a network, and the alarms they raise."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import signal

from models.decision import Decision, Rule
from models.detector import mean_square
from models.frame import Bools, Floats
from models.threshold import HeldOut, ThresholdSettings, threshold_of

RULE = Rule()
WINDOW, TAIL, SENSORS = 30, 20, 3

# Residuals of a sensor, by the weight of their tail.
TAILS: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Floats]] = {
    "half-normal": lambda rng, shape: rng.normal(size=shape),
    "exponential": lambda rng, shape: rng.laplace(size=shape),
    "heavy (t5)": lambda rng, shape: rng.standard_t(5, size=shape),
}


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


def raw_scores(tail: str, stretches: int, frames: int, seed: int, memory: float = 0.0) -> Floats:
    """Unsmoothed scores of windows of noise at 1 Hz, shape (stretches, frames).

    Args:
        tail: a name in TAILS.
        stretches, frames: how many, and how many frames in each.
        seed: of the noise.
        memory: of the autoregressive noise; 0 = every frame for itself.
    """
    rng = np.random.default_rng(seed)
    found = np.empty((stretches, frames))
    for one in range(stretches):
        noise = TAILS[tail](rng, (frames + 100 + TAIL - 1, SENSORS))
        if memory:
            noise = np.array(signal.lfilter([1.0], [1.0, -memory], noise, axis=0))
        error = np.square(noise[100:]).astype(np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(error, TAIL, axis=0).transpose(0, 2, 1)
        found[one] = mean_square(windows, np.ones(SENSORS), TAIL)[0]
    return found


def decided(raw: Floats) -> tuple[Floats, Bools]:
    """Smoothed scores, and where a verdict is open, both of shape (stretches, frames)."""
    stretches, frames = raw.shape
    asset, tick = np.repeat(np.arange(stretches), frames), np.tile(np.arange(frames), stretches)
    verdicts = Decision(RULE).step(asset, tick, raw.ravel(), tick < 0)
    return verdicts.score.reshape(raw.shape), verdicts.anomalous.reshape(raw.shape)


def realised(
    tail: str,
    asked: Sequence[tuple[str, float]],
    *,
    days: float,
    unseen: int,
    seed: int = 0,
    memory: float = 0.0,
) -> dict[tuple[str, float], float]:
    """False alarms per day raised over those asked for, by rule and request.

    Args:
        tail: a name in TAILS.
        asked: rules and requests.
        days: of held-out data.
        unseen: how many days to count alarms on.
        seed: of all noise.
        memory: of the noise.
    """
    normal, _ = decided(raw_scores(tail, 100, round(864 * days), seed, memory))
    fresh = raw_scores(tail, 200, 432 * unseen, seed + 1, memory)
    found: dict[tuple[str, float], float] = {}
    for rule, requested in asked:
        settings = ThresholdSettings(rule)
        given = held_out([*normal], window=WINDOW, requested=requested, settings=settings)
        _, is_open = decided(fresh / threshold_of(given).value)
        alarms = (np.diff(is_open.astype(np.int8), axis=1, prepend=0) > 0).sum()
        found[rule, requested] = float(alarms) / unseen / requested
    return found
