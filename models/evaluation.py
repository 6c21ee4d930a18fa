"""Scoring recordings offline and judging the verdicts against labels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from models.affiliation import affiliation
from models.areas import auc, vus
from models.decision import Decision, Verdicts
from models.detector import Detector
from models.frame import SECOND, Bools, Coverage, Floats, Grid, Ints
from models.recording import Recording, Track, tracks_of
from models.selection import Selection
from models.spans import delays_of, events_of, in_ticks, spans_of, touches
from models.threshold import DAY

INTRODUCTION = (
    "Everything is measured on scored frames, at the bundle's own decision, never point-adjusted. "
    "An event is a run of labelled frames of which at least one is scored; an alert is a run of "
    "frames in alert."
)
DEFINITIONS: Final = {
    "windows": "scored frames",
    "unscored_ratio": "share of frames without a score",
    "time_in_alert_ratio": "share of scored frames in alert",
    "alerts": "number of alerts",
    "alerts_per_day": "alerts per day of scored frames",
    "prevalence": "share of scored frames that are labelled anomalous",
    "f1": "harmonic mean of precision and recall",
    "precision": "share of frames in alert that are anomalous",
    "recall": "share of anomalous frames in alert",
    "far": "share of normal frames in alert",
    "mar": "share of anomalous frames not in alert",
    "mcc": "correlation of verdicts and labels (Matthews); 0 for verdicts that know nothing",
    "auc_pr": "precision averaged over recall (average precision) of the smoothed score, for every "
    "threshold; the prevalence for a score that knows nothing",
    "auc_roc": "chance that an anomalous frame scores higher than a normal one",
    "vus_pr": "auc_pr that forgives a shift in time: its mean over buffers of 0 to L ticks around "
    "each event, half on each side; L = the bundle's window (Paparrizos et al. 2022)",
    "vus_roc": "the same of auc_roc",
    "events": "number of events",
    "event_recall": "share of events with a scored frame in alert",
    "event_precision": "share of alerts that touch an event",
    "event_f1": "harmonic mean of event_precision and event_recall",
    "detection_delay_s": "median time from an event's start to its first frame in alert, of events "
    "that are found",
    "false_alarms_per_day": "alerts that touch no event, per day of scored normal frames",
    "affiliation_precision": "how near alerts lie to events in time, 1 = in them, 0.5 = as near as "
    "at random; mean over the events that have an alert nearest to them (Huet et al. 2022)",
    "affiliation_recall": "how near events lie to alerts, mean over events",
    "affiliation_f1": "their harmonic mean",
    "rows_seen_in_training": "rows of these files that the bundle was trained or calibrated on",
}


@dataclass(frozen=True, slots=True)
class TrackScores:
    """The daemon's numbers for one asset of a recording, arrays with one row per frame.

    Args:
        raw: NaN where the window is not complete, shape (frames,).
        shares: NaN likewise, shape (frames, sensors).
        verdicts: the decision at each frame.
        spread: of an ensemble's members, NaN likewise and for other models, shape (frames,).
    """

    track: Track
    raw: Floats
    shares: Floats
    verdicts: Verdicts
    spread: Floats


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
    spread = np.full(len(frames), np.nan)
    shares = np.full((len(frames), len(detector.sensors)), np.nan)
    for start in range(0, len(ends), 1024):
        batch = ends[start : start + 1024]
        windows = scaled[batch[:, None] + np.arange(1 - window, 1)]
        scores = detector.score_windows(windows, known)
        raw[batch], shares[batch] = scores.raw, scores.shares
        if scores.spread is not None:
            spread[batch] = scores.spread
    verdicts = Decision(detector.rule, detector.adaptation).step(
        np.zeros(len(frames), np.int64), frames.tick, raw, frames.broken, known
    )
    return TrackScores(track, raw, shares, verdicts, spread)


Metrics = dict[str, float | int | None]


@dataclass(frozen=True, slots=True)
class Judged:
    """The frames of one file, in order of time, to be judged; arrays of shape (frames,).

    Args:
        label: whether a frame is anomalous; None where the file has no labels.
        alarm: whether it is in alert.
        score: NaN where it is not scored.
        tick: when it is; where a recording has a hole there are no frames.
    """

    label: Bools | None
    alarm: Bools
    score: Floats
    tick: Ints


def judged(scores: TrackScores, *, labelled: bool = True) -> Judged:
    """The frames of a track with the detector's own verdicts."""
    verdicts, label = scores.verdicts, scores.track.label.astype(bool)
    tick = scores.track.frames.tick
    return Judged(label if labelled else None, verdicts.anomalous, verdicts.score, tick)


