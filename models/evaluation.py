"""Scoring recordings offline and judging the verdicts against labels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.decision import Decision, Verdicts
from models.detector import Detector
from models.frame import SECOND, Bools, Codes, Coverage, Floats
from models.recording import Recording, Track, tracks_of
from models.threshold import DAY

DEFINITIONS = """\
Everything is measured on scored frames, at the bundle's own decision, without point adjustment.
f1, mcc, precision, recall: of frames, anomalous by label against anomalous by verdict.
far: share of normal frames in alert. mar: share of anomalous frames not in alert.
auc_pr, auc_roc: of the smoothed score against the frame's label.
event_recall: share of labelled events with an alert in them. event_precision: share of alerts that
touch an event. event_f1: their harmonic mean. detection_delay_s: median time from an event's start
to the first frame in alert. false_alarms_per_day: alerts that touch no event, per day of scored
normal frames. time_in_alert_ratio: share of scored frames in alert. prevalence: share of anomalous
frames. unscored_ratio: share of frames without a score. rows_seen_in_training: rows of these files
the bundle was trained on. An event is a run of labelled frames; an alert, of frames in alert.
always-alarm is a detector that always alarms: what labels alone are worth."""


@dataclass(frozen=True, slots=True)
class TrackScores:
    """The daemon's numbers for one asset of a recording, arrays with one row per frame.

    Args:
        raw: NaN where the window is not complete, shape (frames,).
        shares: NaN likewise, shape (frames, sensors).
        verdicts: the decision at each frame.
    """

    track: Track
    raw: Floats
    shares: Floats
    verdicts: Verdicts


def score_recordings(detector: Detector, recordings: Sequence[Recording]) -> list[TrackScores]:
    """Score every complete window of some recordings whose sensors are the detector's."""
    return [score_track(detector, track) for track in tracks_of(recordings, detector.grid)]


def score_track(detector: Detector, track: Track) -> TrackScores:
    """Score every complete window of a track, in batches."""
    frames, window = track.frames, detector.grid.window
    known = detector.calibration.row_of(track.asset)
    scaled = detector.scale(frames.values, known)
    ends = np.flatnonzero(frames.coverage == Coverage.COMPLETE)
    raw = np.full(len(frames), np.nan)
    shares = np.full((len(frames), len(detector.sensors)), np.nan)
    for start in range(0, len(ends), 1024):
        batch = ends[start : start + 1024]
        windows = scaled[batch[:, None] + np.arange(1 - window, 1)]
        scores = detector.score_windows(windows, known)
        raw[batch], shares[batch] = scores.raw, scores.shares
    verdicts = Decision(detector.rule, detector.adaptation).step(
        np.zeros(len(frames), np.int64), frames.tick, raw, broken(frames.coverage), known
    )
    return TrackScores(track, raw, shares, verdicts)


def broken(coverage: Codes) -> Bools:
    """Where mean and count of the decision start again: at a gap and before the first window."""
    return (coverage == Coverage.GAP) | (coverage == Coverage.WARMING)


Metrics = dict[str, float | int | None]


@dataclass(frozen=True, slots=True)
class Judged:
    """Frames to be judged, arrays of shape (frames,); score is NaN where a frame is not scored."""

    label: Bools
    alarm: Bools
    score: Floats


def judged(scores: TrackScores) -> Judged:
    """The frames of a track with the detector's own verdicts."""
    verdicts = scores.verdicts
    return Judged(scores.track.label.astype(bool), verdicts.anomalous, verdicts.score)


def always_alarm(frames: Judged) -> Judged:
    """The same frames, judged by a detector that always alarms."""
    return replace(frames, alarm=np.ones_like(frames.alarm), score=0 * frames.score + 1)


def pooled(files: Sequence[Judged]) -> Judged:
    """All files as one, with an unscored frame between them so that no event joins two."""
    between = Judged(np.zeros(1, bool), np.zeros(1, bool), np.full(1, np.nan))
    parts = [part for one in files for part in (one, between)][:-1]
    return Judged(*(np.concatenate([getattr(p, key) for p in parts]) for key in Judged.__slots__))


