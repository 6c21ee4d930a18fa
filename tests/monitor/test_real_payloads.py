"""What real devices send is read by configuration alone; what is no reading is refused."""

import base64
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from models.recording import timestamp_ns
from monitor.config import AlertsConfig, StreamConfig
from monitor.reading import Message
from monitor.stream import Stream
from tests.monitor.machines import TODAY, outcomes

RECORDS = Path(__file__).parents[3] / "shared" / "data" / "mqtt_payloads" / "payloads.jsonl"
pytestmark = pytest.mark.skipif(not RECORDS.is_file(), reason=f"no payloads in {RECORDS}")


@dataclass(frozen=True)
class Wanted:
    """How a record is read: keys of its stream, and what else than its fields comes of it."""

    stream: dict[str, Any]
    asset: str = "p1"
    time: str | None = None
    sensors: dict[str, Any] | None = None  # else the record's own fields, by path
    readings: dict[str, float] | None = None  # else the record's own fields


TASMOTA: dict[str, Any] = {"payload": "tasmota"}
BERLIN = {"time": "Time", "timezone": "Europe/Berlin"}
PLAIN: dict[str, Any] = {"topic": "t/{asset}"}

WANTED: dict[str, Wanted] = {
    "s00": Wanted(TASMOTA | BERLIN, "tasmota", "2019-01-14T18:36:51Z"),
    "s01": Wanted(TASMOTA | BERLIN, "%topic%", "2020-03-24T11:47:51Z"),
    "s02": Wanted(TASMOTA, "tasmota"),
    "s03": Wanted(TASMOTA | BERLIN, "tasmota", "2023-05-28T18:04:27Z"),
    "s04": Wanted(TASMOTA, "pow1"),
    "s06": Wanted(PLAIN | {"time": "Time", "timezone": "UTC"}, "p1", "2024-11-09T12:52:46Z"),
    "s07": Wanted(TASMOTA, "tasmota"),
    "s08": Wanted(TASMOTA | {"time": "Time"}, "<topic>", "2021-06-01T09:00:00Z"),
    "s09": Wanted(PLAIN),
    "s10": Wanted(TASMOTA, "POW"),
    "s11": Wanted(TASMOTA, "POW"),
    "s12": Wanted(PLAIN | BERLIN, "p1", "2021-05-25T19:44:24Z"),
    "s13": Wanted(
        {"topic": "{asset}/{sensor#}", "payload": "number"},
        "Hatchery01-out",
        sensors={"temperature": "2/2/1/0/0"},
        readings={"temperature": 93.6},
    ),
    "s15": Wanted(
        {"payload": "shelly"},
        "shellyem3-68C63AFAF952",
        sensors={"power": "emeter/0/power", "voltage": "emeter/2/voltage"},
        readings={"power": 120.11},
    ),
    "s16": Wanted(
        {"payload": "shelly"},
        "shellyem3-68C63AFAF952",
        sensors={"power": "emeter/0/power", "voltage": "emeter/2/voltage"},
        readings={"voltage": 240.5},
    ),
    "s19": Wanted({"payload": "zigbee2mqtt"}, "Linky"),
    "s20": Wanted({"payload": "zigbee2mqtt"}, "FRIENDLY_NAME"),
    "s21": Wanted(PLAIN | {"time": "last_seen"}, "p1", "2020-02-26T19:44:09Z"),
    "s22": Wanted(
        {"topic": "zigbee/{asset}"},
        "czujnikzalania1",
        sensors={
            "battery": {"text": True},
            "voltage": {},
            "linkquality": {},
            "water_leak": {"values": {"true": 1, "false": 0}},
        },
        readings={"battery": 100.0, "voltage": 3045, "linkquality": 99, "water_leak": 0},
    ),
    "s23": Wanted({"topic": "/BTtoMQTT/{_}", "asset": "id"}, "C6:C7:52:66:3C:BF"),
    "s24": Wanted(
        {
            "topic": "RTL_433/JSON",
            "asset": "{model}-{id}-{channel}",
            "time": "time",
            "timezone": "Europe/Rome",
        },
        "Prologue sensor-5-2",
        "2019-04-22T19:28:12Z",
    ),
    "s25": Wanted({"topic": "t/{_}", "asset": "{model}-{id}"}, "Esperanza EWS-8"),
    "s26": Wanted({"topic": "{asset}/status/switch:0"}, "ShellyLichtGarten"),
    "s27": Wanted({"payload": "shelly2"}, "ShellyLichtGarten", "2026-09-09T09:15:00.02Z"),
    "s28": Wanted(
        {"topic": "N/{portal}/{_}/{asset}/{sensor#}", "value": "value"},
        "279",
        sensors={"voltage": "Dc/0/Voltage"},
        readings={"voltage": 20.43000030517578},
    ),
    "s30": Wanted(
        {"topic": "ebusd/{asset}/{_}"},
        "broadcast",
        sensors={
            "kesseltemp.value": "kesseltemp.value",
            "boilertemp.value": "boilertemp.value",
            "aussentemp.value": "aussentemp.value",
            "zustand.value": {"path": "zustand.value", "text": True},
        },
    ),
    "s31": Wanted(
        {
            "topic": "{asset}",
            "samples": "values",
            "sensor": "id",
            "value": "v",
            "time": "t",
            "time_unit": "ms",
        },
        "kesy",
        "2018-10-31T21:23:44.193Z",
        sensors={
            "values[0].v": "Raspberry.Pi.Ucuncu",
            "values[2].v": "Raspberry.Pi.Ikinci",
            "values[3].v": "Raspberry.Pi.Birinci",
        },
    ),
    "s32": Wanted(
        PLAIN | {"sensor": "NodeId", "value": "Value.Value", "time": "Value.SourceTimestamp"},
        "p1",
        "2019-11-03T10:00:39.5083379Z",
        sensors={"Value.Value": "ns=1;s=freemem"},
    ),
    "s33": Wanted({"topic": "t/{_}", "asset": "deviceName"}, "klax-strom-koelnerstr533"),
    "s34": Wanted(
        PLAIN | {"time": "weight_createdAt", "time_unit": "ms"}, "p1", "2022-02-12T23:22:38.939Z"
    ),
    "s35": Wanted(PLAIN),
    "s38": Wanted({"payload": "sparkplug"}, "<node>", "2025-06-25T12:47:23.474Z"),
}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "s05": (TASMOTA, "malformed"),
    "s14": ({"topic": "smartthings/{asset}/{sensor}", "payload": "number"}, "no-sensor"),
    "s17": ({"payload": "shelly"}, "malformed"),
    "s18": ({"topic": "{asset}/{sensor}", "payload": "number"}, "no-sensor"),
    "s29": (PLAIN, "no-sensor"),
    "s36": (PLAIN, "malformed"),
    "s37": (PLAIN, "malformed"),
    "s41": (PLAIN, "malformed"),
}