def always_alarm(frames: Judged) -> Judged:
    """The same frames, judged by a detector that always alarms."""
    return replace(frames, alarm=np.ones_like(frames.alarm), score=0 * frames.score + 1)


def evaluate(files: Sequence[Judged], grid: Grid) -> Metrics:
    """The figures of some files together; None where a figure has no meaning (see DEFINITIONS).

    What needs labels is measured on the files that have them, and left out if none has. No event,
    alert, buffer or affiliation reaches from one file into another.
    """
    period_s = grid.period / SECOND
    scored = [~np.isnan(frames.score) for frames in files]
    windows = sum(int(one.sum()) for one in scored)
    frames_in_all = sum(len(one) for one in scored)
    in_alert = sum(int((f.alarm & one).sum()) for f, one in zip(files, scored, strict=True))
    alerts = sum(len(spans_of(frames.alarm)) for frames in files)
    out: Metrics = {
        "windows": windows,
        "unscored_ratio": _ratio(frames_in_all - windows, frames_in_all),
        "time_in_alert_ratio": _ratio(in_alert, windows),
        "alerts": alerts,
        "alerts_per_day": _ratio(alerts, windows * period_s / DAY),
    }
    labels = [(f.label, f.alarm, f.score, f.tick) for f in files if f.label is not None]
    if labels:
        out |= _frame_figures(labels, grid.window) | _event_figures(labels, period_s)
    return out


Labelled = tuple[Bools, Bools, Floats, Ints]  # label, alarm, score and tick of a file's frames


def _frame_figures(files: Sequence[Labelled], window: int) -> Metrics:
    labels, alarms, scores, ticks = zip(*files, strict=True)
    label, alarm, score = (np.concatenate(parts) for parts in (labels, alarms, scores))
    scored = ~np.isnan(score)
    label, alarm, score = label[scored], alarm[scored], score[scored]
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
    }
    out["auc_pr"], out["auc_roc"] = auc(label, score) or (None, None)
    out["vus_pr"], out["vus_roc"] = vus(labels, scores, ticks, window) or (None, None)
    return out


def _event_figures(files: Sequence[Labelled], period_s: float) -> Metrics:
    delays: list[float | None] = []
    touching: list[bool] = []
    near: list[tuple[Floats, Floats]] = []
    normal = 0
    for label, alarm, score, tick in files:
        events, alerts = events_of(label, score), spans_of(alarm)
        waited = delays_of(events, alarm, score, tick)
        delays += [None if ticks is None else ticks * period_s for ticks in waited]
        touching += touches(alerts, label).tolist()
        since = tick - tick[:1]
        length = int(since[-1]) + 1 if len(since) else 0
        near.append(affiliation(in_ticks(events, since), in_ticks(alerts, since), length))
        normal += int((~np.isnan(score) & ~label).sum())
    found = [delay for delay in delays if delay is not None]
    recall, precision = _ratio(len(found), len(delays)), _ratio(sum(touching), len(touching))
    nearness, reach = (np.concatenate(column) for column in zip(*near, strict=True))
    nearness = nearness[~np.isnan(nearness)]
    near_alerts = float(nearness.mean()) if len(nearness) else None
    near_events = float(reach.mean()) if len(reach) else None
    return {
        "events": len(delays),
        "event_recall": recall,
        "event_precision": precision,
        "event_f1": _f1(precision, recall),
        "detection_delay_s": float(np.median(found)) if found else None,
        "false_alarms_per_day": _ratio(len(touching) - sum(touching), normal * period_s / DAY),
        "affiliation_precision": near_alerts,
        "affiliation_recall": near_events,
        "affiliation_f1": _f1(near_alerts, near_events),
    }


def _ratio(part: float, whole: float) -> float | None:
    return float(part) / float(whole) if whole else None


def _f1(precision: float | None, recall: float | None) -> float | None:
    """Harmonic mean; no alert at all is no precision worth the name."""
    if recall is None:
        return None
    one, other = precision or 0.0, recall
    return 2 * one * other / (one + other) if one + other else 0.0


def rows_seen(recording: Recording, asset: int, trained: Sequence[tuple[str, Selection]]) -> int:
    """How many of an asset's rows a bundle was trained on, told by the file's hash.

    Args:
        recording: the file.
        asset: index into its assets.
        trained: hash of each file trained on, and what of it.
    """
    return int((recording.within(trained) & (recording.asset == asset)).sum())
