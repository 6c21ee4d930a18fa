"""The daemon's clock: wall time that never goes back."""

import time


class Clock:
    """Runs with the monotonic clock, and follows the wall clock only forward.

    Where the wall clock steps back, as after the first synchronisation of a box without a battery,
    arrival times would too, and every reading would be late for the length of the step.
    """

    def __init__(self) -> None:
        self._ahead = time.time_ns() - time.monotonic_ns()

    def now(self) -> int:
        """Nanoseconds since the epoch."""
        monotonic = time.monotonic_ns()
        self._ahead = max(self._ahead, time.time_ns() - monotonic)
        return monotonic + self._ahead
