"""Stretches of held-out normal frames: the sample a bundle carries, of which its audit is made."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from safetensors import numpy as tensors

from models.calibration import Fold
from models.decision import Rule
from models.detector import Detector, scale
from models.frame import Floats, Ints
from models.split import NormalFrames

MOST_STRETCHES, FEWEST_STRETCHES = 8, 2
MOST_BYTES = 1 << 20  # of frames; the fewest stretches are taken whatever their size
SHORTEST_FAULT, LONGEST_FAULT = 64, 256  # frames, however long a window is


@dataclass(frozen=True, slots=True)
class Stretches:
    """Unbroken normal frames that the network, or the fold that stands for it, did not fit.

    Args:
        values: in the sensors' units, float64 of shape (stretches, frames, sensors).
        raw: unsmoothed score of every window as it was when the threshold was set, of shape
            (stretches, frames - L + 1).
        row: of the calibration that scores a stretch, shape (stretches,).
    """

    values: Floats
    raw: Floats
    row: Ints


def stored(golden: bytes) -> Stretches | None:
    """The sample in a bundle's verified `golden.safetensors`; None where it has none."""
    found = tensors.load(golden)
    if "normal" not in found:
        return None
    return Stretches(found["normal"], found["normal_raw"], found["normal_row"])


def lead(rule: Rule) -> int:
    """Windows before a fault after which the decision no longer depends on where it started."""
    return rule.smooth + rule.of - 1


def sample(detector: Detector, folds: Sequence[Fold], normal: NormalFrames) -> Stretches | None:
    """Some stretches of the windows that set the threshold, spread over all of them.

    A stretch has room for a fault of two windows' length; where the data are too broken for that,
    of a half or a quarter of it. None where not even two such stretches are whole.

    Args:
        detector: for the calibrations.
        folds: networks and what they have not seen.
        normal: the frames.
    """
    length = detector.grid.window
    fault = min(max(2 * length, SHORTEST_FAULT), LONGEST_FAULT)
    found: list[tuple[Fold, Ints]] = []
    windows = 0
    for part in (1, 2, 4):
        windows = lead(detector.rule) + fault // part
        found = [
            (fold, block) for fold in folds for block in _blocks(fold.split.calibration, windows)
        ]
        if len(found) >= FEWEST_STRETCHES:
            break
    if len(found) < FEWEST_STRETCHES:
        return None
    size = (windows + length - 1) * normal.sensors * np.dtype(np.float64).itemsize
    most = max(FEWEST_STRETCHES, min(MOST_STRETCHES, MOST_BYTES // size))
    chosen: Ints = np.unique(np.linspace(0, len(found) - 1, most).astype(np.int64))
    values: list[Floats] = []
    raw: list[Floats] = []
    rows: list[int] = []
    for fold, ends in (found[int(index)] for index in chosen):
        asset = ("", *normal.assets)[int(normal.row[ends[0]])]
        row = detector.calibration.row_of(asset)
        scaling = int(normal.row[ends[0]]) if row else 0
        stretch = normal.values[ends[0] - length + 1 : ends[-1] + 1]
        frames = scale(stretch, fold.center[scaling], fold.spread[scaling])
        values.append(stretch)
        raw.append(
            replace(detector, runtime=fold.run)
            .score_windows(frames[np.arange(windows)[:, None] + np.arange(length)], row)
            .raw
        )
        rows.append(row)
    return Stretches(np.stack(values), np.stack(raw), np.array(rows))


def _blocks(ends: Ints, windows: int) -> list[Ints]:
    """Runs of so many windows, each one frame after the other, none shared."""
    ends = np.sort(ends)
    runs = np.split(ends, np.flatnonzero(np.diff(ends) != 1) + 1)
    return [
        run[start : start + windows]
        for run in runs
        for start in range(0, len(run) - windows + 1, windows)
    ]
