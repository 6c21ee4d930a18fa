"""What is heard on a broker becomes a configuration that reads it."""

import json
import re
import time
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.frame import SECOND
from monitor import config as configuration
from monitor.discovery import MOST_TOPICS, Survey, proposals
from monitor.draft import render
from monitor.reading import Message
from monitor.shape import LARGEST, MOST_FIELDS, shape_of
from monitor.stream import open_streams
from tests.monitor.machines import TODAY, few, many
from tests.monitor.test_real_payloads import RECORDS, records, sent
from tests.monitor.test_sparkplug import payload as sparkplug_payload

BROKER = {"host": "127.0.0.1", "port": 1883}
NUMBERS = {"speed": 1200, "flow": 80.5}


def survey(*messages: tuple[str, object]) -> Survey:
    """What is known after messages, one a second."""
    of = Survey()
    for second, (topic, payload) in enumerate(messages):
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        of.take(Message(topic, data, TODAY + second * SECOND, retained=False))
    return of


def keys(*messages: tuple[str, object]) -> dict[str, Any]:
    """The one stream that is proposed, with the names of its sensors."""
    (one,) = proposals(list(survey(*messages).topics.values()))
    assert one.fault is None
    assert one.read == len(one.heard)
    return {k: v for k, v in one.keys.items() if k != "name"} | {"sensors": list(one.sensors)}


@pytest.mark.parametrize(
    ("payload", "form", "fields", "further"),
    [
        (b"12.5", "number", {"": False}, {}),
        (b" 7\n", "number", {"": False}, {}),
        (b'{"a": 1, "b": {"c d": 2.5, "e.f": 3}}', "json", ["a", "b.c d", 'b."e.f"'], {}),
        (b'{"a": "1.5", "b": "on", "c": true}', "json", {"a": True}, {}),
        (b'{"a": [1, {"b": 2}]}', "json", ["a[0]", "a[1].b"], {}),
        (b'{"a": 1, "ts": 1790000000}', "json", ["a"], {"time": "ts"}),
        (b'{"a": 1, "ts": 1790000000000}', "json", ["a"], {"time": "ts", "time_unit": "ms"}),
        (b'{"a": 1, "Time": "2026-01-05T00:00:00Z"}', "json", ["a"], {"time": "Time"}),
        (b'{"a": 1, "Time": "2026-01-05T00:00:00"}', "json", ["a"], {}),
        (b'{"a": 1, "runtime": 12}', "json", ["a", "runtime"], {}),
        (b'[{"bn": "p1/", "n": "t", "v": 1}, {"n": "u", "v": 2}]', "senml", ["p1/t", "p1/u"], {}),
        (b"pump,line=a current=1.2,n=3i 1790000000000000000", "influx", ["current", "n"], {}),
        (b"1.5,2,3", "csv", ["[0]", "[1]", "[2]"], {}),
        (b"2026-01-05T00:00:00Z;2;3", "csv", ["[1]", "[2]"], {"delimiter": ";", "time": "[0]"}),
        (msgspec.msgpack.encode({"a": 1.5}), "msgpack", ["a"], {}),
        (b"", "", {}, {}),
        (b"online", "", {}, {}),
        (b"\xff\xfe\x00", "", {}, {}),
        (b"[" * 5000, "", {}, {}),
        (b'{"a": 1', "", {}, {}),
    ],
)
def test_format_numbers_and_time_are_seen_in_the_bytes(
    payload: bytes, form: str, fields: Any, further: dict[str, str]
) -> None:
    shape = shape_of("plant/p1", payload)
    wanted = fields if isinstance(fields, dict) else dict.fromkeys(fields, False)
    assert (shape.form, shape.fields, shape.keys) == (form, wanted, further)


@pytest.mark.parametrize(
    ("topics", "payload", "topic", "more"),
    [
        (["plant/p1/telemetry", "plant/p2/telemetry"], NUMBERS, "plant/{asset}/telemetry", {}),
        (["plant/p1/telemetry"], NUMBERS, "plant/{asset}/telemetry", {}),
        (
            ["plant/a/p1/t", "plant/a/p2/t", "plant/b/p3/t"],
            NUMBERS,
            "plant/{level2}/{asset}/t",
            {},
        ),
        (
            ["plant/a/p1/t", "plant/a/p2/t", "plant/b/p1/t"],
            NUMBERS,
            "plant/{level2}/{asset}/t",
            {"asset": "{level2}-{asset}"},
        ),
        (["plant/p1/x", "plant/p1/y", "plant/p2/x"], 1.5, "plant/{asset}/{sensor}", {}),
        (["house/kitchen/x", "house/kitchen/y"], 1.5, "house/{asset}/{sensor}", {}),
        (
            ["plant/p1/x", "plant/p1/y"],
            {"value": 2},
            "plant/{asset}/{sensor}",
            {"value": "value"},
        ),
    ],
)
def test_levels_that_vary_are_the_asset_the_sensor_and_labels(
    topics: list[str], payload: object, topic: str, more: dict[str, str]
) -> None:
    found = keys(*((name, payload) for name in topics))
    sensors = (
        ["speed", "flow"] if payload is NUMBERS else sorted({t.split("/")[-1] for t in topics})
    )
    form = "number" if isinstance(payload, float) else "json"
    assert found == {"payload": form, "topic": topic, "sensors": sensors} | more


