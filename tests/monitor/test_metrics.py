import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from models.frame import SECOND
from monitor import metrics
from monitor.config import AlertsConfig, SensorConfig
from monitor.mailboxes import LinkCounters
from monitor.metrics import CONTENT_TYPE, Histogram, Metrics, Vitals
from monitor.stream import Stream
from monitor.topics import is_name
from tests.monitor.machines import TODAY, detector, few, message, stream

GOLDEN = Path(__file__).with_name("golden_metrics.txt")
Samples = dict[str, list[tuple[dict[str, str], float]]]

OUTCOMES = {
    *("accepted", "duplicate", "late", "future", "malformed", "no-sensor", "no-asset"),
    *("ambiguous-asset", "asset-limit", "too-large", "retained", "overload"),
}
REASONS = {
    *("not-a-number", "not-finite", "out-of-range", "missing", "late", "duplicate", "future"),
}
SKIPPED = {"warming", "gap", "held", "idle", "unscorable", "overload"}
STATES = {
    *("warming", "normal", "pending", "anomalous", "idle", "no-data", "unscorable"),
    "uncalibrated",
}


def page(*streams: Stream) -> str:
    return Metrics(streams, Vitals(LinkCounters())).page().decode()


def samples(*streams: Stream) -> Samples:
    """Labels and values by the name of the sample, without the prefix."""
    found: Samples = {}
    for family in text_string_to_metric_families(page(*streams)):
        for one in family.samples:
            name = one.name.removeprefix("sensor_monitor_")
            found.setdefault(name, []).append((dict(one.labels), one.value))
    return found


def of_asset(found: Samples, name: str, asset: str) -> list[float]:
    return [value for labels, value in found.get(name, []) if labels.get("asset") == asset]


def fed(scores: Sequence[object], asset: str = "p1", of: Stream | None = None) -> Stream:
    of = of or stream(detector(), lateness=0.0)
    for second, score in enumerate(scores):
        one = message(second, score, asset)
        of.take([one], one.arrival)
    return of


def a_busy_day() -> Metrics:
    """A fixed story: one machine fails, one falls silent, one is odd, one stream is not scored."""
    pumps = stream(
        detector(["current", "bearing"], units=["A", "mm/s"]),
        lateness=0.0,
        max_assets=3,
        topic="{site}/{line}/{asset}/telemetry",
        sensors={
            "current": SensorConfig(path="current"),
            "bearing": SensorConfig(path="E.bearing", max=1e7),
        },
    )
    for second in range(12):
        fault = 6.5 if second >= 6 else 0.25
        sent = [
            message(second, {"current": 0.5, "E": {"bearing": fault}}),
            message(second, {"current": 0.25, "E": {"bearing": 0.25}}, "p2", line="b"),
            message(second, {"current": 1e6, "E": {"bearing": 1e8}}, 'odd "p"'),
            message(second, {"current": 0.25}, "p4"),
        ]
        pumps.take(sent[:2] if second < 4 else [sent[0], *sent[2:]], TODAY + second * SECOND)
    pumps.take([message(11, {"current": 0.5, "E": {"bearing": 6.5}})], TODAY + 12 * SECOND)

    tanks = stream(sensors={"level": SensorConfig(path="level")}, name="tanks", topic="t/{asset}")
    sent = [message(second, {"level": value}) for second, value in enumerate((True, 4, "5"))]
    tanks.take([replace(one, topic="t/k1") for one in sent] + sent[:1], TODAY)
    vitals = Vitals(
        LinkCounters(reconnects=2, sessions_lost=1, broker_dropped=7),
        connected=True,
        queue_depth=3,
        unsent=4,
        loaded_at=1.79e9,
    )
    vitals.scoring.observe(np.array([0.001, 0.002, 0.3, 60.0]))
    vitals.reading_to_verdict.observe(np.array([0.01] * 5))
    return Metrics([pumps, tanks], vitals)


def masked(text: str) -> str:
    return re.sub(r"(build_info\{).*(\} 1\.0)", r'\1python="...",version="..."\2', text)


def test_the_page_is_the_golden_one() -> None:
    found = masked(a_busy_day().page().decode())
    assert found == GOLDEN.read_text(encoding="utf-8")


