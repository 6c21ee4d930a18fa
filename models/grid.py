"""The grid that readings are put on, and arrays with one row per asset.

Times are integer nanoseconds since the epoch, so ticks are exact.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from models.running import Condition

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Float32s = NDArray[np.float32]
Codes = NDArray[np.uint8]
Bools = NDArray[np.bool_]

T = TypeVar("T", bound=np.generic)

SECOND = 1_000_000_000
# Before and after any time until 2100; NEVER is far enough from the limit of int64 to be doubled.
NEVER, FOREVER = -(2**60), 2**62


@dataclass(frozen=True, slots=True)
class Grid:
    """How readings become frames and frames become windows.

    Args:
        period: time between frames, nanoseconds.
        window: frames in a window (L).
        max_hold: ticks a sensor's last value is held over.
        max_held: share of a window's cells that may be held longer than one tick.
        running: when the machine runs; None = always. A frame in which it is known not to is idle.
        settle: how long the machine must have been seen running before a frame counts, nanoseconds;
            until then it belongs to the idleness, the gap or the beginning that it came from.
    """

    period: int
    window: int
    max_hold: int = 3
    max_held: float = 0.2
    running: Condition | None = None
    settle: int = 0

    @property
    def default_lateness(self) -> int:
        """min(2 periods, 5 s), in nanoseconds."""
        return min(2 * self.period, 5 * SECOND)

    def tick(self, time: Ints) -> Ints:
        """The tick k of each time: [kP - P/2, kP + P/2)."""
        return (2 * time + self.period) // (2 * self.period)

    @property
    def settle_ticks(self) -> int:
        """Frames from a start that do not count yet: those of [start, start + settle)."""
        return -(-self.settle // self.period)

    @property
    def idleness(self) -> str | None:
        """When a machine is idle, in words; None = never."""
        if self.running is None:
            return None
        settle = f" for {self.settle / SECOND:g} s" if self.settle else ""
        return f"idle unless {self.running.text}{settle}"

    def idle(self, values: Floats) -> Bools:
        """Whether the machine is known not to run, values of shape (frames, sensors)."""
        if self.running is None:
            return np.zeros(len(values), bool)
        return self.running.truth(values) < 0

    def last_ended(self, time: Ints) -> Ints:
        """The newest tick whose end is at or before each time."""
        return (2 * time - self.period) // (2 * self.period)


def grown(array: NDArray[T], rows: int, fill: float) -> NDArray[T]:
    """The array with its first axis lengthened to `rows`, the new part filled."""
    out = np.full((rows, *array.shape[1:]), fill, dtype=array.dtype)
    out[: len(array)] = array
    return out


def rounds(asset: Ints) -> Iterator[Ints]:
    """Split rows sorted by asset into rounds that hold each asset at most once, in order."""
    if not len(asset):
        return
    first = starts_of(asset)
    length = np.diff(np.append(first, len(asset)))
    for turn in range(int(length.max())):
        yield first[length > turn] + turn


def starts_of(*sorted_keys: Ints) -> Ints:
    """Index of the first row of every run of equal keys."""
    change = np.zeros(len(sorted_keys[0]), dtype=bool)
    change[:1] = True
    for key in sorted_keys:
        change[1:] |= key[1:] != key[:-1]
    return np.flatnonzero(change)
