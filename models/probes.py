"""Windows that are not normal, made of normal ones: how well a detector tells them apart.

The limit of autoencoders: one trained on normal data alone may rebuild anything. Such an identity
map scores noise and exchanged sensors no higher than the normal windows they are made of.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from models.detector import Detector
from models.frame import Bools, Float32s, Floats, Ints
from models.manifest import ProbeSpec
from models.references import nearest_window, neighbouring_frames

TOLD = 0.95  # AUC from which windows count as told from normal ones
LEAST_MOVE = 0.1  # spreads; a sensor that normally moves less is as good as constant
LEAST_SWAP = 1.0  # spreads; sensors that differ by less are twins, as far as normal data say
ROUNDING = 1e-3  # on the 1.0 scale; lower scores are rounding and no order
MOST_WINDOWS, MOST_CELLS = 512, 1 << 22


@dataclass(frozen=True, slots=True)
class Normal:
    """Normal windows, scaled, from several stretches.

    Args:
        windows: float32 of shape (N, L, m).
        stretch: which stretch a window is from, shape (N,).
        raw: its score, shape (N,).
        row: the calibration's row it is scored with, shape (N,).
        moves: sensors that are not constant, shape (m,).
        partner: the sensor each is exchanged with; itself where it has only twins, shape (m,).
    """

    windows: Float32s
    stretch: Ints
    raw: Floats
    row: Ints
    moves: Bools
    partner: Ints


def normal_windows(frames: Float32s, raw: Floats, row: Ints) -> Normal:
    """Windows at even distances from scaled stretches.

    Args:
        frames: float32 of shape (stretches, frames, m).
        raw: score of every window, shape (stretches, frames - L + 1).
        row: of each stretch, shape (stretches,).
    """
    stretches, sensors = len(raw), frames.shape[2]
    ends: int = raw.shape[1]
    length = frames.shape[1] - ends + 1
    each = max(2, min(MOST_WINDOWS, MOST_CELLS // (length * sensors)) // stretches)
    at: Ints = np.unique(np.linspace(0, ends - 1, each).astype(np.int64))
    windows = frames[:, at[:, None] + np.arange(length)]  # (stretches, each, L, m)
    moves = frames.std(axis=(0, 1), dtype=np.float64) >= LEAST_MOVE
    return Normal(
        windows.reshape(-1, length, sensors),
        np.repeat(np.arange(stretches), len(at)),
        raw[:, at].ravel(),
        np.repeat(row, len(at)),
        moves,
        partners(frames.reshape(-1, sensors).astype(np.float64), moves),
    )


def partners(frames: Floats, moves: Bools) -> Ints:
    """Pairs of sensors to exchange, the least alike first; twins and constant ones stay.

    Scaled frames (n, m) it is, so that neither level nor unit gives an exchange away.
    """
    partner = np.arange(len(moves))
    apart = differences(frames)
    apart[~moves] = apart[:, ~moves] = 0.0
    while apart.max() >= LEAST_SWAP:
        one, other = divmod(int(apart.argmax()), len(moves))
        partner[[one, other]] = other, one
        apart[[one, other]] = apart[:, [one, other]] = 0.0
    return partner


def differences(frames: Floats) -> Floats:
    """Root mean square difference of each two sensors of frames (n, m), shape (m, m)."""
    mean = frames.mean(axis=0)
    covariance = np.atleast_2d(np.cov(frames.T, bias=True))
    variance = covariance.diagonal()
    between = variance[:, None] + variance - 2 * covariance + np.square(mean[:, None] - mean)
    return np.sqrt(np.maximum(between, 0.0))


Probe = Callable[[Normal, np.random.Generator], Float32s]


def white_noise(of: Normal, random: np.random.Generator) -> Float32s:
    """Gaussian noise with each moving sensor's center and spread."""
    windows = of.windows.copy()
    windows[..., of.moves] = random.standard_normal(windows[..., of.moves].shape, np.float32)
    return windows


def sensor_swap(of: Normal, random: np.random.Generator) -> Float32s:
    """The sensors exchanged in pairs."""
    del random
    return of.windows[..., of.partner]


def shuffled(of: Normal, random: np.random.Generator) -> Float32s:
    """Each window's frames in another order."""
    count, length = of.raw.size, len(of.windows[0])
    order = random.permuted(np.tile(np.arange(length), (count, 1)), axis=1)
    return np.take_along_axis(of.windows, order[..., None], axis=1)


def time_reversed(of: Normal, random: np.random.Generator) -> Float32s:
    """Each window backwards."""
    del random
    return of.windows[:, ::-1]


def constant(of: Normal, random: np.random.Generator) -> Float32s:
    """Each window's newest frame throughout."""
    del random
    return np.repeat(of.windows[:, -1:], of.windows.shape[1], axis=1)


PROBES: Final[dict[str, Probe]] = {
    "white-noise": white_noise,
    "sensor-swap": sensor_swap,
    "shuffled": shuffled,
    "time-reversed": time_reversed,
    "constant": constant,
}


def probe(detector: Detector, of: Normal) -> dict[str, ProbeSpec]:
    """Score every probe's windows against the normal ones.

    A probe applies where the detector or one of two plain references tells it from normal windows.
    Where none does it says nothing about the data, such as the reversal of a symmetric signal.
    """
    references = [
        (distance, distance(of.windows))
        for distance in (
            nearest_window(of.windows, of.stretch),
            neighbouring_frames(of.windows, of.stretch),
        )
    ]
    usual = _ordered(of.raw)
    found: dict[str, ProbeSpec] = {}
    for name, make in PROBES.items():
        windows = _made(make, of)
        own = auc(_ordered(detector.score_windows(windows, of.row).raw), usual)
        best = max(auc(distance(windows), known) for distance, known in references)
        verdict = "told" if own >= TOLD else "not told" if best >= TOLD else "not applicable"
        found[name] = ProbeSpec(auc=round(own, 4), verdict=verdict)
    return found


def rebuilt(detector: Detector, of: Normal) -> tuple[float, float]:
    """Share of the power in the moving sensors that the network rebuilds: of normal, of noise."""
    return (
        _rebuilt(detector, of.windows, of.moves),
        _rebuilt(detector, _made(white_noise, of), of.moves),
    )


def _rebuilt(detector: Detector, windows: Float32s, moves: Bools) -> float:
    if not moves.any():
        return 0.0
    expected = detector.runtime(windows).expected
    given = windows[..., moves].astype(np.float64)
    lost = np.square(given - expected[..., moves]).mean() / np.square(given).mean()
    return max(0.0, float(1 - lost))


def auc(strange: Floats, normal: Floats) -> float:
    """Chance that a strange one is larger than a normal one; ties count half."""
    ordered = np.sort(normal)
    rank = np.searchsorted(ordered, strange) + np.searchsorted(ordered, strange, "right")
    return float(rank.mean() / (2 * len(ordered)))


def _made(make: Probe, of: Normal) -> Float32s:
    return np.ascontiguousarray(make(of, np.random.default_rng(0)))


def _ordered(raw: Floats) -> Floats:
    """Scores that can be ranked; a window that cannot be scored is no finding."""
    return np.maximum(np.nan_to_num(raw), ROUNDING)