@pytest.mark.parametrize(
    ("topic", "payload", "preset", "sensor"),
    [
        ("tele/pow1/SENSOR", {"ENERGY": {"Power": 5}}, "tasmota", "Power"),
        ("zigbee2mqtt/door", {"battery": 90}, "zigbee2mqtt", "battery"),
        ("shellies/em3/emeter/0/power", 5.5, "shelly", "emeter/0/power"),
        ("box/sensor/heat/state", 5.5, "esphome", "heat"),
        ("homeassistant/sensor/heat/state", 5.5, "homeassistant", "heat"),
    ],
)
def test_well_known_devices_are_read_by_their_presets(
    topic: str, payload: object, preset: str, sensor: str
) -> None:
    found = keys((topic, payload))
    assert found["payload"] == preset
    assert found["sensors"] == [sensor]


def test_topics_with_other_fields_are_streams_of_their_own() -> None:
    heard = survey(("plant/p1", NUMBERS), ("plant/p2", NUMBERS), ("plant/lamp", {"light": 5}))
    found = proposals(list(heard.topics.values()))
    assert [len(one.heard) for one in found] == [1, 2]
    assert "read the same topics" in render(heard, BROKER)


def test_what_cannot_be_used_stands_there_as_a_comment_with_the_reason() -> None:
    heard = survey(("temperature", 5.5), ("door", b"open"))
    text = render(heard, BROKER)
    assert tomllib.loads(text) == {"mqtt": BROKER}
    assert "NOT USED" in text
    assert "names no {asset}" in text
    assert '"door"' in text


def test_the_usual_period_is_told() -> None:
    heard = survey(*[("plant/p1", NUMBERS), ("plant/p2", NUMBERS)] * 5)
    assert "2 topics, each about every 2 s" in render(heard, BROKER)


def test_what_a_daemon_tells_is_not_proposed() -> None:
    assert not survey(("sensor-monitor/edge-1/pumps/p1/state", {"score": 0.1})).topics


def test_what_is_remembered_has_a_bound() -> None:
    many_topics = survey(*((f"plant/{n}", 1.5) for n in range(MOST_TOPICS + 5)))
    assert (len(many_topics.topics), many_topics.left_out) == (MOST_TOPICS, 5)
    assert survey(("plant/p1", b"1" * (LARGEST + 1))).left_out == 1
    changing = survey(*(("plant/p1", {f"x{n}": 1.5}) for n in range(3 * MOST_FIELDS)))
    assert len(changing.topics["plant/p1"].shape.fields) == MOST_FIELDS
    assert changing.topics["plant/p1"].count == 3 * MOST_FIELDS


WORDS = st.one_of(
    st.text(max_size=12), st.text('a\n\r\x85\u2028\u202e\x7f"\\\\#=[]{}. ', max_size=12)
)
UNZONED = st.fixed_dictionaries({"time": st.just("2026-01-05T00:00:00"), "a": st.just(1)})
HEARD = st.lists(
    st.tuples(
        WORDS.filter(lambda t: t != "" and not set(t) & set("+#\0")),
        st.one_of(
            st.binary(max_size=40),
            st.dictionaries(WORDS, st.floats(allow_nan=False, allow_infinity=False), max_size=4),
            st.recursive(st.one_of(st.integers(), WORDS), lambda x: st.dictionaries(WORDS, x)),
            st.dictionaries(WORDS, UNZONED, min_size=1, max_size=2),
        ),
    ),
    max_size=8,
)
KEYS = ("name", "payload", "topic", "asset", "time", "time_unit", "value", "delimiter")
TEXT = r'"(?:[^"\\]|\\.)*"'
OURS = re.compile(
    r'|\[mqtt\]|host = "127.0.0.1"|port = 1883|\[\[stream\]\]|\[stream\.sensors\]'
    rf"|(?:{'|'.join(KEYS)}) = {TEXT}|{TEXT} = {{ path = {TEXT}(?:, text = true)? }}"
)


@few
@given(HEARD)
def test_whatever_is_heard_the_configuration_is_toml_of_streams_that_open(
    messages: list[tuple[str, object]],
) -> None:
    text = render(survey(*messages), BROKER)
    for table in tomllib.loads(text).get("stream", []):
        configuration.StreamConfig.model_validate(table)


