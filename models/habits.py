"""What each sensor normally does: how long it keeps one value, and between which values it lies."""

from collections.abc import Sequence

import numpy as np

from models.manifest import HabitSpec, SensorSpec
from models.recording import Track
from models.runs import Runs

# Of normal readings, so many lie below the range and as many above: a single spike widens nothing.
OUTSIDE = 0.001


def habits_of(tracks: Sequence[Track]) -> list[HabitSpec | None]:
    """The habits of each sensor, None where it has no normal reading.

    Readings count that are measured and not labelled anomalous, while the machine runs.
    """
    longest = np.zeros(tracks[0].frames.values.shape[1], np.int64)
    normal: list[np.ndarray] = []
    for track in tracks:
        frames = track.frames
        counted = (frames.age == 0) & ~(frames.idle | (track.label > 0))[:, None]
        count, _ = Runs(len(longest)).step(track.part, frames.tick, frames.values, counted)
        longest = np.maximum(longest, count.max(axis=0, initial=0))
        normal.append(np.where(counted, frames.values, np.nan))
    found: list[HabitSpec | None] = []
    for column, most in zip(np.concatenate(normal).T, longest.tolist(), strict=True):
        values = column[~np.isnan(column)]
        if not len(values):
            found.append(None)
            continue
        low, high = np.quantile(values, (OUTSIDE, 1 - OUTSIDE)).tolist()
        flat = most if values.min() < values.max() else None
        found.append(HabitSpec(flat=flat, low=low, high=high))
    return found


def widened(sensors: Sequence[SensorSpec], tracks: Sequence[Track]) -> list[SensorSpec]:
    """The sensors with what they do in further normal data added to what was known of them."""
    return [
        sensor.model_copy(update={"habit": _wider(sensor.habit, seen)})
        for sensor, seen in zip(sensors, habits_of(tracks), strict=True)
    ]


def _wider(known: HabitSpec | None, seen: HabitSpec | None) -> HabitSpec | None:
    if known is None or seen is None:
        return known
    flat = None if known.flat is None or seen.flat is None else max(known.flat, seen.flat)
    return HabitSpec(flat=flat, low=min(known.low, seen.low), high=max(known.high, seen.high))
