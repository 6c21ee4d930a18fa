"""An alert: one step of its life, its sentence for a person, its event for a program."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from models.frame import SECOND
from models.recording import iso

# More sensors than this are not named in one event.
MOST_SENSORS = 10

NOT_SCORED = "not scored: "

KINDS = ("anomaly", "no-data", "stuck", "out-of-range")
Severity = Literal["warning", "critical"]
Step = Literal["opened", "updated", "resolved"]


@dataclass(frozen=True, slots=True)
class AlertRules:
    """How verdicts become alerts; times in nanoseconds of event time.

    Args:
        critical: score from which an alert is critical.
        hold: how long a verdict stays open before the alert fires.
        renotify: an alert still firing is told of again after this.
        expire: an alert whose frames have not been scored for this long is closed as expired;
            without any frame no event time passes, and it stays open.
        alert_uncalibrated: whether an asset that its bundle has no calibration for may alert.
    """

    critical: float = 3.0
    hold: int = 0
    renotify: int = 4 * 3600 * SECOND
    expire: int = 24 * 3600 * SECOND
    alert_uncalibrated: bool = False


@dataclass(frozen=True, slots=True)
class SensorEvidence:
    """One sensor's part in an alert, in its own unit; only an anomaly has shares."""

    name: str
    unit: str
    share: float | None = None
    expected: float | None = None
    actual: float | None = None


@dataclass(frozen=True, slots=True)
class Alert:
    """One step of an alert's life; times in nanoseconds since the epoch.

    Args:
        asset: None where it is the whole stream's.
        score, peak_score: of an anomaly.
        model, digest: of the bundle that knows what is normal, if one is needed for that.
        words: the sentence of a kind that is no anomaly.
    """

    alert_id: str
    step: Step
    number: int
    stream: str
    asset: str | None
    labels: tuple[tuple[str, str], ...]
    kind: str
    severity: Severity
    score: float | None
    peak_score: float | None
    time: int
    onset: int
    sensors: tuple[SensorEvidence, ...]
    quality: str
    model: str | None
    digest: str | None
    reason: str | None = None
    words: str = ""

    @property
    def place(self) -> str:
        """Stream and asset as levels of a topic; the whole stream's alert has an empty asset."""
        return f"{self.stream}/{self.asset or ''}"

    @property
    def summary(self) -> str:
        """One sentence for a person at 3 a.m."""
        if self.words:
            return self.words
        who = f"{self.stream}/{self.asset}"
        if self.step == "resolved":
            lasted = duration(self.time - self.onset)
            if self.reason == "normal":
                return (
                    f"{who} is back to normal after {lasted}; its worst score was "
                    f"{self.peak_score:.3g} (1 is the line)."
                )
            return f"{who}: the alert of {iso(self.onset)} ended after {lasted} ({self.reason})."
        if self.quality.startswith(NOT_SCORED):
            return f"{who}: the alert of {iso(self.onset)} stays open, {self.quality}."
        evidence = "; ".join(
            f"{sensor.name} reads {number(sensor.actual, sensor.unit)}, expected "
            f"{number(sensor.expected, sensor.unit)} ({sensor.share:.0%} of the deviation)"
            for sensor in self.sensors[:2]
            if sensor is self.sensors[0] or (sensor.share or 0) >= 0.2
        )
        verb = "still behaves" if self.step == "updated" else "has behaved"
        return f"{who} {verb} unlike normal since {iso(self.onset)}: {evidence}."


def alert_id(stream: str, asset: str | None, kind: str, onset: int) -> str:
    """The name of an alert: the same fault seen again has the same."""
    text = json.dumps([stream, asset, kind, onset], ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def cloudevent(alert: Alert, instance: str) -> bytes:
    """The alert as a CloudEvents 1.0 structured JSON event; equal alerts give equal bytes."""
    data: dict[str, Any] = {
        "alert_id": alert.alert_id,
        "stream": alert.stream,
        "asset": alert.asset,
        "labels": dict(alert.labels),
        "kind": alert.kind,
        "severity": alert.severity,
        "score": significant(alert.score),
        "onset": iso(alert.onset),
        "summary": alert.summary,
        "quality": alert.quality,
        "sensors": [
            {
                "name": sensor.name,
                "unit": sensor.unit,
                "share": significant(sensor.share),
                "expected": sensor.expected,
                "actual": sensor.actual,
            }
            for sensor in alert.sensors
        ],
        "model": {"name": alert.model, "digest": alert.digest} if alert.model else None,
    }
    if alert.step == "resolved":
        data |= {
            "reason": alert.reason,
            "ended": iso(alert.time),
            "peak_score": significant(alert.peak_score),
        }
    event = {
        "specversion": "1.0",
        "id": f"{alert.alert_id}-{alert.number}",
        "source": quote(f"/{instance}/{alert.place}".rstrip("/")),
        "subject": alert.kind,
        "type": f"io.sensor-monitor.alert.{alert.step}",
        "time": iso(alert.time),
        "datacontenttype": "application/json",
        "dataschema": "urn:sensor-monitor:alert:1",
        "data": data,
    }
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


def significant(value: float | None) -> float | None:
    """A score or share with four significant digits."""
    return None if value is None else float(f"{value:.4g}")


def number(value: float | None, unit: str) -> str:
    """A reading with its unit."""
    return f"{value:.6g} {unit}".rstrip()


def duration(nanoseconds: int) -> str:
    """A time in words, to two of its units."""
    seconds = nanoseconds // SECOND
    for size, unit, small, part in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if seconds >= size:
            return f"{seconds // size} {unit} {seconds % size // small} {part}"
    return f"{seconds} s"
