"""A bundle judged on recordings: all that `evaluate` prints, writes and draws."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.detector import Detector
from models.evaluation import (
    Judged,
    Metrics,
    TrackScores,
    always_alarm,
    evaluate,
    judged,
    rows_seen,
    score_track,
)
from models.frame import Floats, Grid
from models.recording import Recording, tracks_of
from models.selection import Selection

# Of fewer files an interval would say nothing.
LEAST_FILES = 3
RESAMPLES = 2000

Progress = Callable[[int, int], None]  # tracks done, tracks in all


@dataclass(frozen=True, slots=True)
class Average:
    """Figures over files, each over those where it has a meaning.

    Args:
        mean: None where it has a meaning in none.
        interval: 95 % bootstrap interval of the mean; None over fewer than LEAST_FILES files.
        counted: number of files the mean is over.
    """

    mean: Metrics
    interval: dict[str, tuple[float, float] | None]
    counted: dict[str, int]


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of one detector.

    Args:
        files: of each file.
        average: over files.
        pooled: of all files as one.
    """

    files: list[Metrics]
    average: Average
    pooled: Metrics

    def headline(self, key: str) -> float | None:
        """The mean over files where there are enough for an interval, else of all as one."""
        enough = len(self.files) >= LEAST_FILES
        return (self.average.mean if enough else self.pooled).get(key)


@dataclass(frozen=True, slots=True)
class Judgement:
    """A detector's scores on some recordings and what they are worth, lists by file.

    Args:
        names: of the files, and of the asset where a file has several.
        tracks: scores and verdicts.
        frames: what was judged.
        own: the detector's figures.
        always_alarm: what labels alone are worth; None without labels.
        pca: the baseline's figures; None for a bundle without a baseline, and the very figures
            of `own` for one that is a window PCA itself.
        gain: own figures minus the baseline's, paired by file; None without one.
    """

    detector: Detector
    names: list[str]
    tracks: list[TrackScores]
    frames: list[Judged]
    own: Summary
    always_alarm: Summary | None
    pca: Summary | None
    gain: Average | None

    @property
    def rival(self) -> Summary | None:
        """The baseline's figures where there is one to compare with."""
        return None if self.pca is self.own else self.pca

    @property
    def labelled(self) -> bool:
        """Whether there is a file with labels."""
        return self.always_alarm is not None

    def as_json(self) -> dict[str, Any]:
        """What `evaluate --json` prints."""
        out: dict[str, Any] = {
            **self._summary(self.own),
            "rows_seen_in_training": self.own.pooled["rows_seen_in_training"],
        }
        if self.always_alarm:
            out["always-alarm"] = self._summary(self.always_alarm)
        if self.pca and self.gain:
            out["pca"] = {**self._summary(self.pca), "gain": _average(self.gain)}
        return out

    def _summary(self, one: Summary) -> dict[str, Any]:
        return {
            "files": dict(zip(self.names, one.files, strict=True)),
            **_average(one.average),
            "pooled": one.pooled,
        }


def judge(
    detector: Detector,
    baseline: Detector | None,
    recordings: Sequence[Recording],
    trained: Sequence[tuple[str, Selection]],
    progress: Progress,
) -> Judgement:
    """Score recordings with a detector and its baseline and judge both.

    Args:
        detector: the bundle's.
        baseline: its window PCA; the detector itself where that is one.
        recordings: of the detector's sensors.
        trained: hash of each file and what of it the bundle was trained on.
        progress: called after each track.
    """
    tracks = tracks_of(recordings, detector.grid)
    names: list[str] = []
    scores: list[TrackScores] = []
    frames: list[Judged] = []
    of_baseline: list[Judged] = []
    seen: list[int] = []
    for track in tracks:
        recording = recordings[track.recording]
        has_labels = recording.label is not None
        many = len(recording.assets) > 1
        names.append(f"{recording.path}:{track.asset}" if many else str(recording.path))
        scores.append(score_track(detector, track))
        frames.append(judged(scores[-1], labelled=has_labels))
        if baseline is not None and baseline is not detector:
            of_baseline.append(judged(score_track(baseline, track), labelled=has_labels))
        seen.append(rows_seen(recording, recording.assets.index(track.asset), trained))
        progress(len(names), len(tracks))
    own = summary(frames, detector.grid, seen)
    labelled = any(one.label is not None for one in frames)
    alarms = [always_alarm(one) for one in frames]
    pca = own if baseline is detector else None
    if of_baseline:
        pca = summary(of_baseline, detector.grid, seen)
    return Judgement(
        detector,
        names,
        scores,
        frames,
        own,
        summary(alarms, detector.grid, seen) if labelled else None,
        pca,
        pca and average([_difference(*pair) for pair in zip(own.files, pca.files, strict=True)]),
    )


def summary(files: Sequence[Judged], grid: Grid, seen: Sequence[int]) -> Summary:
    """The figures of some files, one by one, on average and together.

    Args:
        files: what to judge.
        grid: of the frames.
        seen: rows of each file the detector was trained on.
    """
    figures: list[Metrics] = [
        {**evaluate([one], grid), "rows_seen_in_training": rows}
        for one, rows in zip(files, seen, strict=True)
    ]
    pooled: Metrics = {**evaluate(files, grid), "rows_seen_in_training": sum(seen)}
    return Summary(figures, average(figures), pooled)


def average(files: Sequence[Metrics]) -> Average:
    """Mean and interval over files of every figure, where it has a meaning."""
    columns = {
        key: np.array([v for one in files if (v := one.get(key)) is not None], np.float64)
        for key in dict.fromkeys(key for one in files for key in one)
    }
    return Average(
        {key: float(found.mean()) if len(found) else None for key, found in columns.items()},
        {key: bootstrap_interval(found) for key, found in columns.items()},
        {key: len(found) for key, found in columns.items()},
    )


def bootstrap_interval(values: Floats) -> tuple[float, float] | None:
    """95 % percentile interval of the mean of some files' figures, the same for the same figures.

    Args:
        values: one per file, shape (files,); None is given for fewer than LEAST_FILES.
    """
    if len(values) < LEAST_FILES:
        return None
    drawn = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def _difference(one: Metrics, other: Metrics) -> Metrics:
    return {
        key: None if value is None or (against := other[key]) is None else value - against
        for key, value in one.items()
    }


def _average(one: Average) -> dict[str, Any]:
    return {"mean": one.mean, "interval": one.interval, "counted": one.counted}
