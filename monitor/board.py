"""What is known of every asset of a stream right now, for metrics and the state topic."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from models.frame import NEVER, Codes, Coverage, Floats, Ints, grown


class State(IntEnum):
    """What an asset is doing."""

    WARMING = 0
    NORMAL = 1
    PENDING = 2
    ANOMALOUS = 3
    IDLE = 4
    NO_DATA = 5
    UNSCORABLE = 6
    UNCALIBRATED = 7

    @property
    def label(self) -> str:
        """The name on topics and in metrics."""
        return self.name.lower().replace("_", "-")


@dataclass(slots=True)
class Board:
    """The latest of every asset of a stream, for metrics and the state topic.

    Args:
        state: a State, shape (assets,).
        score: NaN while not scored, shape (assets,).
        time: of the newest frame, nanoseconds, shape (assets,).
        share, value, expected: shape (assets, sensors).
        read: event time of the newest reading, NEVER without, shape (assets, sensors).
        heard: arrival of the newest reading, shape (assets,).
        coverage: a Coverage, shape (assets,).
    """

    state: Codes
    score: Floats
    time: Ints
    share: Floats
    value: Floats
    expected: Floats
    read: Ints
    heard: Ints
    coverage: Codes

    @classmethod
    def empty(cls, sensors: int) -> "Board":
        """A board without assets."""
        wide = np.empty((0, sensors))
        return cls(
            np.empty(0, np.uint8),
            np.empty(0),
            np.empty(0, np.int64),
            wide,
            wide,
            wide,
            wide.astype(np.int64),
            np.empty(0, np.int64),
            np.empty(0, np.uint8),
        )

    def ensure(self, assets: int) -> None:
        """Make room for asset indices below `assets`."""
        if assets <= len(self.state):
            return
        rows = max(assets, 2 * len(self.state), 16)
        # Who reads along counts the assets by the states, so these are the last to grow.
        for name in reversed([*self.__slots__]):
            array = getattr(self, name)
            fill = {"read": NEVER, "time": NEVER, "coverage": int(Coverage.WARMING)}.get(
                name, np.nan if array.dtype == np.float64 else 0
            )
            setattr(self, name, grown(array, rows, fill))
