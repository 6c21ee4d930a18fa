"""Sources of a stream: who sends, under which name, and several ways to one machine."""

import json
import math
from typing import Any

import numpy as np
import pytest

from models.frame import SECOND
from monitor.config import AlertsConfig, Config, StreamConfig
from monitor.errors import ConfigError
from monitor.reading import Message, MessageOutcome
from monitor.stream import Stream, filters_of, retained_of
from tests.monitor.machines import TODAY, detector, outcomes


def opened(*sensors: str, **keys: Any) -> Stream:
    config = StreamConfig.model_validate({"name": "pumps"} | keys)
    return Stream(config, AlertsConfig(), {None: detector(sensors)} if sensors else {})


def sent(topic: str, payload: object, second: float = 0) -> Message:
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return Message(topic, data, TODAY + round(second * SECOND), retained=False)


def read(
    of: Stream, *messages: Message
) -> tuple[list[list[float | None]], list[str], dict[tuple[str, str], int]]:
    """Values, outcomes, and rejected readings by sensor and reason."""
    rejected: dict[tuple[str, str], int] = {}

    def reject(sensor: int, reason: str, count: int) -> None:
        key = of.sensors.names[sensor], reason
        rejected[key] = rejected.get(key, 0) + count

    found, outcome = of.reader.read(messages, reject)
    rows = [[None if math.isnan(v) else v for v in row] for row in found.values.tolist()]
    return rows, [MessageOutcome(int(code)).label for code in outcome], rejected


# Names of assets


@pytest.mark.parametrize(
    ("keys", "topic", "payload", "asset", "labels"),
    [
        ({"topic": "{line}/{asset}", "asset": "{line}-{asset}"}, "a/p1", {}, "a-p1", {"line": "a"}),
        ({"topic": "{line}/x", "asset": "pump {line}"}, "a/x", {}, "pump a", {"line": "a"}),
        ({"topic": "x", "asset": "id"}, "x", {"id": "p1"}, "p1", {}),
        ({"topic": "x", "asset": "id"}, "x", {"id": 7}, "7", {}),
        ({"topic": "x", "asset": "dev.id"}, "x", {"dev": {"id": "p1"}}, "p1", {}),
        ({"topic": "x", "asset": "{model}-{id}"}, "x", {"model": "A b", "id": 5}, "A b-5", {}),
        ({"topic": "{line}/x", "asset": "{line}/{id}"}, "a/x", {"id": 5}, None, None),
        ({"topic": "{line}/{_}", "asset": "{line}:{id}"}, "a/x", {"id": 5}, "a:5", {"line": "a"}),
        ({"topic": "x", "asset": "{model}-{id}"}, "x", {"model": "A"}, None, None),
        ({"topic": "x", "asset": "id"}, "x", {"id": True}, None, None),
        ({"topic": "x", "asset": "id"}, "x", {"id": 1.5}, None, None),
        ({"topic": "x", "asset": "id"}, "x", {"id": 10**400}, None, None),
        ({"topic": "x", "asset": "id"}, "x", {"id": "a/b"}, None, None),
        ({"topic": "x", "asset": "id"}, "x", {"id": ""}, None, None),
    ],
    ids=lambda one: repr(one)[:50],
)
def test_an_asset_is_called_as_the_stream_says(
    keys: dict[str, Any],
    topic: str,
    payload: dict[str, Any],
    asset: str | None,
    labels: dict[str, str] | None,
) -> None:
    of = opened("v", **keys)
    assert outcomes(of, [sent(topic, {"v": 1} | payload)]) == ["accepted" if asset else "no-asset"]
    assert of.assets.names == ([asset] if asset else [])
    assert [dict(one) for one in of.assets.labels] == ([labels] if asset else [])


def test_many_devices_on_one_topic_are_assets_of_their_own() -> None:
    of = opened("v", topic="rtl", asset="id")
    rows, outcome, _ = read(of, *(sent("rtl", {"id": n % 3, "v": n}) for n in range(6)))
    assert of.assets.names == ["0", "1", "2"]
    assert outcome == ["accepted"] * 6
    assert rows == [[float(n)] for n in range(6)]


def test_one_message_may_be_of_several_assets() -> None:
    of = opened("v", topic="gateway", asset="id", samples="s")
    batch = {"s": [{"id": "a", "v": 1}, {"id": "", "v": 2}, {"id": "b", "v": 3}, {"id": "c"}]}
    rows, outcome, _ = read(of, sent("gateway", batch))
    assert (rows, outcome, of.assets.names) == ([[1.0], [3.0]], ["accepted"], ["a", "b"])
    assert read(of, sent("gateway", {"s": [{"v": 1}]}))[1] == ["no-asset"]


def test_the_memory_of_who_sent_what_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.reading.LARGEST_CACHE", 10)
    of = opened("v", topic="x", asset="id", max_assets=1000)
    assert outcomes(of, [sent("x", {"id": n, "v": 1}) for n in range(100)]) == ["accepted"] * 100
    assert len(of.reader._senders) <= 10


# Topics