def records() -> dict[str, dict[str, Any]]:
    if not RECORDS.is_file():
        return {}
    lines = map(json.loads, RECORDS.read_text(encoding="utf-8").splitlines())
    return {record["id"]: record for record in lines}


def sent(record: dict[str, Any]) -> Message:
    payload = record["payload"]
    data = base64.b64decode(payload) if record["encoding"] == "base64" else payload.encode()
    return Message(record["topic"] or "t/p1", data, TODAY, retained=False)


def configured(keys: dict[str, Any], sensors: dict[str, Any]) -> Stream:
    config = StreamConfig.model_validate({"name": "devices", "sensors": sensors} | keys)
    return Stream(config, AlertsConfig(), {})


def ignore(sensor: int, reason: str, count: int) -> None:
    """Count nothing."""


@pytest.mark.parametrize("name", WANTED)
def test_a_real_payload_is_read_by_configuration_alone(name: str) -> None:
    record, wanted = records()[name], WANTED[name]
    stream = configured(wanted.stream, wanted.sensors or {path: path for path in record["fields"]})

    found, _ = stream.reader.read([sent(record)], ignore)

    (values,) = found.values.tolist()
    readings = dict(zip(stream.sensors.names, values, strict=True))
    assert {key: v for key, v in readings.items() if not math.isnan(v)} == (
        wanted.readings or record["fields"]
    )
    assert stream.assets.names == [wanted.asset]
    assert found.time.tolist() == [TODAY if wanted.time is None else timestamp_ns(wanted.time)]
    assert outcomes(configured(wanted.stream, {"x": "none"}), [sent(record)]) == ["no-sensor"]


@pytest.mark.parametrize("name", REFUSED)
def test_a_real_payload_that_is_no_reading_is_refused_and_counted(name: str) -> None:
    keys, outcome = REFUSED[name]
    names = ("value", "waterState", "temperature", "relay/0", "D0")
    sensors = {one: {"path": one} for one in names}
    stream = configured(keys, sensors)
    assert outcomes(stream, [sent(records()[name])]) == [outcome]
    assert stream.books.received == stream.books.outcomes.sum() == 1


def test_a_node_of_sparkplug_lives_from_its_birth_through_the_death_of_another() -> None:
    stream = configured({"payload": "sparkplug"}, {"Temperature": "Temperature"})
    birth, data, death = (sent(records()[name]) for name in ("s38", "s39", "s40"))
    assert outcomes(stream, [data, birth, data, death, data]) == [
        *("malformed", "accepted", "accepted", "no-sensor", "accepted"),
    ]


def test_every_record_is_shown_to_be_read_or_refused() -> None:
    sparkplug = {"s39", "s40"}
    assert WANTED.keys() | REFUSED.keys() | sparkplug == records().keys()


def test_a_state_in_words_is_a_number_where_the_sensor_says_so() -> None:
    words = {"path": "relay/0", "values": {"on": 1, "off": 0}}
    stream = configured({"payload": "shelly"}, {"relay": words})
    found, _ = stream.reader.read([sent(records()["s17"])], ignore)
    assert found.values.tolist() == [[0.0]]
