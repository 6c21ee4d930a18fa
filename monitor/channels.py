"""The sensors of a stream as alerts speak of them."""

from dataclasses import dataclass

import numpy as np

from models.frame import Floats, Ints
from monitor.alert import MOST_SENSORS, SensorEvidence, number


@dataclass(frozen=True, slots=True)
class Channels:
    """The sensors of a stream.

    Args:
        names, units: one for each.
        low, high: what is outside is rejected, shape (sensors,).
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    low: Floats
    high: Floats

    @classmethod
    def plain(cls, *names: str) -> "Channels":
        """Sensors without units and limits."""
        wide = np.full(len(names), np.inf)
        return cls(names, ("",) * len(names), -wide, wide)

    def reading(self, value: float, sensor: int) -> str:
        """A sensor's value with its unit."""
        return number(float(value), self.units[sensor])

    def beyond(self, sensor: int) -> str:
        """Where a sensor's rejected readings lie."""
        low, high = self.low[sensor], self.high[sensor]
        if np.isinf(low):
            return f"above {self.reading(high, sensor)}"
        if np.isinf(high):
            return f"below {self.reading(low, sensor)}"
        return f"outside {low:g} to {self.reading(high, sensor)}"

    def evidence(
        self, which: Ints, actual: Floats | None = None, expected: Floats | None = None
    ) -> tuple[SensorEvidence, ...]:
        """Some sensors, by their indices, with what they read and should read where known."""

        def at(values: Floats | None, j: int) -> float | None:
            return None if values is None or np.isnan(values[j]) else float(values[j])

        names, units = self.names, self.units
        chosen: list[int] = which[:MOST_SENSORS].tolist()
        return tuple(
            SensorEvidence(names[j], units[j], expected=at(expected, j), actual=at(actual, j))
            for j in chosen
        )