def test_a_sensor_may_be_all_that_is_left_of_the_topic() -> None:
    sensors = {"power": "emeter/0/power", "state": {"path": "relay", "values": {"on": 1}}}
    of = opened("power", "state", payload="shelly", sensors=sensors)
    assert of.filters == ("shellies/+/#",)
    rows, outcome, _ = read(
        of,
        sent("shellies/s1/emeter/0/power", b"120.5"),
        sent("shellies/s1/relay", b"on"),
        sent("shellies/s1/relay", b"overpower"),
        sent("shellies/s1/emeter/1/power", b"7"),
        sent("shellies/s1", b"7"),
    )
    assert rows == [[120.5, None], [None, 1.0]]
    assert outcome == ["accepted", "accepted", "malformed", "no-sensor", "no-sensor"]


def test_json_on_a_topic_of_its_own_per_sensor_has_its_value_at_a_path() -> None:
    of = opened("v", topic="N/{asset}/{sensor#}", value="value", sensors={"v": "Dc/0/Voltage"})
    rows, outcome, rejected = read(
        of, sent("N/1/Dc/0/Voltage", {"value": 2.5}), sent("N/1/Dc/0/Voltage", {"value": None})
    )
    assert (rows, outcome, rejected) == ([[2.5]], ["accepted", "no-sensor"], {("v", "missing"): 1})


# Several sources


TWO = {
    "topic": "plant/{line}/{asset}/fast",
    "time": "t",
    "sensors": {"x": "x"},
    "source": [
        {
            "topic": "plant/{line}/{asset}/{sensor}",
            "payload": "number",
            "sensors": {"y": {"path": "temp", "scale": 0.1, "max": 50}},
        }
    ],
}


def test_sensors_of_one_asset_may_come_from_several_sources() -> None:
    of = opened("x", "y", **TWO)
    assert of.filters == ("plant/+/+/+",)  # which brings what is on the other topic too
    fast = sent("plant/a/p1/fast", {"t": TODAY / SECOND, "x": 1, "y": 5})
    rows, outcome, rejected = read(
        of, fast, sent("plant/a/p1/temp", b"215"), sent("plant/a/p1/temp", b"900")
    )
    assert rows == [[1.0, None], [None, 21.5]]
    assert outcome == ["accepted", "accepted", "no-sensor"]
    assert rejected == {("y", "out-of-range"): 1}
    assert of.assets.names == ["p1"]
    of.take([fast, sent("plant/a/p1/temp", b"215")], TODAY)
    np.testing.assert_allclose(of.pipeline.board.value[0], [1.0, 21.5])


def test_the_first_source_whose_topic_matches_reads_a_message() -> None:
    of = opened("x", "y", **TWO)
    # fast is also a word for {sensor}, but a number is no message of the first source
    assert read(of, sent("plant/a/p1/fast", b"7"))[1] == ["malformed"]


def test_streams_that_share_topics_subscribe_once_and_lose_no_retained_message() -> None:
    narrow = opened("x", topic="plant/{asset}/telemetry", accept_retained=True)
    wide = opened("x", topic="plant/{asset}/{line}")
    apart = opened("x", topic="hall/{asset}")
    assert filters_of([narrow, wide, apart]) == ["plant/+/+", "hall/+"]
    assert retained_of([narrow, wide, apart]) == ["plant/+/+"]
    assert retained_of([wide, apart]) == []


def test_a_stream_may_consist_of_tables_of_sources_alone() -> None:
    first = {key: value for key, value in TWO.items() if key != "source"}
    of = opened("x", "y", source=[first, *TWO["source"]])
    assert of.filters == opened("x", "y", **TWO).filters
    preset = opened("p", source=[{"payload": "esphome"}, {"payload": "homeassistant"}])
    assert preset.filters == ("+/sensor/+/state", "homeassistant/+/+/state")


def test_one_asset_under_two_sets_of_labels_is_ambiguous_in_all_sources() -> None:
    of = opened("x", "y", **TWO)
    found = read(
        of,
        sent("plant/a/p1/fast", {"t": TODAY / SECOND, "x": 1}),
        sent("plant/b/p1/temp", b"215"),
        sent("plant/a/p1/temp", b"215"),
    )
    assert found[1] == ["accepted", "ambiguous-asset", "accepted"]


def test_labels_count_in_the_order_of_the_first_source() -> None:
    second = {"topic": "b/{asset}/{line}/{site}", "sensors": {"y": "y"}}
    of = opened("x", "y", topic="a/{site}/{line}/{asset}", sensors={"x": "x"}, source=[second])
    assert outcomes(of, [sent("a/s/l/p", {"x": 1}), sent("b/p/l/s", {"y": 1})]) == ["accepted"] * 2
    assert of.assets.labels == [(("site", "s"), ("line", "l"))]


def test_a_sensor_that_no_source_has_is_named() -> None:
    with pytest.raises(ConfigError, match=r"sensors: does not map z, which .*; found x, y"):
        opened("x", "y", "z", **TWO)


# Counters


