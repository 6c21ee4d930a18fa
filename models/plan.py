"""What to fit, and the data as they will be used: framed, sifted and split."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from models.detector import Score
from models.frame import SECOND, Coverage, Grid, Ints
from models.manifest import DEFAULT
from models.recording import Recording, Track, tracks_of, usual_period
from models.running import Condition
from models.split import NormalFrames, Split, TrainingError, splits
from models.threshold import THRESHOLDS, ThresholdSettings


@dataclass(frozen=True, slots=True)
class Settings:
    """How a network is trained.

    Args:
        epochs: at most.
        patience: epochs without a better validation loss before training stops.
        epoch_windows: windows of an epoch, at most; each epoch draws them anew, without
            replacement. Those of a long recording overlap so much that to see all of them before
            the next look at the validation loss is a waste.
        stride: trains on every n-th window.
        batch: windows per step.
        lr: highest rate of the one-cycle schedule (Smith 2018); None = the family's own.
        clip_norm: longest gradient of a step.
        seed: of weights, batches and noise.
    """

    epochs: int = 100
    patience: int = 15
    epoch_windows: int = 5000
    stride: int = 1
    batch: int = 32
    lr: float | None = None
    clip_norm: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """What to fit.

    Args:
        model: name of a family.
        period: of the grid, nanoseconds; None = the usual step of the recordings.
        window: frames; None = min(64, rows // 16), at least 8.
        parameters: of the family.
        running: when the machine runs, as `models.running` reads it; None = always.
        settle: as in `Grid`, nanoseconds.
        score, tail: how a window is scored, as in `Detector`; `tail` is the window if that is
            shorter.
        false_alarms_per_day: per asset.
        thresholds: how they are found.
        units: of sensors, by name.
        workers: folds trained at the same time.
    """

    model: str = "lstm"
    period: int | None = None
    window: int | None = None
    parameters: dict[str, Any] = field(default_factory=dict[str, Any])
    score: Score = "mean-square"
    tail: int = 20
    max_hold: int = 3
    max_held: float = 0.2
    running: str | None = None
    settle: int = 0
    false_alarms_per_day: float = 0.1
    thresholds: ThresholdSettings = field(default_factory=ThresholdSettings)
    training: Settings = field(default_factory=Settings)
    units: dict[str, str] = field(default_factory=dict[str, str])
    workers: int = 2


@dataclass(frozen=True, slots=True)
class Plan:
    """The data as they will be used: printed before training starts.

    Args:
        tracks: framed recordings.
        frames: all their frames.
        ends: frame index of the end of every window that may be trained on.
        left_out: windows left out, by reason.
        rows_left_out: rows of which no frame was made, by reason.
    """

    grid: Grid
    tracks: list[Track]
    frames: NormalFrames
    ends: Ints
    left_out: dict[str, int]
    rows_left_out: dict[str, int]
    folds: list[Split]

    @property
    def kept_ratio(self) -> float:
        """Share of all windows that may be trained on; those at a track's start are not counted."""
        return len(self.ends) / max(1, len(self.ends) + sum(self.left_out.values()))


def plan(recordings: Sequence[Recording], request: Request) -> Plan:
    """Frame the recordings on the grid that is asked for, and split their normal windows.

    Raises:
        TrainingError: if there are too few, or no labels where the threshold needs them.
        ConditionError: if the running condition names another sensor than the recordings have.
    """
    rows = sum(len(recording.time) for recording in recordings)
    window = request.window or max(8, min(64, rows // 16))
    period = request.period or usual_period(recordings)
    running = None if request.running is None else Condition(request.running, recordings[0].sensors)
    grid = Grid(period, window, request.max_hold, request.max_held, running, request.settle)
    the = plan_on(grid, recordings)
    rule = request.thresholds.threshold
    if THRESHOLDS[rule].labels and not len(the.folds[0].labelled):
        raise TrainingError(f"threshold={rule} needs windows labelled anomalous; found none")
    return the


def plan_on(grid: Grid, recordings: Sequence[Recording], *, by_asset: bool = False) -> Plan:
    """Frame the recordings on a grid, and split their normal windows.

    Args:
        grid: period, window, hold rules and running condition.
        recordings: all with the same sensors.
        by_asset: whether assets are told apart even where there is one, and no file names it.

    Raises:
        TrainingError: if there are too few.
    """
    window = grid.window
    tracks = tracks_of(recordings, grid)
    rows = sum(len(recording.time) for recording in recordings)
    ends: list[Ints] = []
    labelled: list[Ints] = []
    left_out = {"gap": 0, "held": 0, "idle": 0, "excluded": 0, "labelled": 0}
    start = 0
    for track in tracks:
        coverage = track.frames.coverage
        complete = np.flatnonzero(coverage == Coverage.COMPLETE)
        anomalous = np.cumsum(np.r_[0, track.label])
        is_normal = anomalous[complete + 1] == anomalous[complete + 1 - window]
        normal = complete[is_normal]
        left_out["gap"] += int((coverage == Coverage.GAP).sum())
        left_out["held"] += int((coverage == Coverage.HELD).sum())
        left_out["idle"] += int((coverage == Coverage.IDLE).sum())
        after_excluded = (coverage == Coverage.WARMING) & (track.part > 0)
        left_out["excluded"] += int(after_excluded.sum())
        left_out["labelled"] += len(complete) - len(normal)
        ends.append(normal + start)
        labelled.append(complete[~is_normal] + start)
        start += len(coverage)
    together = np.concatenate(ends) if ends else np.empty(0, np.int64)
    if not len(together):
        reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
        unused = _rows_left_out(recordings, tracks, grid)
        reasons += "".join(f", {count} rows {why}" for why, count in unused.items())
        raise TrainingError(
            f"no window of {window} frames of {grid.period / SECOND:g} s is complete and normal "
            f"({rows} rows; left out: {reasons}); a fit with a longer --period or a shorter "
            "--window may help"
        )
    many = len({track.asset for track in tracks}) > 1
    frames = _frames(tracks, by_asset=by_asset or many or any(r.has_assets for r in recordings))
    tick = np.concatenate([track.frames.tick for track in tracks])
    folds = [
        replace(split, labelled=np.concatenate(labelled))
        for split in splits(together, tick[together], frames.row[together], window)
    ]
    return Plan(
        grid, tracks, frames, together, left_out, _rows_left_out(recordings, tracks, grid), folds
    )


def _rows_left_out(
    recordings: Sequence[Recording], tracks: Sequence[Track], grid: Grid
) -> dict[str, int]:
    found: Counter[str] = Counter()
    for recording in recordings:
        for one in recording.selection.excluded:
            found[f"excluded ({one.why})" if one.why else "excluded"] += one.rows
    late = f"out of order by more than {grid.default_lateness / SECOND:g} s"
    found[late] = sum(track.late for track in tracks)
    return dict(+found)


def _frames(tracks: Sequence[Track], *, by_asset: bool) -> NormalFrames:
    names = sorted({track.asset for track in tracks}) if by_asset else []
    if DEFAULT in names:
        raise TrainingError(f"an asset is called {DEFAULT!r}: no bundle can have a calibration so")
    row = [names.index(track.asset) + 1 if names else 0 for track in tracks]
    return NormalFrames(
        np.concatenate([track.frames.values for track in tracks]),
        np.repeat(row, [len(track.frames) for track in tracks]),
        tuple(names),
    )
