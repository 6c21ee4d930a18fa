"""`record` as a user runs it: beside a daemon, killed, started again, and told to stop."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from models.recording import find, read
from monitor.demo.plant import ASSETS
from tests.e2e.conftest import TICKS, Plant
from tests.e2e.program import (
    BIN,
    PATIENCE,
    Daemon,
    Listener,
    Machine,
    sensor_monitor,
    write_config,
)
from tests.mosquitto import Mosquitto, free_port, wait_until


class Record:
    """A `sensor-monitor record` that is subscribed."""

    def __init__(self, config: Path, out: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, BIN / "sensor-monitor", "record", "--config", config, "--out", out],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        self.said = self.process.stderr.readline()
        assert "connected to the broker" in self.said

    def end(self, number: int) -> tuple[int, str]:
        """The exit code and the last line it said."""
        self.process.send_signal(number)
        out, errors = self.process.communicate(timeout=PATIENCE)
        assert out == ""
        return self.process.returncode, ([self.said, *errors.splitlines()])[-1]


def rows(out: Path) -> int:
    return sum(file.read_bytes().count(b"\n") - 1 for file in out.rglob("*.csv"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_recording_beside_a_daemon_replays_to_the_same_alerts(
    number: int,
    plant: Plant,
    broker: Mosquitto,
    outside: tuple[Machine, Listener],
    start: Callable[..., Daemon],
    tmp_path: Path,
) -> None:
    machine, _ = outside
    daemon = start(broker.port).await_ready()
    config, _ = write_config(tmp_path, broker.port, stream=plant.stream)
    out = tmp_path / "recordings"
    record = Record(config, out)

    sent = machine.play(plant.messages)
    daemon.outcomes(sent)
    wait_until(lambda: rows(out) >= sent - len(ASSETS) * 5, PATIENCE)
    code, said = record.end(number)

    counts = f"pumps: {sent} messages = {sent} accepted; {sent} rows of {len(ASSETS)} assets"
    assert (code, said) == (0, f"{counts} written")
    assert daemon.metric("mqtt_reconnects_total") == 0
    replayed = sensor_monitor("replay", out, "--config", config, "--stream", "pumps")
    assert sorted(replayed.stdout.encode().splitlines()) == sorted(plant.alerts)


def test_a_killed_recording_holds_whole_lines_and_is_gone_on_with(
    plant: Plant, broker: Mosquitto, outside: tuple[Machine, Listener], tmp_path: Path
) -> None:
    machine, _ = outside
    config, _ = write_config(tmp_path, broker.port, stream=plant.stream)
    out, mine = tmp_path / "recordings", plant.of("p1")
    record = Record(config, out)
    machine.play(mine[:200])
    wait_until(lambda: rows(out) >= 190, PATIENCE)
    assert record.end(signal.SIGKILL)[0] == -signal.SIGKILL
    (file,) = find([out])
    assert len(read(file).time) >= 190
    file.write_bytes(file.read_bytes()[:-7])

    record = Record(config, out)
    machine.play(mine[180:])
    wait_until(lambda: rows(out) >= TICKS - 5, PATIENCE)
    assert record.end(signal.SIGTERM)[0] == 0

    assert find([out]) == [file]
    whole, recorded = read(plant.faulty), read(file)
    of_p1 = whole.asset == whole.assets.index("p1")
    assert recorded.assets == ("p1",)
    assert recorded.time.tolist() == whole.time[of_p1].tolist()
    assert recorded.values.tolist() == whole.values[of_p1].tolist()


def test_a_recording_ends_after_its_duration(
    plant: Plant, broker: Mosquitto, tmp_path: Path
) -> None:
    config, _ = write_config(tmp_path, broker.port, stream=plant.stream)
    done = sensor_monitor(
        "record", "--config", config, "--out", tmp_path / "out", "--duration", "200ms"
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.splitlines()[-1] == "pumps: 0 messages = 0; 0 rows of 0 assets written"


def test_two_cannot_record_to_one_folder(plant: Plant, broker: Mosquitto, tmp_path: Path) -> None:
    config, _ = write_config(tmp_path, broker.port, stream=plant.stream)
    record = Record(config, tmp_path / "out")
    done = sensor_monitor("record", "--config", config, "--out", tmp_path / "out")
    assert done.returncode == 73
    assert "another record writes here" in done.stderr
    assert record.end(signal.SIGTERM)[0] == 0


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        ((), 69, "wanted an MQTT broker"),
        (("--duration", "soon"), 2, "wanted a duration"),
    ],
)
def test_a_recording_that_cannot_begin_says_why(
    more: tuple[str, ...], code: int, says: str, plant: Plant, tmp_path: Path
) -> None:
    config, _ = write_config(tmp_path, free_port(), stream=plant.stream)
    done = sensor_monitor("record", "--config", config, "--out", tmp_path / "out", *more)
    assert done.returncode == code
    assert says in " ".join(done.stderr.replace("│", " ").split())