@many
@given(HEARD)
def test_whatever_is_heard_every_line_is_ours_or_a_comment(
    messages: list[tuple[str, object]],
) -> None:
    text = render(survey(*messages), BROKER)
    strange = [line for line in text.splitlines() if line[:1] != "#" and not OURS.fullmatch(line)]
    assert not strange
    found = tomllib.loads(text)
    assert found.keys() <= {"mqtt", "stream"}
    assert found["mqtt"] == BROKER
    for table in found.get("stream", []):
        assert table.keys() <= {*KEYS, "sensors"}


def test_a_number_that_no_sensor_can_be_called_after_is_left_out_alone() -> None:
    heard = survey(("plant/p1", {"flow": 1.5, "k" * 129: 2, "a\nb": 3}))
    (one,) = proposals(list(heard.topics.values()))
    assert (one.fault, list(one.sensors)) == (None, ["flow"])
    assert "Left out: 2 numbers" in render(heard, BROKER)
    text = render(survey(("plant/p1", {"k" * 129: 2})), BROKER)
    assert 'NOT USED: "no number here has a name that a sensor can have"' in text


def test_the_work_grows_with_what_was_heard_and_no_faster() -> None:
    known = {f"f{n}": 1 for n in range(120)}
    heard = survey(
        *((f"plant/p{i}", known | {f"own{i}-{n}": 1 for n in range(60)}) for i in range(100))
    )
    began = time.process_time()
    (one,) = proposals(list(heard.topics.values()))
    assert len(one.sensors) == MOST_FIELDS
    assert time.process_time() - began < 5  # once it was a minute


def test_a_birth_of_sparkplug_names_the_sensors() -> None:
    metrics: list[dict[str, Any]] = [
        {"name": "Motor/y", "alias": 1, "datatype": 9, "float_value": 1.5},
        {"name": "x", "alias": 2, "datatype": 3, "int_value": 2},
        {"name": "on", "datatype": 11, "boolean_value": True},
        {"name": "Node Control/Rebirth", "datatype": 11, "boolean_value": False},
        {"name": "bdSeq", "datatype": 4, "long_value": 0},
    ]
    birth = "spBv1.0/g/NBIRTH/n", sparkplug_payload(*metrics)
    data = "spBv1.0/g/NDATA/n", sparkplug_payload({"alias": 1, "float_value": 2.5}, seq=1)

    assert keys(birth, data) == {"payload": "sparkplug", "sensors": ["Motor/y", "x"]}
    (one,) = proposals(list(survey(data).topics.values()))
    assert one.fault is not None
    assert "no birth" in one.fault
    (one,) = proposals(list(survey(("spBv1.0/g/NDATA/n", b"{")).topics.values()))
    assert one.fault is not None


def test_a_plant_whose_metrics_are_all_on_devices_is_read() -> None:
    own = {"name": "bdSeq", "datatype": 4, "long_value": 0}
    metric = {"name": "x", "alias": 1, "datatype": 9, "float_value": 1.5}
    heard = survey(
        ("spBv1.0/g/NBIRTH/n", sparkplug_payload(own, seq=0)),
        ("spBv1.0/g/DBIRTH/n/d", sparkplug_payload(metric, seq=1)),
        ("spBv1.0/g/DDATA/n/d", sparkplug_payload({"alias": 1, "float_value": 2.5}, seq=2)),
        ("spBv1.0/g/DDEATH/n/d", sparkplug_payload(seq=3)),
    )
    (one,) = proposals(list(heard.topics.values()))
    assert (one.fault, one.read, list(one.sensors)) == (None, 2, ["x"])


@pytest.mark.skipif(not RECORDS.is_file(), reason=f"no payloads in {RECORDS}")
def test_the_configuration_reads_every_number_of_real_devices(tmp_path: Path) -> None:
    known = {
        name: record
        for name, record in records().items()
        if record["kind"] in ("json", "scalar") and record["fields"] and record["topic"]
    }
    heard = survey(*((sent(record).topic, sent(record).payload) for record in known.values()))
    path = tmp_path / "found.toml"
    path.write_text(render(heard, BROKER))

    streams = open_streams(configuration.load(path))

    assert len(known) >= 15
    for name, record in known.items():
        message, values = sent(record), list[float]()
        for stream in streams:
            if stream.reads(message.topic):
                found, _ = stream.reader.read([message], lambda sensor, reason, count: None)
                values += found.values.ravel().tolist()
        its_time = {"params.ts"}
        wanted = {float(v) for path, v in record["fields"].items() if path not in its_time}
        assert wanted <= set(values), name
