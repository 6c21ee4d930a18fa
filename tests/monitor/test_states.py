import json
from collections.abc import Sequence
from typing import Any

from models.frame import SECOND
from monitor.alert import alert_id
from monitor.config import AlertsConfig, SensorConfig
from monitor.states import INTERVAL, StateTopic
from monitor.stream import Stream
from tests.monitor.machines import TODAY, detector, message, stream

TOPIC = "sensor-monitor/edge-1/pumps/p1/state"


class Follower:
    """A stream whose readings arrive at once, and what is published of its states."""

    def __init__(self, of: Stream | None = None) -> None:
        self.of = of or stream(detector(), lateness=0.0)
        self.topic = StateTopic("sensor-monitor/edge-1", self.of)
        self.last: dict[str, dict[str, Any]] = {}

    def look(self, now: float, told: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
        due = self.topic.due(TODAY + round(now * SECOND), told)
        found = {topic: json.loads(payload) for topic, payload in due}
        self.last |= found
        return found

    def take(self, second: float, value: object, asset: str = "p1") -> dict[str, dict[str, Any]]:
        one = message(second, value, asset)
        alerts = self.of.take([one], one.arrival)
        return self.look(second, [alert.asset for alert in alerts if alert.asset])


def test_a_state_is_told_when_the_asset_appears_and_when_it_changes() -> None:
    follower = Follower()
    assert follower.take(0, 0) == {
        TOPIC: {
            "state": "warming",
            "score": None,
            "time": None,
            "reason": "the first window is not full yet",
            "alerts": [],
        }
    }
    assert follower.take(1, 0.25) == {}
    assert follower.take(2, 0) == {
        TOPIC: {
            "state": "normal",
            "score": 0.25,
            "time": "2026-09-21T14:13:21Z",
            "reason": "",
            "alerts": [],
        }
    }
    assert follower.look(3) == {}


def test_a_score_that_moves_on_is_told_every_ten_seconds() -> None:
    follower = Follower()
    told = [second for second in range(60) if follower.take(second, second / 100 + 0.1)]
    assert told == [0, 2, 12, 22, 32, 42, 52]
    assert INTERVAL == 10 * SECOND


def test_a_score_that_stands_still_is_not_told_again() -> None:
    follower = Follower()
    assert [second for second in range(60) if follower.take(second, 0.5)] == [0, 2]


def test_an_alert_is_told_in_the_state_as_long_as_it_fires() -> None:
    follower = Follower()
    for second, value in enumerate((0, 0, 2, 4)):
        follower.take(second, value)
    onset = TODAY + 2 * SECOND
    known = {
        "alert_id": alert_id("pumps", "p1", "anomaly", onset),
        "kind": "anomaly",
        "severity": "warning",
        "onset": "2026-09-21T14:13:22Z",
    }
    assert follower.last[TOPIC]["state"] == "anomalous"
    assert follower.last[TOPIC]["alerts"] == [known]
    # At once, though the state is as it was and its last publication is a second old.
    assert follower.take(4, 2)[TOPIC]["alerts"] == [known | {"severity": "critical"}]
    assert follower.take(5, 0) == {}
    assert follower.take(6, 0)[TOPIC] == {
        "state": "normal",
        "score": 0.0,
        "time": "2026-09-21T14:13:25Z",
        "reason": "",
        "alerts": [],
    }


def test_an_alert_that_has_expired_is_no_longer_told_in_the_state() -> None:
    follower = Follower(stream(detector(), lateness=0.0, alerts=AlertsConfig(expire=2)))
    for second, value in enumerate((0, 0, 2, 2)):
        follower.take(second, value)
    assert len(follower.last[TOPIC]["alerts"]) == 1
    for second in range(4, 9):
        follower.take(second, 1e6)
    assert follower.last[TOPIC]["alerts"] == []


def test_a_verdict_within_its_hold_is_pending_without_an_alert() -> None:
    follower = Follower(stream(detector(), lateness=0.0, alerts=AlertsConfig(hold=60)))
    for second, value in enumerate((0, 0, 2, 2)):
        follower.take(second, value)
    assert follower.last[TOPIC]["state"] == "pending"
    assert follower.last[TOPIC]["alerts"] == []


def test_silence_is_told_at_once_and_without_a_score() -> None:
    follower = Follower()
    for second in range(4):
        follower.take(second, 0.5)
    follower.of.take([], TODAY + 7 * SECOND)
    found = follower.look(7)[TOPIC]
    assert (found["state"], found["score"]) == ("no-data", None)
    assert found["reason"] == "no readings arrive"
    follower.of.take([], TODAY + 3600 * SECOND)
    assert follower.look(3600) == {}


def test_a_score_that_is_lost_is_told_though_the_state_stays() -> None:
    follower = Follower()
    for second, value in enumerate((0, 0, 2, 2)):
        follower.take(second, value)
    follower.of.take([], TODAY + 3600 * SECOND)
    found = follower.look(3600)[TOPIC]
    assert (found["state"], found["score"]) == ("anomalous", None)
    assert len(found["alerts"]) == 1


def test_the_reason_says_why_there_is_no_score() -> None:
    follower = Follower()
    for second, value in enumerate((0, 0, 1e6, 0)):
        follower.take(second, value)
    assert follower.last[TOPIC]["state"] == "unscorable"
    assert follower.last[TOPIC]["reason"] == "the model gives no finite score"
    for second in (9, 10):
        follower.take(second, 0)
    assert follower.last[TOPIC]["state"] == "warming"
    assert follower.last[TOPIC]["reason"] == "readings were missing for longer than a hold"

    idle = Follower(stream(detector(running="x > 0"), lateness=0.0))
    for second, value in enumerate((1, 0, 0)):
        idle.take(second, value)
    assert idle.last[TOPIC]["state"] == "idle"
    assert idle.last[TOPIC]["score"] is None
    assert idle.last[TOPIC]["reason"] == "the machine is idle or has just started"

    unscored = Follower(stream(sensors={"x": SensorConfig(path="x")}))
    unscored.take(0, 1)
    assert unscored.last[TOPIC]["state"] == "uncalibrated"
    assert unscored.last[TOPIC]["reason"] == "has no model or calibration of its own"


def test_every_asset_has_a_topic_of_its_own() -> None:
    follower = Follower()
    names = ["p1", "Pumpe 7 (Öl)", *(f"n{n}" for n in range(40))]
    for asset in names:
        follower.take(0, 0, asset)
    assert list(follower.last) == [f"sensor-monitor/edge-1/pumps/{name}/state" for name in names]
    assert list(follower.take(1, 0, "new")) == ["sensor-monitor/edge-1/pumps/new/state"]


def test_after_forget_every_state_is_told_again() -> None:
    follower = Follower()
    for second in range(4):
        for asset in ("p1", "p2"):
            follower.take(second, 0.5, asset)
    assert follower.look(4) == {}
    follower.topic.forget()
    again = follower.look(4)
    assert again.keys() == follower.last.keys()
    assert {found["state"] for found in again.values()} == {"normal"}
    assert follower.look(4) == {}


def test_scores_in_states_have_four_significant_digits() -> None:
    follower = Follower()
    for second in range(3):
        follower.take(second, 0.123456)
    assert follower.last[TOPIC]["score"] == 0.1235


def test_a_health_alert_is_told_in_the_state_beside_the_anomaly() -> None:
    follower = Follower(stream(detector(["x", "y"]), lateness=0.0))
    for second in range(4):
        follower.take(second, {"x": 2, "y": 2})
    for second in range(4, 66):
        follower.take(second, {"x": 2})
    found = follower.last[TOPIC]
    assert [one["kind"] for one in found["alerts"]] == ["anomaly", "no-data"]
    assert (found["state"], found["score"]) == ("anomalous", None)
    assert found["reason"] == "no readings of y arrive"


def test_an_asset_that_lacks_a_sensor_has_no_data_and_says_which() -> None:
    follower = Follower(stream(detector(["x", "y"]), lateness=0.0))
    for second in range(66):
        follower.take(second, {"x": 0, "y": 0} if second < 4 else {"x": 0})
    found = follower.last[TOPIC]
    assert (found["state"], found["reason"]) == ("no-data", "no readings of y arrive")
