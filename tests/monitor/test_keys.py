"""A sensor that goes on under another key is told of with that key, and soon."""

import json
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.frame import SECOND
from monitor.alert import Alert
from monitor.config import AlertsConfig, SensorConfig
from monitor.keys import LARGEST, MOST_KEYS, MOST_KINDS, MOST_LOOKS, Keys
from monitor.reading import Message
from monitor.shape import MOST_FIELDS
from monitor.stream import Stream
from tests.monitor.machines import TODAY, detector, many, message, stream

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
        at_once: bool = False,
    ) -> list[Alert]:
        """Each asset sends documents in turn or `at_once`, each `every` seconds, for so long."""
        told: list[Alert] = []
        for second in range(self.second, self.second + seconds):
            mine: list[Message] = []
            if documents and second % every == 0:
                which = documents if at_once else [documents[second // every % len(documents)]]
                mine = [message(second, dict(of), asset) for asset in assets for of in which]
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


def test_a_key_of_other_messages_of_the_same_moment_is_not_new() -> None:
    flow, temperature = {"flow": 5.0, "rssi": -60}, {"temperature_c": 21.0}
    sent = Sent()
    assert sent.on(200, flow, temperature, at_once=True) == []
    assert sent.on(30, flow) + sent.on(100, flow, temperature, at_once=True) == []
    (opened,) = sent.on(100, flow)
    assert at([opened]) == [("no-data", "opened", 390)]  # came last at 329
    assert "key" not in opened.summary


@pytest.mark.parametrize("last", [0, 1])
def test_a_renamed_key_beside_other_messages_of_the_same_moment_is_named(last: int) -> None:
    others = [{"flow": 5.0}, {"uptime": 7}]
    sent = Sent()
    assert sent.on(100, {"temperature_c": 21.0}, *others, at_once=True) == []
    after = [{"temperatureC": 21.4}, *others]
    (opened,) = sent.on(100, *(after if last else after[::-1]), at_once=True)
    assert at([opened]) == [("no-data", "opened", 110)]
    assert "the new key temperatureC with 21.4." in opened.summary


TOO_MANY = {"n": [[1] * 50] * (MOST_FIELDS // 50)}


@pytest.mark.parametrize("more", [{"log": "x" * LARGEST}, TOO_MANY])
def test_where_what_came_before_cannot_be_looked_into_no_key_is_new(
    more: Mapping[str, Any],
) -> None:
    sent = Sent()
    sent.on(100, {**more, **BEFORE})
    (opened,) = sent.on(100, {"flow": 5.0, "rssi": -60})
    assert at([opened]) == [("no-data", "opened", 160)]
    assert "key" not in opened.summary


def test_a_number_beyond_all_floats_hides_no_other_key() -> None:
    sent = Sent()
    sent.on(100, {**BEFORE, "total": 10**400})
    (opened,) = sent.on(100, {**AFTER, "total": 10**400, "other": -(10**309)})
    assert at([opened]) == [("no-data", "opened", 110)]
    assert opened.summary.endswith("the new key temperatureC with 21.4.")


def test_of_an_asset_whose_messages_are_of_too_many_kinds_no_key_is_new() -> None:
    names = [f"s{n}" for n in range(MOST_KINDS + 1)]
    sent = Sent(stream(sensors={name: SensorConfig(path=name) for name in names}))
    kinds = [{name: 5.0} for name in names]
    sent.on(100, *kinds, at_once=True)
    told = sent.on(100, {"S0": 5.0}, *kinds[1:], at_once=True)
    assert at(told) == [("no-data", "opened", 160)]
    assert "key" not in told[0].summary
    sent.on(1, kinds[1])
    keys = sent.stream.keys
    assert (keys._kinds, keys._first) == ({}, {})


def test_kinds_of_messages_that_come_one_after_the_other_may_be_many() -> None:
    names = [f"s{n}" for n in range(2 * MOST_KINDS)]
    sent = Sent(stream(sensors={name: SensorConfig(path=name) for name in names}))
    kinds = [{name: 5.0} for name in names]
    sent.on(100, *kinds)
    (opened,) = sent.on(100, {"S0": 5.0}, *kinds[1:])
    assert "the new key S0 with 5." in opened.summary
    (kept,) = sent.stream.keys._kinds.values()
    assert len(kept) == MOST_KINDS


def test_a_kind_that_could_not_be_looked_into_is_remembered_among_many() -> None:
    names = [f"s{n}" for n in range(2 * MOST_KINDS)]
    sent = Sent(stream(sensors={name: SensorConfig(path=name) for name in names}))
    kinds = [{name: 5.0} for name in names]
    sent.on(160, {"s0": 5.0, "rssi": -60, "log": "x" * LARGEST}, *kinds[1:])
    told = sent.on(160, {"s0": 5.0, "rssi": -60}, *kinds[2:])
    assert [one.sensors[0].name for one in told] == ["s1"]
    assert "key" not in told[0].summary


def test_what_an_asset_sent_before_all_its_sensors_came_is_known() -> None:
    sent = Sent()
    sent.on(1, {"flow": 5.0, "rssi": -60})
    sent.on(100, {"flow": 5.0, "temperature_c": 21.0})
    (opened,) = sent.on(100, {"flow": 5.0, "rssi": -60})
    assert at([opened]) == [("no-data", "opened", 161)]
    assert "key" not in opened.summary


def test_a_kind_that_never_came_is_looked_into_before_all_that_wait() -> None:
    fleet = [f"p{n}" for n in range(8 * MOST_LOOKS)]
    flow = {"flow": 5.0}
    sent = Sent()
    sent.on(30, flow, {"temperature_c": 21.0}, assets=fleet, at_once=True)
    told: list[Alert] = []
    for second in range(30, 45):
        mine = [message(second, flow, asset) for asset in fleet]
        for n, asset in enumerate(fleet):
            key = "temperature_c" if n % 20 else "temperatureC"
            mine.append(message(second, {key: 21.0}, asset))
        told += sent.stream.take(mine, TODAY + second * SECOND)
    assert at(told) == [("no-data", "opened", 40)] * len(fleet[::20])
    assert all("the new key temperatureC" in one.summary for one in told)


# What an asset sends: sensors, and the number of a key besides; if that is odd, too large at first.
FORMAT = st.tuples(st.sets(st.integers(0, 2)), st.integers(0, 9))


@many
@given(st.lists(FORMAT, max_size=8), st.integers(1, 30), st.randoms(use_true_random=False))
def test_no_key_is_new_where_no_new_message_ever_came(
    formats: list[tuple[set[int], int]], assets: int, rng: random.Random
) -> None:
    """However many assets wait to be looked into, in whatever order and batches all come."""
    # Of messages with all sensors only the newest is remembered.
    formats = [one for one in formats if len(one[0]) < 3] + [({0, 1, 2}, 0)]
    keys = Keys([], ["a", "b", "c"])
    learnt = 10

    def send(chosen: Sequence[tuple[set[int], int]], padding: str) -> None:
        rows = [(asset, one) for one in chosen for asset in range(assets)]
        payloads = [
            json.dumps({f"k{key}": 1.5, "log": padding if key % 2 else ""}).encode()
            for _, (_, key) in rows
        ]
        values = [[1.5 if n in of else math.nan for n in range(3)] for _, (of, _) in rows]
        keys.note(payloads, np.array([asset for asset, _ in rows]), np.array(values))

    send(rng.sample(formats, len(formats)), "x" * LARGEST)
    keys.look(learnt)
    for now in range(learnt + 1, learnt + 20):
        for _ in range(rng.randrange(3)):
            send(rng.choices(formats, k=rng.randrange(1, 4)), "")
        keys.look(now)
        assert (keys.since(assets) <= learnt).all()


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
    (first,) = sent.stream.keys._first.values()
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