def test_promtool_finds_nothing_to_say_of_the_page() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not on the PATH; scripts/test installs it")
    for one in (a_busy_day(), Metrics([], Vitals(LinkCounters()))):
        done = subprocess.run(
            [promtool, "check", "metrics"], input=one.page(), capture_output=True, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_counters_with_closed_labels_exist_at_zero() -> None:
    found = samples(stream(detector(["x", "y"])))
    closed = {
        "messages_received_total": {("pumps",)},
        "messages_total": {("pumps", one) for one in OUTCOMES},
        "messages_lost_total": {("pumps",)},
        "readings_rejected_total": {("pumps", x, one) for x in ("x", "y") for one in REASONS},
        "windows_scored_total": {("pumps",)},
        "windows_skipped_total": {("pumps", one) for one in SKIPPED},
        "mqtt_reconnects_total": {()},
        "mqtt_session_lost_total": {()},
        "broker_dropped_total": {()},
    }
    for name, labels in closed.items():
        assert {frozenset(given.values()) for given, _ in found[name]} == {*map(frozenset, labels)}
        assert [value for _, value in found[name]] == [0.0] * len(labels)


def test_every_metric_of_the_contract_that_has_its_part_is_there() -> None:
    text = a_busy_day().page().decode()
    for name in (
        *("anomaly_score", "sensor_share_ratio", "sensor_value", "sensor_expected"),
        *("alert_active", "alerts_total", "asset_state", "asset_info"),
        *("last_reading_timestamp_seconds", "messages_received_total", "messages_total"),
        *("readings_rejected_total", "windows_scored_total", "windows_skipped_total"),
        *("scoring_seconds_bucket", "reading_to_verdict_seconds_bucket", "queue_depth"),
        *("mqtt_connected", "mqtt_reconnects_total", "mqtt_session_lost_total"),
        *("broker_dropped_total", "outbox_entries", "model_info"),
        *("model_trained_timestamp_seconds", "config_last_reload_successful"),
        *("config_last_reload_success_timestamp_seconds", "build_info"),
    ):
        assert re.search(rf"^sensor_monitor_{name}[ {{]", text, re.MULTILINE), name


def test_received_is_the_sum_of_the_outcomes() -> None:
    found = samples(fed([0, None, 1, "x", 2]))
    (received,) = (value for _, value in found["messages_received_total"])
    assert received == sum(value for _, value in found["messages_total"]) == 5


def test_an_asset_is_in_exactly_one_state() -> None:
    found = samples(fed([0, 0, 2, 2]))
    states = {labels["state"]: value for labels, value in found["asset_state"]}
    assert states == dict.fromkeys(STATES, 0.0) | {"anomalous": 1.0}


def test_without_a_score_there_is_no_series_of_it() -> None:
    shown = ("anomaly_score", "sensor_share_ratio", "sensor_expected")
    warm = fed([0, 0.5, 0.5, 0.5])
    assert [of_asset(samples(warm), name, "p1") for name in shown] == [[0.5], [1.0], [1.0]]
    silent = fed([0, 0.5, 0.5, 0.5])
    silent.take([], TODAY + 3600 * SECOND)
    for of in (fed([0]), fed([0, 0, 1e6, 0]), silent):
        found = samples(of)
        assert [of_asset(found, name, "p1") for name in shown] == [[], [], []]
        assert len(of_asset(found, "sensor_value", "p1")) == 1
        assert len(of_asset(found, "asset_state", "p1")) == len(STATES)


def test_a_sensor_never_read_has_no_value_and_no_time() -> None:
    found = samples(fed([0, 0], of=stream(detector(["x", "y"]))))
    for name in ("sensor_value", "last_reading_timestamp_seconds"):
        assert [labels["sensor"] for labels, _ in found[name]] == ["x"]
    assert of_asset(found, "last_reading_timestamp_seconds", "p1") == [TODAY / SECOND + 1]


def total_of(found: Samples, kind: str) -> list[tuple[dict[str, str], float]]:
    return [one for one in found["alerts_total"] if one[0]["kind"] == kind]


def test_alerts_of_every_kind_are_counted_from_zero_and_those_of_a_whole_stream_too() -> None:
    found = samples(fed([0]))
    counted = [(one["asset"], one["kind"], one["severity"]) for one, _ in found["alerts_total"]]
    assert counted == [
        *(("p1", "anomaly", severity) for severity in ("warning", "critical")),
        *(("p1", kind, "warning") for kind in ("no-data", "stuck", "out-of-range")),
        ("", "no-data", "warning"),
    ]
    assert {value for _, value in found["alerts_total"]} == {0.0}


def test_a_health_alert_is_active_beside_the_anomaly() -> None:
    of = fed([0.5] * 3)
    for second in range(3, 70):
        of.take([], TODAY + second * SECOND)
    labels = {"stream": "pumps", "asset": "p1", "kind": "no-data", "severity": "warning"}
    found = samples(of)
    assert found["alert_active"] == [(labels, 1.0)]
    assert total_of(found, "no-data")[0] == (labels, 1.0)


def test_an_alert_is_active_for_its_whole_life_and_counted_once() -> None:
    key = {"stream": "pumps", "asset": "p1", "kind": "anomaly"}
    never = (key | {"severity": "critical"}, 0.0)
    found = samples(fed([0, 0, 2, 2]))
    assert found["alert_active"] == [(key | {"severity": "warning"}, 1.0)]
    assert total_of(found, "anomaly") == [(key | {"severity": "warning"}, 1.0), never]
    found = samples(fed([0, 0, 2, 5, 0.9, 2]))
    assert found["alert_active"] == [(key | {"severity": "critical"}, 1.0)]
    assert total_of(found, "anomaly") == [(key | {"severity": "warning"}, 1.0), never]
    gap = stream(detector(), lateness=0.0)
    fed([0, 0, 2, 2], of=gap).take([], TODAY + 3600 * SECOND)
    assert len(samples(gap)["alert_active"]) == 1
    found = samples(fed([0, 0, 2, 0, 2, 0, 0]))
    assert "alert_active" not in found
    assert total_of(found, "anomaly") == [(key | {"severity": "warning"}, 2.0), never]
    expiring = stream(detector(), lateness=0.0, alerts=AlertsConfig(expire=2))
    found = samples(fed([0, 0, 2, 2, *[1e6] * 5], of=expiring))
    assert "alert_active" not in found


def test_series_of_sensors_are_limited_and_those_of_assets_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metrics, "MOST_SERIES", 7)
    crowd = stream(detector(["x", "y"]))
    crowd.take([message(0, {"x": 1, "y": 1}, f"p{n}") for n in range(9)], TODAY)
    second = stream(detector(), name="fans")
    second.take([message(0, 1.0, f"f{n}") for n in range(9)], TODAY)
    found = samples(crowd, second)
    assert [(labels["asset"], labels["sensor"]) for labels, _ in found["sensor_value"]] == [
        *((f"p{n}", sensor) for n in range(3) for sensor in "xy"),
        ("f0", "x"),
    ]
    assert len(found["asset_info"]) == 18


