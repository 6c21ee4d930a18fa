"""What stood out in judged recordings: events, alerts, and the windows in which they peaked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from models.detector import Detector
from models.evaluation import Judged, TrackScores
from models.frame import Floats, Ints
from models.judgement import Judgement
from models.spans import delays_of, events_of, spans_of, touches

Kind = Literal["found", "missed", "false", "alert"]

STRONGEST = 3  # sensors that are shown


@dataclass(frozen=True, slots=True)
class Finding:
    """An event or an alert.

    Args:
        kind: `found` and `missed` are events; `false` an alert that touches none, `alert` one of
            a file without labels.
        file: index of the file.
        start, end: half-open, nanoseconds since the epoch.
        delay: ticks from the start to the first frame in alert; found events only.
        peak: highest smoothed score; NaN without a scored frame.
        at: frame with the highest raw score; -1 without one.
        opened: first scored frame in alert; -1 without one.
        shares: of the sensors in the score, weighted by it, shape (sensors,).
    """

    kind: Kind
    file: int
    start: int
    end: int
    delay: int | None
    peak: float
    at: int
    opened: int
    shares: Floats

    @property
    def strongest(self) -> list[int]:
        """The sensors it is about, strongest first."""
        return strongest(self.shares)


def strongest(shares: Floats) -> list[int]:
    """The sensors with the largest shares, at most STRONGEST, and none with next to nothing."""
    ranked = np.argsort(-shares, kind="stable")[:STRONGEST]
    return [int(sensor) for sensor in ranked if shares[sensor] >= min(0.05, shares.max())]


def findings(judgement: Judgement) -> list[Finding]:
    """All events and all alerts that are not one's, by file and in order of time."""
    found: list[Finding] = []
    period = judgement.detector.grid.period
    for file, (track, frames) in enumerate(zip(judgement.tracks, judgement.frames, strict=True)):
        alerts = spans_of(frames.alarm)
        if frames.label is None:
            found += [_finding("alert", file, track, frames, span, period) for span in alerts]
            continue
        events = events_of(frames.label, frames.score)
        delays = delays_of(events, frames.alarm, frames.score, frames.tick)
        of_file = [
            _finding(
                "missed" if delay is None else "found", file, track, frames, span, period, delay
            )
            for span, delay in zip(events, delays, strict=True)
        ]
        false = alerts[~touches(alerts, frames.label)]
        of_file += [_finding("false", file, track, frames, span, period) for span in false]
        found += sorted(of_file, key=lambda one: one.start)
    return found


def _finding(
    kind: Kind,
    file: int,
    track: TrackScores,
    frames: Judged,
    span: Ints,
    period: int,
    delay: int | None = None,
) -> Finding:
    start, end = int(span[0]), int(span[1])
    raw, tick = track.raw[start:end], frames.tick
    scored = np.flatnonzero(~np.isnan(raw))
    shares, peak, at, opened = np.zeros(track.shares.shape[1]), np.nan, -1, -1
    if len(scored):
        # What the alert is about, where there is one.
        in_alert = scored[frames.alarm[start:end][scored]]
        told = in_alert if len(in_alert) else scored
        weights = np.maximum(raw[told], 1e-9)
        shares = (track.shares[start:end][told] * weights[:, None]).sum(axis=0) / weights.sum()
        peak = float(np.nanmax(frames.score[start:end]))
        at = start + int(scored[raw[scored].argmax()])
        opened = start + int(in_alert[0]) if len(in_alert) else -1
    first, last = int(tick[start]) * period, (int(tick[end - 1]) + 1) * period
    return Finding(kind, file, first, last, delay, peak, at, opened, shares)


@dataclass(frozen=True, slots=True)
class Window:
    """A window to look at.

    Args:
        file: index of the file.
        end: its newest frame.
        why: what it shows.
    """

    file: int
    end: int
    why: str


WHY: Final[dict[Kind, str]] = {
    "found": "the peak of an event that is found",
    "missed": "the peak of an event that is missed",
    "false": "the peak of a false alarm",
    "alert": "the peak of an alert",
}


def strangest_windows(judgement: Judgement, found: Sequence[Finding], most: int) -> list[Window]:
    """The windows in which findings peaked, and where there is room those that opened alerts.

    The highest scores come first; no file has more than its part, so that one loud machine does
    not fill the page. Without findings, the highest score of each file.
    """
    peaks = [Window(one.file, one.at, WHY[one.kind]) for one in found if one.at >= 0]
    if not peaks:
        peaks = [
            Window(file, int(np.nanargmax(track.raw)), "the highest score")
            for file, track in enumerate(judgement.tracks)
            if not np.isnan(track.raw).all()
        ]

    def raw(one: Window) -> float:
        return float(judgement.tracks[one.file].raw[one.end])

    opened = [
        Window(one.file, one.opened, "as the alert opened")
        for one in found
        if one.opened >= 0 and abs(one.opened - one.at) >= judgement.detector.grid.window // 2
    ]
    each = max(1, -(-most // max(1, len({one.file for one in peaks}))))
    chosen: list[Window] = []
    for one in [*sorted(peaks, key=raw, reverse=True), *sorted(opened, key=raw, reverse=True)]:
        if len(chosen) < most and sum(other.file == one.file for other in chosen) < each:
            chosen.append(one)
    return sorted(chosen, key=lambda one: (one.file, one.end))


def reconstruction(detector: Detector, track: TrackScores, end: int) -> tuple[Floats, Floats]:
    """A window and what the detector makes of it, in the sensors' units, shape (L, sensors)."""
    known = detector.calibration.row_of(track.track.asset)
    actual = track.track.frames.values[end + 1 - detector.grid.window : end + 1]
    expected = detector.runtime(detector.scale(actual[None], known)).expected
    center, spread = detector.calibration.center[known], detector.calibration.spread[known]
    return actual, expected[0].astype(np.float64) * spread + center
