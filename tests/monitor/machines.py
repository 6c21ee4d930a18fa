"""Streams with a detector that needs no training, and messages for them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from hypothesis import settings

from models.decision import Rule
from models.detector import Calibration, Detector, Habits
from models.frame import SECOND, Float32s, Grid
from models.running import Condition
from models.runtime import Outputs
from monitor.alert import Alert, cloudevent
from monitor.channels import Channels
from monitor.config import AlertsConfig, SensorConfig, StreamConfig
from monitor.reading import AssetTable, Message, MessageOutcome, Readings
from monitor.stream import Stream

TODAY = 1_790_000_000 * SECOND
X, XY = Channels.plain("x"), Channels.plain("x", "y")
EVERY_SCORE = Rule(smooth=1, need=1, of=1, clear=0.8)

# A rule is not broken by a slow machine; the number is said, for other tests may set another.
few = settings(deadline=None, max_examples=60)
many = settings(deadline=None, max_examples=250)


class Network:
    """Expects the sum of the window, so a wrong window shows; errs by the readings themselves.

    With one sensor, the raw score is the size of the reading. A reading over 1e5 has no score.
    """

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, windows: Float32s) -> Outputs:
        self.batches.append(len(windows))
        expected = np.zeros_like(windows) + windows.sum(axis=1, keepdims=True)
        return Outputs(expected, np.where(np.abs(windows) > 1e5, np.nan, np.abs(windows)))


def detector(
    sensors: Sequence[str] = ("x",),
    *,
    window: int = 2,
    period: int = SECOND,
    max_hold: int = 1,
    running: str | None = None,
    settle: int = 0,
    rule: Rule = EVERY_SCORE,
    spread: Sequence[float] | None = None,
    units: Sequence[str | None] | None = None,
    digest: str = "d1gest",
    network: Network | None = None,
    calibrated: Mapping[str, float] | None = None,
    habits: Habits | None = None,
) -> Detector:
    """A detector whose raw score is the mean size of the newest readings in their spreads.

    Assets in `calibrated` have that spread of their own, in all their sensors.
    """
    m = len(sensors)
    own = calibrated or {}
    one = np.ones((1 + len(own), m))
    calibration = Calibration(
        assets=tuple(own),
        center=0 * one,
        spread=np.array(
            [np.ones(m) if spread is None else spread, *([s] * m for s in own.values())]
        ),
        error_scale=one,
        threshold=one[:, 0],
        expected_per_day=0.1 * one[:, 0],
        bound_per_day=0.2 * one[:, 0],
    )
    return Detector(
        name="pumps",
        digest=digest,
        created=1.79e9,
        sensors=tuple(sensors),
        units=(None,) * m if units is None else tuple(units),
        grid=Grid(
            period,
            window,
            max_hold,
            0.5,
            None if running is None else Condition(running, tuple(sensors)),
            settle * period,
        ),
        rule=rule,
        score="mean-square",
        tail=1,
        calibration=calibration,
        runtime=network or Network(),
        habits=habits,
    )


def stream(
    *detectors: Detector,
    alerts: AlertsConfig | None = None,
    sensors: Mapping[str, SensorConfig] | None = None,
    by_asset: Mapping[str | None, Detector] | None = None,
    **config: Any,
) -> Stream:
    """A stream of JSON objects with their time at `t`, unless `config` says otherwise."""
    wanted: dict[str, Any] = {
        "name": "pumps",
        "topic": "plant/{line}/{asset}/telemetry",
        "time": "t",
        "sensors": dict(sensors or {}),
    }
    found = dict(by_asset or {}) or dict.fromkeys([None] * len(detectors), *detectors)
    return Stream(StreamConfig(**(wanted | config)), alerts or AlertsConfig(), found)


def message(
    time: float, values: object = None, asset: str = "p1", *, line: str = "a", **fields: object
) -> Message:
    """One message of an asset, sent `time` seconds into the day and received at once."""
    document = values if isinstance(values, dict) else {"x": values}
    at = TODAY + round(time * SECOND)
    payload = json.dumps({"t": at / SECOND, **document, **fields}).encode()
    return Message(f"plant/{line}/{asset}/telemetry", payload, at, retained=False)


def outcomes(of: Stream, messages: Sequence[Message], now: int | None = None) -> list[str]:
    """What becomes of messages, each taken alone."""
    found: list[str] = []
    for one in messages:
        before = of.books.outcomes.copy()
        of.take([one], one.arrival if now is None else now)
        changed = np.flatnonzero(of.books.outcomes - before)
        found += [MessageOutcome(int(code)).label for code in changed]
    return found


def table(*names: str) -> AssetTable:
    """Assets without labels."""
    assets = AssetTable(len(names))
    for name in names:
        assets.index(name, ())
    return assets


def readings(rows: Sequence[tuple[int, float, Sequence[float]]], sensors: int = 1) -> Readings:
    """Rows of (asset, seconds into the day, values), each a message of its own."""
    shape = len(rows), len(rows[0][2]) if rows else sensors
    return Readings(
        np.array([asset for asset, _, _ in rows], np.int64),
        np.array([TODAY + round(time * SECOND) for _, time, _ in rows], np.int64),
        np.array([values for _, _, values in rows], np.float64).reshape(shape),
        np.arange(len(rows)),
    )


def events(alerts: Sequence[Alert]) -> list[bytes]:
    """What is published of alerts, by asset and time, as different batches may order assets."""
    return [cloudevent(one, "edge-1") for one in sorted(alerts, key=lambda a: (a.asset, a.time))]
