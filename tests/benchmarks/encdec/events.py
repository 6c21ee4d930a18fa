"""Recordings with one event: the Space Shuttle's valve and an electrocardiogram."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.frame import Bools, Floats, Ints
from models.plan import Settings
from models.recording import read
from tests.benchmarks.encdec.model import Model


@dataclass(frozen=True, slots=True)
class Case:
    """A recording with one event; no vN2 and no vA, as in the paper's electrocardiogram.

    Args:
        values: the recording, then what else is trained on, shape (points, sensors).
        label: which points of the recording are anomalous; of it alone.
        window: points of a window (L).
        sn, vn1, judged: ends of windows.
        settings: of the training.
    """

    values: Floats
    label: Bools
    window: int
    sn: Ints
    vn1: Ints
    judged: Ints
    settings: Settings


@dataclass(frozen=True, slots=True)
class Found:
    """What was found of the event.

    Args:
        threshold: the highest score of a point of vN1.
        event: the highest score of a labelled point.
        normal: the highest score of another point of the recording.
        window_threshold, window_event: the highest mean score of a window of vN1, and of one that
            holds a labelled point.
    """

    threshold: float
    event: float
    normal: float
    window_threshold: float
    window_event: float


def valve(folder: Path, name: str, other: str) -> Case:
    """A valve's recording, for a network that is trained on another one's normal windows.

    Windows of 1500 rows, 1.5 cycles, every 500, by means of 3.
    """
    (mine, label), (others, leave) = thirds(folder, name), thirds(folder, other)
    window = 500
    judged = np.minimum(np.arange(0, 3501, 500) // 3 + window - 1, len(mine) - 1)
    sn = without(leave, np.arange(window - 1, len(others), 2), window)
    return Case(
        np.concatenate((mine, others)),
        label,
        window,
        sn + len(mine),
        without(label, judged, window),
        judged,
        Settings(epochs=200, patience=200, batch=16, lr=5e-3),
    )


def thirds(folder: Path, name: str) -> tuple[Floats, Bools]:
    """Means of 3 rows of a valve's recording (points, 1), and which hold a labelled row."""
    recording = read(folder / f"shuttle_marotta_{name}.csv.gz", rows=(0, 4998))
    assert recording.label is not None
    label: Bools = recording.label.reshape(-1, 3).max(axis=1) > 0
    return recording.values.reshape(-1, 3, 1).mean(axis=1), label


def without(label: Bools, ends: Ints, window: int) -> Ints:
    """The windows that hold no labelled point."""
    return ends[~holds(label, ends, window)]


def holds(label: Bools, ends: Ints, window: int) -> Bools:
    """Which windows hold a labelled point."""
    before = np.cumsum(np.r_[0, label])
    return before[ends + 1] > before[ends + 1 - window]


def heart(folder: Path) -> Case:
    """An electrocardiogram of two leads: its first 36 s are judged, what follows is normal."""
    recording = read(folder / "ecg_qtdbsel102.csv.gz")
    assert recording.label is not None
    window, first, second = 208, 9000, 34200
    return Case(
        recording.values,
        recording.label[:first] > 0,
        window,
        np.arange(first + window - 1, second, window // 4),
        np.arange(second + window - 1, len(recording.values), window),
        np.arange(window - 1, first, window // 4),
        Settings(epochs=150, patience=150, batch=16, lr=5e-3),
    )


CASES: dict[str, Callable[[Path], Case]] = {
    "tek14": lambda folder: valve(folder, "tek14", "tek17"),
    "tek17": lambda folder: valve(folder, "tek17", "tek14"),
    "qtdbsel102": heart,
}


def judge(model: Model, case: Case) -> Found:
    """Hold the event against the normal windows."""
    curve = model.curve(case.judged)[: len(case.label)]
    normal = model.scores(case.vn1)
    windows = model.scores(case.judged).mean(axis=1)
    return Found(
        float(np.nanmax(model.curve(case.vn1))),
        float(np.nanmax(curve[case.label])),
        float(np.nanmax(curve[~case.label])),
        float(normal.mean(axis=1).max()),
        float(windows[holds(case.label, case.judged, case.window)].max()),
    )
