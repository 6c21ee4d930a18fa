import csv
from pathlib import Path
from typing import Any

import pytest

from models.recording import iso
from monitor.alert import Alert
from monitor.config import SensorConfig
from monitor.errors import InputError
from monitor.reading import Message
from monitor.replaying import messages, read_for, replay
from tests.monitor.machines import TODAY, detector, message, stream

SECOND = 1_000_000_000


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "both.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["timestamp", "asset", "x"])
        for asset in ("p1", "p2"):
            for second in range(12):
                value = 2.0 if 4 <= second < 8 else 0.1
                rows.writerow([iso(TODAY + second * SECOND), asset, value])
    return path


def test_messages_come_in_the_order_of_time_over_all_assets(recording: Path) -> None:
    of = stream(detector())
    due = [when for when, _, _ in messages(of, *read_for(of, recording, None), {"line": "a"})]
    assert due == sorted(due)
    assert len(due) == 24


@pytest.mark.parametrize(("high", "steps"), [(None, ["opened", "resolved"]), (1.5, [])])
def test_replay_refuses_out_of_range_readings_as_the_daemon_does(
    high: float | None, steps: list[str], recording: Path
) -> None:
    of = stream(detector(), sensors={"x": SensorConfig(max=high)}, lateness=0.0)
    found = list(replay(of, *read_for(of, recording, None), {"line": "a"}))
    assert [alert.step for alert in found if alert.asset == "p1"] == steps
    live: list[Alert] = []
    for second in range(12):
        value = 2.0 if 4 <= second < 8 else 0.1
        live += of.take([message(second, value)], TODAY + second * SECOND)
    assert [alert.step for alert in live] == steps


WAYS: dict[str, dict[str, Any]] = {
    "json": {},
    "milliseconds": {"time_unit": "ms"},
    "nanoseconds": {"time_unit": "ns"},
    "named in the payload": {"topic": "plant/{line}/x", "asset": "dev.id"},
    "json of one sensor": {"topic": "plant/{line}/{asset}/{sensor#}", "value": "v.v"},
    "number": {"topic": "plant/{line}/{asset}/{sensor}", "payload": "number", "time": None},
}


@pytest.mark.parametrize("way", WAYS)
def test_what_is_published_of_a_recording_is_read_as_it_was(recording: Path, way: str) -> None:
    of = stream(
        detector(), sensors={"x": SensorConfig(path="sx", scale=0.1, offset=1)}, **WAYS[way]
    )
    played = list(messages(of, *read_for(of, recording, None), {"line": "a"}))
    sent = [Message(topic, data, round(due * SECOND), False) for due, topic, data in played]
    found, outcome = of.reader.read(sent, lambda sensor, reason, count: None)
    assert (len(sent), outcome.any()) == (24, False)
    assert of.assets.names == ["p1", "p2"]
    assert sorted(set(found.time.tolist())) == [TODAY + n * SECOND for n in range(12)]
    wanted = [2.0 if 4 <= n < 8 else 0.1 for n in range(12) for _ in ("p1", "p2")]
    assert found.values[:, 0].tolist() == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"payload": "csv"}, 'has payload = "csv"; wanted json or number'),
        ({"samples": "s"}, "its payloads are lists of samples"),
        ({"sensors": {"x": {"counter": True}}}, "x is a counter"),
        ({"asset": "{line}-{asset}"}, "cannot be turned back into"),
        ({"source": [{"topic": "b/{line}/{asset}"}]}, "has several sources"),
    ],
)
def test_what_cannot_be_played_is_said(recording: Path, keys: dict[str, Any], why: str) -> None:
    of = stream(detector(), **keys)
    with pytest.raises(InputError, match=rf'stream "pumps" cannot be played: .*{why}'):
        next(messages(of, *read_for(of, recording, None), {"line": "a"}))


def test_replay_tells_of_sensors_out_of_range_as_the_daemon_does(tmp_path: Path) -> None:
    path = tmp_path / "p1.csv"
    values = [99.0 if 4 <= second < 90 else 0.1 for second in range(100)]
    lines = [f"{TODAY // SECOND + n},p1,{value}" for n, value in enumerate(values)]
    path.write_text("\n".join(["timestamp,asset,x", *lines]))
    of = stream(detector(), sensors={"x": SensorConfig(max=50, unit="bar")}, lateness=0.0)

    found = list(replay(of, *read_for(of, path, None), {"line": "a"}))

    assert [(alert.kind, alert.step) for alert in found] == [
        ("out-of-range", "opened"),
        ("out-of-range", "resolved"),
    ]
    assert "x reads above 50 bar" in found[0].summary
    live: list[Alert] = []
    for second, value in enumerate(values):
        live += of.take([message(second, value)], TODAY + second * SECOND)
    assert live == found
    assert dict(of.books.alerts) == {("p1", "out-of-range", "warning"): 1}
    assert of.books.rejected[0, "out-of-range"] == 86
