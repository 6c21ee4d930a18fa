"""Frames → windows: the newest frames of every asset of a stream."""

import numpy as np

from models.frame import Float32s, Ints, grown


class WindowRing:
    """The last L scaled frames of many assets, float32, each window one contiguous slice.

    A frame is written twice, L rows apart, so that no window ever wraps.
    """

    def __init__(self, window: int, sensors: int) -> None:
        self._window = window
        self._rows = np.empty((0, 2 * window, sensors), np.float32)
        self._next = np.empty(0, np.int64)

    def push(self, asset: Ints, frames: Float32s) -> None:
        """Append one frame to each of some distinct assets, frames of shape (assets, sensors)."""
        if len(asset) and asset.max() >= len(self._next):
            rows = max(int(asset.max()) + 1, 2 * len(self._next), 16)
            self._rows, self._next = grown(self._rows, rows, 0), grown(self._next, rows, 0)
        at = self._next[asset]
        self._rows[asset, at] = frames
        self._rows[asset, at + self._window] = frames
        self._next[asset] = (at + 1) % self._window

    def windows(self, asset: Ints) -> Float32s:
        """Windows of some assets, oldest frame first, shape (assets, window, sensors)."""
        at = self._next[asset][:, None] + np.arange(self._window)
        return self._rows[asset[:, None], at]
