"""A sensor that goes on under another key is told of with that key, and soon."""

import json
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

from models.frame import SECOND
from monitor.alert import Alert
from monitor.config import AlertsConfig, SensorConfig
from monitor.keys import LARGEST, MOST_KEYS, MOST_LOOKS, Keys
from monitor.reading import Message
from monitor.stream import Stream
from tests.monitor.machines import TODAY, detector, message, stream

BEFORE = {"flow": 5.0, "temperature_c": 21.0, "rssi": -60}
AFTER = {"flow": 5.0, "temperatureC": 21.4, "rssi": -61}
SENSORS = {"flow": SensorConfig(path="flow"), "temperature_c": SensorConfig(path="temperature_c")}


class Sent:
    """What a stream tells of messages that arrive at once, being looked at every second."""

    def __init__(self, of: Stream | None = None) -> None:
        self.stream = of or stream(sensors=SENSORS)
        self.second = 0

    def on(
        self,
        seconds: int,
        *documents: Mapping[str, Any],
        every: int = 1,
        assets: Sequence[str] = ("p1",),
    ) -> list[Alert]:
        """Each asset sends the documents in turn, one each `every` seconds, for so long."""
        told: list[Alert] = []
        for second in range(self.second, self.second + seconds):
            mine: list[Message] = []
            if documents and second % every == 0:
                document = dict(documents[second // every % len(documents)])
                mine = [message(second, document, asset) for asset in assets]
            told += self.stream.take(mine, TODAY + second * SECOND)
        self.second += seconds
        return told


def at(alerts: Sequence[Alert]) -> list[tuple[str, str, int]]:
    return [(one.kind, one.step, (one.time - TODAY) // SECOND) for one in alerts]


def test_a_renamed_key_is_one_alert_that_names_sensor_and_new_key_in_under_a_minute() -> None:
    sent = Sent()
    assert sent.on(100, BEFORE) == []
    (opened,) = sent.on(600, AFTER)
    assert at([opened]) == [("no-data", "opened", 110)]  # came last at 99
    assert opened.summary == (
        "pumps/p1: temperature_c has been silent since 2026-09-21T14:14:59Z, while others come; "
        "its messages now have the new key temperatureC with 21.4."
    )
    assert [one.name for one in opened.sensors] == ["temperature_c"]
    (resolved,) = sent.on(100, BEFORE)
    assert (resolved.step, resolved.reason) == ("resolved", "normal")


def test_a_sensor_of_a_model_is_told_of_as_soon() -> None:
    sent = Sent(stream(detector([*SENSORS]), sensors=SENSORS))
    sent.on(100, BEFORE)
    (opened,) = [one for one in sent.on(50, AFTER) if one.kind == "no-data"]
    assert at([opened]) == [("no-data", "opened", 110)]
    assert "the new key temperatureC" in opened.summary


@pytest.mark.parametrize(("every", "after"), [(1, 11), (5, 11), (15, 31), (25, 51), (60, 121)])
def test_two_of_a_sensors_usual_pauses_are_enough(every: int, after: int) -> None:
    sent = Sent()
    sent.on(every * 20, BEFORE, every=every)
    (opened,) = sent.on(max(20, every * 10), AFTER, every=every)
    assert (opened.time - opened.onset) // SECOND == after
    assert "the new key temperatureC" in opened.summary


def test_all_keys_may_be_renamed_at_once() -> None:
    sent = Sent()
    sent.on(100, {"flow": 5.0, "temperature_c": 21.0})
    (opened,) = sent.on(600, {"temperatureC": 21.4, "f": 5.25})
    assert opened.summary.endswith(
        "flow, temperature_c has been silent since 2026-09-21T14:14:59Z; its messages now have "
        "the new keys temperatureC with 21.4, f with 5.25."
    )


def test_the_key_most_like_the_old_one_is_named_of_many() -> None:
    sent = Sent()
    sent.on(100, BEFORE)
    (opened,) = sent.on(100, {"a": 1, "heap": 2, **AFTER, "uptime": 3})
    assert "now have the new keys temperatureC with 21.4 and 3 more." in opened.summary


def test_a_key_that_was_there_before_is_not_new() -> None:
    sent = Sent()
    sent.on(100, BEFORE)
    (opened,) = sent.on(100, {"flow": 5.0, "rssi": -60})
    assert at([opened]) == [("no-data", "opened", 160)]
    assert "key" not in opened.summary


def test_a_key_that_is_read_is_not_new_when_its_sensor_first_comes() -> None:
    sent = Sent(stream(sensors=SENSORS | {"valve": SensorConfig(path="valve")}))
    sent.on(100, BEFORE)
    (opened,) = sent.on(100, {"flow": 5.0, "valve": 1})
    assert at([opened]) == [("no-data", "opened", 160)]
    assert "key" not in opened.summary


@pytest.mark.parametrize(
    "more",
    [
        {"temperatureC": "21.4"},
        {"temperatureC": True},
        {"temperatureC": None},
        {"temperatureC": math.nan},
        {"temperatureC": 10**400},
        {"device_time": TODAY / SECOND},
        {"temperature\u202e": 21.4},
        {"k" * 101: 21.4},
        {"a": [{"b": {}}]},
        {"deep": "x" * LARGEST, "temperatureC": 21.4},
    ],
)
def test_what_is_no_number_or_no_name_is_no_new_key(more: Mapping[str, Any]) -> None:
    sent = Sent(stream(sensors=SENSORS, lenient_json=True))
    sent.on(100, BEFORE)
    (opened,) = sent.on(100, {"flow": 5.0, **more})
    assert at([opened]) == [("no-data", "opened", 160)]
    assert "key" not in opened.summary


def test_messages_of_several_kinds_lack_sensors_and_have_keys_all_the_time() -> None:
    kinds = ({"temperature_c": 21.0}, {"flow": 5.0, "rssi": -60}, {"uptime": 7}, {"heap": 8})
    sent = Sent()
    assert sent.on(200, *kinds) == []
    (opened,) = sent.on(100, *kinds[1:])
    assert at([opened]) == [("no-data", "opened", 257)]  # came last at 196
    assert "key" not in opened.summary


def test_a_renamed_key_in_messages_of_several_kinds_is_named_and_told_of_once() -> None:
    kinds = ({"temperature_c": 21.0}, {"flow": 5.0, "rssi": -60}, {"uptime": 7})
    sent = Sent()
    sent.on(200, *kinds)
    (opened,) = sent.on(600, {"temperatureC": 21.4}, *kinds[1:])
    assert opened.time - opened.onset < 20 * SECOND
    assert "the new key temperatureC with 21.4." in opened.summary


def test_a_reading_that_stays_away_for_a_few_messages_is_not_renamed() -> None:
    sent = Sent()
    sent.on(100, BEFORE)
    assert sent.on(10, AFTER) + sent.on(100, BEFORE) + sent.on(10, AFTER) == []


def test_an_update_that_takes_minutes_is_told_of_again_with_the_new_key() -> None:
    sent = Sent()
    sent.on(100, BEFORE)
    opened, updated = sent.on(200) + sent.on(600, AFTER)
    assert at([opened, updated]) == [("no-data", "opened", 160), ("no-data", "updated", 300)]
    assert [one.name for one in updated.sensors] == ["temperature_c"]
    assert "the new key temperatureC" in updated.summary


def test_a_path_and_an_item_of_a_list_are_named_as_they_are_configured() -> None:
    sensors = {
        "flow": SensorConfig(path="ch[id=1].flow"),
        "t": SensorConfig(path='ch[id=2]."the t.c"'),
    }
    sent = Sent(stream(sensors=sensors))
    sent.on(100, {"ch": [{"id": 1, "flow": 5.0}, {"id": 2, "the t.c": 21.0}]})
    (opened,) = sent.on(
        100, {"ch": [{"id": 3, "flow": 9.0}, {"id": 1, "flow": 5.0}, {"id": 2, "the t.C": 21.4}]}
    )
    assert opened.summary.endswith('the new key ch[2]."the t.C" with 21.4.')


def test_samples_of_a_list_and_messagepack_are_read_alike() -> None:
    of = stream(sensors=SENSORS, payload="msgpack", samples="d")

    def packed(second: int, document: Mapping[str, Any]) -> list[Message]:
        whole = {"t": TODAY / SECOND + second, "d": [document]}
        topic = "plant/a/p1/telemetry"
        return [Message(topic, msgspec.msgpack.encode(whole), TODAY + second * SECOND, False)]

    told: list[Alert] = []
    for second in range(200):
        mine = packed(second, BEFORE if second < 100 else AFTER)
        told += of.take(mine, TODAY + second * SECOND)
    assert at(told) == [("no-data", "opened", 110)]
    assert told[0].summary.endswith("the new key d[0].temperatureC with 21.4.")


def test_each_asset_of_a_fleet_is_told_of_by_itself() -> None:
    sent = Sent()
    fleet = [f"p{n}" for n in range(2 * MOST_LOOKS + 1)]
    assert sent.on(30, BEFORE, assets=fleet) == []
    told = sent.on(60, AFTER, assets=fleet)
    assert sorted(one.asset or "" for one in told) == sorted(fleet)
    assert all("the new key temperatureC" in one.summary for one in told)
    assert {one.step for one in told} == {"opened"}


def test_what_is_remembered_of_made_up_keys_is_bounded() -> None:
    sent, rng = Sent(), random.Random(0)
    sent.on(10, BEFORE)
    for _ in range(30):
        sent.on(1, {"flow": 5.0} | {f"k{rng.random()}": n for n in range(50)})
    (first,) = sent.stream.reader.keys._first.values()
    assert len(first) == MOST_KEYS


def test_whole_payloads_are_not_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    sent, looked = Sent(), list[bytes]()
    real = json.loads
    monkeypatch.setattr("monitor.keys.json.loads", lambda b: looked.append(b) or real(b))  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    sent.on(50, BEFORE)
    assert looked == []
    sent.on(5, AFTER)
    assert len(looked) == 6  # each one, and the last whole one once


def test_a_topic_for_each_sensor_has_no_keys() -> None:
    of = stream(
        sensors={"x": SensorConfig(path="x")}, topic="plant/{line}/{asset}/{sensor}", value="v"
    )
    assert [source.read for source in of.sources] == [None]


def test_without_rows_nothing_is_noted() -> None:
    keys = Keys((), ["x"])
    keys.note([], np.empty(0, np.int64), np.empty((0, 1)))
    assert keys.since(0).shape == (0,)


def test_an_alert_is_told_again_with_its_key() -> None:
    sent = Sent(stream(sensors=SENSORS, alerts=AlertsConfig(renotify=100)))
    sent.on(100, BEFORE)
    told = sent.on(250, AFTER)
    assert [one.step for one in told] == ["opened", "updated", "updated"]
    assert all(one.summary.endswith("temperatureC with 21.4.") for one in told)