COUNTER: dict[str, Any] = {
    "topic": "{asset}",
    "time": "t",
    "sensors": {"e": {"counter": True, "scale": 3600, "max": 9000}, "x": "x"},
}


def count(second: float, value: float | None, asset: str = "p1", **more: float) -> Message:
    return sent(asset, {"t": TODAY / SECOND + second, "e": value, **more}, second)


def test_a_counter_is_read_as_its_rate_per_second() -> None:
    of = opened("e", "x", **COUNTER)
    sent_in = [count(0, 10), count(2, 11), count(3, 13), count(4, 23), count(5, 0.5), count(6, 1)]
    rows, outcome, rejected = read(of, *sent_in)
    assert rows == [[1800.0, None], [7200.0, None], [1800.0, None]]
    assert outcome == ["no-sensor", "accepted", "accepted", "no-sensor", "no-sensor", "accepted"]
    assert rejected == {("e", "missing"): 2, ("e", "out-of-range"): 1}


def test_every_asset_has_counters_of_its_own_and_other_sensors_go_on() -> None:
    of = opened("e", "x", **COUNTER)
    rows, outcome, _ = read(
        of, count(0, 1, x=5), count(0, 100, "p2"), count(1, 2, x=6), count(1, 100, "p2")
    )
    assert rows == [[None, 5.0], [3600.0, 6.0], [0.0, None]]
    assert outcome == ["accepted", "no-sensor", "accepted", "accepted"]


def test_a_count_without_a_rate_is_explained_and_a_null_is_missing() -> None:
    of = opened("e", "x", **COUNTER)
    said: list[str] = []
    rejected: list[str] = []
    for one in (count(0, 9, x=1), count(1, 3, x=1), count(2, None, x=1), count(3, 4, x=1)):
        of.reader.read([one], lambda sensor, reason, n: rejected.append(reason), said.append)
    assert said == ["e: the first of a counter, or the first lower one, has no rate"] * 2
    assert rejected == ["missing"]


def test_a_count_that_comes_late_or_twice_is_said_to_and_leaves_the_rates_right() -> None:
    of = opened("e", "x", **COUNTER)
    sent_in = [count(0, 0), count(2, 2), count(1, 1), count(2, 2), count(2, 1), count(3, 3)]
    rows, outcome, rejected = read(of, *sent_in)
    assert rows == [[3600.0, None], [3600.0, None]]
    assert outcome == ["no-sensor", "accepted", "late", "duplicate", "late", "accepted"]
    assert rejected == {("e", "missing"): 1, ("e", "late"): 2, ("e", "duplicate"): 1}


def test_rates_do_not_depend_on_batches() -> None:
    sent_in = [count(n, n * n % 50, f"p{n % 3}") for n in (0, 1, 2, 3, 7, 5, 6, 4, 8, 9, 10, 11)]
    whole, cut = opened("e", "x", **COUNTER), opened("e", "x", **COUNTER)
    rows, outcome, _ = read(whole, *sent_in)
    parts = [read(cut, one) for one in sent_in]
    assert [row for part, _, _ in parts for row in part] == rows
    assert [label for _, labels, _ in parts for label in labels] == outcome


def test_a_count_from_the_future_is_not_remembered() -> None:
    of = opened("e", "x", **COUNTER)
    ahead = sent("p1", {"t": TODAY / SECOND + 3600, "e": 9})
    rows, outcome, rejected = read(of, count(0, 0), ahead, count(1, 1))
    assert (rows, outcome) == ([[3600.0, None]], ["no-sensor", "future", "accepted"])
    assert rejected == {("e", "missing"): 1, ("e", "future"): 1}


def test_what_is_remembered_of_counters_is_bounded_by_the_assets() -> None:
    of = opened("e", "x", **COUNTER, max_assets=2)
    flood = [count(0, 1, f"p{n}") for n in range(100)]
    assert read(of, *flood)[1] == ["no-sensor"] * 2 + ["asset-limit"] * 98
    assert of.reader._rates
    assert len(of.reader._rates._last) == 2


# What we publish ourselves


@pytest.mark.parametrize(
    ("topic", "refused"),
    [
        ("{site}/{line}/{asset}", True),
        ("sensor-monitor/{line}/{a}/{asset}/state", True),
        ("{a}/{b}/{c}/{asset}/{d}", True),
        ("{asset}/{rest#}", True),
        ("{a}/{b}/{c}/{asset}", False),
        ("{asset}/events/rpc", False),
        ("{asset}/sensor/{_}/state", False),
        ("plant/{line}/{asset}", False),
    ],
)
def test_no_stream_may_listen_to_what_we_publish(topic: str, refused: bool) -> None:
    stream = {"name": "a", "topic": topic, "sensors": {"x": "x"}}
    if not refused:
        Config.model_validate({"stream": [stream]})
        return
    with pytest.raises(ValueError, match=r"would also match what we publish on sensor-monitor/"):
        Config.model_validate({"stream": [stream]})
    Config.model_validate({"stream": [{**stream, "topic": f"plant/{topic}"}]})
