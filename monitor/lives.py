"""Verdicts → the life of an alert: inactive → pending → firing → inactive."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.decision import Verdicts
from models.detector import Detector, Scores
from models.frame import Coverage, Frames, Ints
from monitor.alert import (
    MOST_SENSORS,
    NOT_SCORED,
    Alert,
    AlertRules,
    SensorEvidence,
    Severity,
    Step,
    alert_id,
)
from monitor.reading import AssetTable

# Why a frame has no score.
UNSCORED = {
    Coverage.COMPLETE: "the model gives no finite score",
    Coverage.WARMING: "the first window is not full yet",
    Coverage.GAP: "readings were missing for longer than a hold",
    Coverage.HELD: "too much of the window is held",
    Coverage.IDLE: "the machine is idle or has just started",
}


@dataclass(frozen=True, slots=True)
class Evidence:
    """What stands behind the verdicts of some frames, sorted by asset and time.

    Args:
        asset: index of the asset in the stream, shape (frames,).
        time: nanoseconds, shape (frames,).
        frames: the frames.
        verdicts: the decision at each.
        row: index into `scores` for each frame, -1 where it is not scored, shape (frames,).
        scores: of the frames that are scored.
    """

    asset: Ints
    time: Ints
    frames: Frames
    verdicts: Verdicts
    row: Ints
    scores: Scores


@dataclass(slots=True)
class Life:
    """An alert from the opening of its verdict to its end.

    Args:
        opened: time of the frame whose verdict opened it.
        scored: time of the last scored frame.
        last: what was told last; None while pending.
        ended: told to be over while the verdict is still open.
    """

    onset: int
    opened: int
    scored: int
    peak: float = 0.0
    last: Alert | None = None
    ended: bool = False

    @property
    def firing(self) -> bool:
        """Whether it has been told of and not yet ended."""
        return self.last is not None and not self.ended


class AlertBook:
    """The anomaly alerts of the assets that share a detector; one each at most.

    Attributes:
        lives: the open ones by asset index.
    """

    def __init__(self, stream: str, detector: Detector, rules: AlertRules) -> None:
        self.lives: dict[int, Life] = {}
        self._stream = stream
        self._detector = detector
        self._rules = rules

    def step(self, seen: Evidence, assets: AssetTable) -> list[Alert]:
        """Advance the alerts by some frames and return what there is to tell, in their order."""
        verdicts = seen.verdicts
        concerned = {*self.lives, *seen.asset[verdicts.anomalous].tolist()}
        if not concerned:
            return []
        out: list[Alert] = []
        for i in np.flatnonzero(np.isin(seen.asset, list(concerned))):
            index, time = int(seen.asset[i]), int(seen.time[i])
            life = self.lives.get(index)
            scored = seen.row[i] >= 0
            if life is None:
                if not verdicts.anomalous[i]:
                    continue
                onset = int(verdicts.onset[i]) * self._detector.grid.period
                life = self.lives[index] = Life(onset, time, time)
            elif life.ended and scored and verdicts.anomalous[i]:
                # It expired unseen, and is seen to go on: that is news.
                life = self.lives[index] = Life(time, time, time)
            if scored:
                life.scored = time
                life.peak = max(life.peak, float(verdicts.score[i]))
            told = self._advance(life, seen, int(i), assets)
            if told is not None:
                life.last = told
                out.append(told)
            if not verdicts.anomalous[i]:
                del self.lives[index]
        return out

    def _advance(self, life: Life, seen: Evidence, i: int, assets: AssetTable) -> Alert | None:
        """The step of its life that an alert takes at frame i, if any."""
        rules, last, time = self._rules, life.last, int(seen.time[i])
        if life.ended:
            return None
        if not seen.verdicts.anomalous[i]:
            quality = _quality(seen.frames.age[i], self._detector.sensors)
            return last and self._end(life, replace(last, quality=quality), time, "normal")
        if seen.row[i] < 0:
            return last and self._unseen(life, last, time, Coverage(int(seen.frames.coverage[i])))
        if last is None:
            if time - life.opened < rules.hold:
                return None
            return self._tell(life, seen, i, assets, "opened", 0, "warning")
        worse = last.severity == "warning" and life.peak >= rules.critical
        if worse or time - last.time >= rules.renotify:
            return self._tell(life, seen, i, assets, "updated", last.number + 1, last.severity)
        return None

    def _unseen(self, life: Life, last: Alert, time: int, coverage: Coverage) -> Alert | None:
        """What there is to tell without a score: that it stays open and why, or that it expires."""
        last = replace(last, quality=NOT_SCORED + UNSCORED[coverage])
        if time - life.scored > self._rules.expire:
            life.ended = True
            return self._end(life, last, time, "expired")
        if time - last.time >= self._rules.renotify:
            number, peak = last.number + 1, life.peak
            return replace(last, step="updated", number=number, time=time, peak_score=peak)
        return None

    def _tell(
        self,
        life: Life,
        seen: Evidence,
        i: int,
        assets: AssetTable,
        step: Step,
        number: int,
        severity: Severity,
    ) -> Alert:
        index = int(seen.asset[i])
        return Alert(
            alert_id=alert_id(self._stream, assets.names[index], "anomaly", life.onset),
            step=step,
            number=number,
            stream=self._stream,
            asset=assets.names[index],
            labels=assets.labels[index],
            kind="anomaly",
            severity="critical" if life.peak >= self._rules.critical else severity,
            score=float(seen.verdicts.score[i]),
            peak_score=life.peak,
            time=int(seen.time[i]),
            onset=life.onset,
            sensors=self._sensors(seen, i, assets.names[index]),
            quality=_quality(seen.frames.age[i], self._detector.sensors),
            model=self._detector.name,
            digest=self._detector.digest,
        )

    def _end(self, life: Life, last: Alert, time: int, reason: str) -> Alert:
        """The last step; it carries the evidence of the one before."""
        return replace(
            last,
            step="resolved",
            number=last.number + 1,
            time=time,
            peak_score=life.peak,
            reason=reason,
        )

    def _sensors(self, seen: Evidence, i: int, asset: str) -> tuple[SensorEvidence, ...]:
        row, detector = int(seen.row[i]), self._detector
        share, expected = seen.scores.shares[row], seen.scores.expected[row]
        spread = detector.calibration.spread[detector.calibration.row_of(asset)]
        strongest = np.argsort(-share, kind="stable")[:MOST_SENSORS]
        return tuple(
            SensorEvidence(
                detector.sensors[j],
                detector.units[j] or "",
                float(share[j]),
                _rounded(float(expected[j]), float(spread[j])),
                _rounded(float(seen.frames.values[i, j]), float(spread[j])),
            )
            for j in map(int, strongest)
        )


def _rounded(value: float, spread: float) -> float:
    """A value to a hundredth of the sensor's normal spread."""
    digits = max(0, math.ceil(-math.log10(spread / 100)))
    return round(value, digits) + 0.0  # no negative zero


def _quality(age: Ints, sensors: Sequence[str]) -> str:
    held = [name for name, ticks in zip(sensors, age, strict=True) if ticks > 0]
    if not held:
        return "good"
    return "held: " + ", ".join(held[:MOST_SENSORS]) + (", …" if len(held) > MOST_SENSORS else "")
