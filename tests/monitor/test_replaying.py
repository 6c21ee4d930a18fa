import csv
from pathlib import Path

import pytest

from models.recording import iso
from monitor.alert import Alert
from monitor.config import SensorConfig
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