def evaluate(frames: Judged, period: int, *, labelled: bool) -> Metrics:
    """The figures of some frames; None where a figure has no meaning (see DEFINITIONS).

    Args:
        frames: in order of time.
        period: of the grid, nanoseconds.
        labelled: whether there are labels; without them only the alarm figures are given.
    """
    label, alarm, score = frames.label, frames.alarm, frames.score
    scored = ~np.isnan(score)
    alerts = _runs(alarm)
    period_s = period / SECOND
    out: Metrics = {
        "windows": int(scored.sum()),
        "unscored_ratio": _ratio((~scored).sum(), len(scored)),
        "time_in_alert_ratio": _ratio((alarm & scored).sum(), scored.sum()),
        "alerts": len(alerts),
        "alerts_per_day": _ratio(len(alerts), scored.sum() * period_s / DAY),
    }
    if not labelled:
        return out
    # An event without a scored frame could not be found by anything.
    events = [event for event in _runs(label) if scored[event[0] : event[1]].any()]
    found = [np.flatnonzero((alarm & scored)[start:end]) for start, end in events]
    delays = [hits[0] * period_s for hits in found if len(hits)]
    false = [alert for alert in alerts if not label[alert[0] : alert[1]].any()]
    recall = _ratio(len(delays), len(events))
    precision = _ratio(len(alerts) - len(false), len(alerts))
    out |= _frame_metrics(label[scored], alarm[scored], score[scored])
    out |= {
        "events": len(events),
        "event_recall": recall,
        "event_precision": precision,
        "event_f1": None if recall is None else _harmonic(precision or 0.0, recall),
        "detection_delay_s": float(np.median(delays)) if delays else None,
        "false_alarms_per_day": _ratio(len(false), (scored & ~label).sum() * period_s / DAY),
    }
    return out


def mean(files: Sequence[Metrics]) -> Metrics:
    """Mean over files of every figure, where it has a meaning."""
    keys = dict.fromkeys(key for figures in files for key in figures)
    columns = {
        key: [value for figures in files if (value := figures.get(key)) is not None] for key in keys
    }
    return {key: float(np.mean(found)) if found else None for key, found in columns.items()}


def _frame_metrics(label: Bools, alarm: Bools, score: Floats) -> Metrics:
    hit, miss = int((label & alarm).sum()), int((label & ~alarm).sum())
    false, quiet = int((~label & alarm).sum()), int((~label & ~alarm).sum())
    product = (hit + false) * (hit + miss) * (quiet + false) * (quiet + miss)
    out: Metrics = {
        "prevalence": _ratio(hit + miss, len(label)),
        "f1": _ratio(2 * hit, 2 * hit + false + miss),
        "precision": _ratio(hit, hit + false),
        "recall": _ratio(hit, hit + miss),
        "far": _ratio(false, false + quiet),
        "mar": _ratio(miss, hit + miss),
        "mcc": (hit * quiet - false * miss) / product**0.5 if product else None,
        "auc_pr": None,
        "auc_roc": None,
    }
    if 0 < label.sum() < len(label):
        out["auc_pr"], out["auc_roc"] = _areas(label, score)
    return out


def _areas(label: Bools, score: Floats) -> tuple[float, float]:
    """Average precision and area under the ROC curve; equal scores are one threshold."""
    order = np.argsort(-score, kind="stable")
    last = np.flatnonzero(np.r_[np.diff(score[order]) != 0, True])
    hits = np.cumsum(label[order])[last]
    recall = np.r_[0, hits / hits[-1]]
    false = last + 1 - hits
    far = np.r_[0, false / false[-1]]
    auc_pr = (np.diff(recall) * (hits / (last + 1))).sum()
    return float(auc_pr), float(np.trapezoid(recall, far))


def _runs(flags: Bools) -> list[tuple[int, int]]:
    change = np.flatnonzero(np.diff(np.r_[False, flags, False].astype(np.int8)))
    return [(int(start), int(end)) for start, end in zip(change[::2], change[1::2], strict=True)]


def _ratio(part: float, whole: float) -> float | None:
    return float(part) / float(whole) if whole else None


def _harmonic(one: float, other: float) -> float:
    return 2 * one * other / (one + other) if one + other else 0.0


def rows_seen(recording: Recording, trained: Sequence[tuple[str, tuple[int, int]]]) -> int:
    """How many of a recording's rows a bundle was trained on, told by the file's hash."""
    seen = np.zeros(recording.rows[1] - recording.rows[0], bool)
    for sha256, (start, end) in trained:
        if sha256 == recording.sha256:
            seen[max(0, start - recording.rows[0]) : max(0, end - recording.rows[0])] = True
    return int(seen.sum())