def test_labels_of_the_topic_are_labels_of_the_asset() -> None:
    of = stream(detector(), topic="{stream}/{line}/{asset}/{__name__}")
    of.take([message(0, 1.0)], TODAY)
    assert samples(of)["asset_info"] == [
        (
            {
                "stream": "pumps",
                "asset": "p1",
                "label_stream": "plant",
                "line": "a",
                "label___name__": "telemetry",
            },
            1.0,
        )
    ]


def test_names_are_escaped() -> None:
    text = page(fed([1], asset='a"b\\c')).splitlines()
    (line,) = (line for line in text if line.startswith("sensor_monitor_asset_info"))
    assert line == ('sensor_monitor_asset_info{asset="a\\"b\\\\c",line="a",stream="pumps"} 1.0')
    of = stream(detector(["x\ny", "b\\"]))
    text = page(of)
    assert '{reason="missing",sensor="x\\ny",stream="pumps"} 0.0' in text
    assert '{reason="missing",sensor="b\\\\",stream="pumps"} 0.0' in text


@few
@given(st.lists(st.text(min_size=1, max_size=8).filter(is_name), max_size=5, unique=True))
def test_any_name_of_an_asset_comes_through_as_it_is(names: list[str]) -> None:
    of = stream(detector())
    of.take([message(0, 1.0, name) for name in names], TODAY)
    found = [labels["asset"] for labels, _ in samples(of).get("asset_info", [])]
    assert found == names


def test_a_duration_counts_in_every_bucket_from_its_own_up() -> None:
    histogram = Histogram((0.1, 1.0))
    histogram.observe(np.array([0.05, 0.1, 0.5, 1.0, 7.0]))
    histogram.observe(np.empty(0))
    assert histogram.buckets() == ([("0.1", 2), ("1.0", 4), ("+Inf", 5)], pytest.approx(8.65))


def test_the_page_is_in_the_text_format_it_says() -> None:
    assert CONTENT_TYPE.startswith("text/plain; version=0.0.4")
    assert page().endswith("\n")
