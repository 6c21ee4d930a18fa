"""Commands beside `run`, and every start that cannot succeed: its exit code and its one message."""

import gzip
import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from models.frame import SECOND, Floats
from monitor.demo.plant import SENSOR_NAMES
from tests.e2e.conftest import TICKS, Plant
from tests.e2e.program import (
    BIN,
    SECONDS_TO_LEAVE,
    Daemon,
    Listener,
    Machine,
    sensor_monitor,
    write_config,
)
from tests.models.plant import fitted, recording, request, values, write_csv, written
from tests.mosquitto import Mosquitto, free_port

GOOD = '{"time": "2026-01-05T00:00:00Z", "speed": 1200, "flow": 80.5, "pressure": null}'


@pytest.fixture
def config(plant: Plant, tmp_path: Path) -> Path:
    """A configuration whose broker is nowhere."""
    path, _ = write_config(tmp_path, free_port(), stream=plant.stream)
    return path


def refused(code: int, *arguments: str | Path) -> str:
    """Run a command that must fail in one line, and return the line."""
    done = sensor_monitor(*arguments)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.mark.parametrize(
    ("find", "put", "code", "says"),
    [
        ("time =", "tmie =", 78, ['stream "pumps"', "tmie", "did you mean time?"]),
        ("plant/{asset}/telemetry", "plant/+/telemetry", 78, ["plant/+/telemetry", "wildcard"]),
        ("plant/{asset}/telemetry", "plant/telemetry", 78, ["plant/telemetry", "{asset}"]),
        ("port =", "prot =", 78, ["mqtt", "prot", "did you mean port?"]),
        ("[[stream]]", "[stream]", 78, ["[[stream]]"]),
        ('"pumps"', '"pumps', 78, ["is not TOML"]),
        ("BUNDLE", "nowhere", 66, ["nowhere", "no such bundle"]),
        (
            'time = "time"',
            '[stream.sensors]\nspeed = "n"\nflow = "q"',
            78,
            ['stream "pumps"', "pressure, current, vibration, temperature"],
        ),
        ('time = "time"', '[stream.sensors]\ntime = "time"', 78, ["time", "above"]),
    ],
)
def test_a_wrong_configuration_ends_run_and_check_in_one_line(
    find: str, put: str, code: int, says: list[str], plant: Plant, config: Path
) -> None:
    text = config.read_text()
    put = put if find != "BUNDLE" else str(plant.bundle.with_name(put))
    find = find if find != "BUNDLE" else str(plant.bundle)
    assert find in text
    config.write_text(text.replace(find, put))

    for command in ("run", "check"):
        line = refused(code, command, "--config", config)
        for word in says:
            assert word in line


def test_without_a_configuration_file_run_ends_with_78(tmp_path: Path) -> None:
    line = refused(78, "run", "--config", tmp_path / "nowhere.toml")
    assert "nowhere.toml" in line
    assert "No such file" in line


@pytest.mark.parametrize("harm", ["another byte", "a missing file", "a manifest of the future"])
def test_a_corrupt_bundle_ends_run_with_65_and_names_the_file(
    harm: str, plant: Plant, tmp_path: Path
) -> None:
    bundle = tmp_path / "harmed"
    shutil.copytree(plant.bundle, bundle)
    file = bundle / ("bundle.json" if harm == "a manifest of the future" else "model.onnx")
    data = file.read_bytes()
    if harm == "another byte":
        file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif harm == "a missing file":
        file.unlink()
    else:
        file.write_bytes(data.replace(b'"schema_version": 2', b'"schema_version": 9'))
    stream = plant.stream.replace(str(plant.bundle), str(bundle))
    config, _ = write_config(tmp_path, free_port(), stream=stream)

    assert str(file) in refused(65, "run", "--config", config)


def test_a_used_http_port_ends_run_with_74(
    broker: Mosquitto, start: Callable[..., Daemon], plant: Plant, tmp_path: Path
) -> None:
    port = start(broker.port).await_ready().port
    config, own = write_config(tmp_path, broker.port, stream=plant.stream, client_id="other")
    config.write_text(config.read_text().replace(str(own), str(port)))

    assert f"127.0.0.1:{port}" in refused(74, "run", "--config", config)


@pytest.mark.parametrize("command", ["replay", "publish"])
def test_a_recording_that_cannot_be_played_has_its_exit_code(
    command: str, plant: Plant, config: Path, tmp_path: Path
) -> None:
    """Before `publish` looks for the broker, which is not there."""
    arguments = (command, "--config", config)
    stream = ("--stream", "pumps")

    assert "nowhere.csv" in refused(66, *arguments, *stream, tmp_path / "nowhere.csv")

    empty, short, cut = (tmp_path / name for name in ("empty.csv", "short.csv", "cut.csv.gz"))
    empty.write_text("")
    short.write_text("timestamp,speed\n2026-01-05T00:00:00Z,1\n")
    cut.write_bytes(gzip.compress(plant.faulty.read_bytes())[:-100])
    for path in (empty, short, cut):
        assert str(path) in refused(65, *arguments, *stream, path)

    unknown = sensor_monitor(*arguments, "--stream", "nope", plant.faulty)
    assert unknown.returncode == 2
    assert "nope" in unknown.stderr
    assert "pumps" in unknown.stderr


@pytest.mark.parametrize("command", ["replay", "publish"])
def test_a_topic_with_labels_wants_them_named(command: str, plant: Plant, tmp_path: Path) -> None:
    stream = plant.stream.replace("plant/", "plant/{line}/")
    config, _ = write_config(tmp_path, free_port(), stream=stream)

    assert "{line}" in refused(65, command, plant.faulty, "--config", config, "--stream", "pumps")


def test_replay_ends_with_1_where_alerts_were_asked_to_fail(plant: Plant, config: Path) -> None:
    arguments = ("replay", plant.faulty, "--config", config, "--stream", "pumps")

    done = sensor_monitor(*arguments, "--fail-on-alert")

    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.encode().splitlines() == list(plant.alerts)
    assert all(json.loads(line)["specversion"] == "1.0" for line in done.stdout.splitlines())


def test_replay_without_an_alert_prints_nothing_and_ends_with_0(
    plant: Plant, config: Path, tmp_path: Path
) -> None:
    quiet = tmp_path / "quiet.csv"
    rows = plant.faulty.read_text().splitlines()
    quiet.write_text("\n".join([rows[0], *(row for row in rows if ",p1," in row)]) + "\n")

    done = sensor_monitor(
        "replay", quiet, "--config", config, "--stream", "pumps", "--fail-on-alert"
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_without_a_broker_what_needs_one_ends_with_69(plant: Plant, config: Path) -> None:
    commands: tuple[tuple[str | Path, ...], ...] = (
        ("publish", plant.faulty, "--config", config, "--stream", "pumps"),
        ("check", "--config", config, "--connect"),
    )
    with ThreadPoolExecutor() as both:  # each tries for ten seconds
        ended = [tried.result() for tried in [both.submit(sensor_monitor, *c) for c in commands]]

    for done in ended:
        assert done.returncode == 69, done.stderr
        assert "Traceback" not in done.stderr
        assert "wanted an MQTT broker" in done.stderr.splitlines()[-1]


def test_explain_shows_the_readings_of_a_message(config: Path) -> None:
    done = sensor_monitor("explain", "--config", config, "plant/p9/telemetry", GOOD)

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {
        "stream": "pumps",
        "asset": "p9",
        "time": "2026-01-05T00:00:00Z",
        "readings": {"speed": 1200.0, "flow": 80.5},
        "labels": {},
        "rejected_readings": ["pressure: missing"],
    }


def test_explain_takes_the_option_for_json(config: Path) -> None:
    done = sensor_monitor("explain", "--json", "--config", config, "plant/p9/telemetry", GOOD)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["asset"] == "p9"


@pytest.mark.parametrize("how", ["stdin", "file"])
def test_explain_takes_the_payload_from_stdin_or_a_file(
    how: str, config: Path, tmp_path: Path
) -> None:
    file = tmp_path / "payload.json"
    file.write_text(GOOD)
    argument = "-" if how == "stdin" else f"@{file}"

    done = sensor_monitor(
        "explain", "--config", config, "plant/p9/telemetry", argument, stdin=GOOD.encode()
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["asset"] == "p9"


@pytest.mark.parametrize(
    ("topic", "payload", "reason"),
    [
        ("plant/p9/telemetry", "{", "malformed"),
        ("plant/p9/telemetry", '{"speed": 1}', "malformed"),
        ("plant/p9/telemetry", '{"time": 1767571200, "colour": 1}', "no-sensor"),
        ("plant/p9/telemetry", '{"time": 4000000000, "speed": 1}', "future"),
        ("plant/\u200b/telemetry", GOOD, "no-asset"),
    ],
)
def test_explain_says_why_a_message_is_rejected_and_ends_with_1(
    topic: str, payload: str, reason: str, config: Path
) -> None:
    done = sensor_monitor("explain", "--config", config, topic, payload)

    assert done.returncode == 1, done.stderr
    line = json.loads(done.stdout)
    assert line["stream"] == "pumps"
    assert line["rejected"] == reason


def test_check_prints_what_is_scored_as_json(plant: Plant, config: Path) -> None:
    done = sensor_monitor("check", "--config", config, "--json")

    assert (done.returncode, done.stderr) == (0, "")
    (row,) = json.loads(done.stdout)["streams"]
    assert (row["stream"], row["scored"], row["filter"]) == ("pumps", True, "plant/+/telemetry")
    assert row["sensors"] == list(SENSOR_NAMES)
    assert row["window"] == "24 × 1 s"


def test_check_says_which_filters_a_broker_may_answer_twice(tmp_path: Path) -> None:
    config = tmp_path / "plant.toml"
    config.write_text(
        """
        [[stream]]
        name = "a"
        topic = "a/{_}/c/{asset}"
        sensors = { x = "x" }
        [[stream]]
        name = "b"
        topic = "a/b/{_}/{asset}"
        sensors = { x = "x" }
        """
    )
    checked = sensor_monitor("check", "--config", config)
    assert checked.returncode == 0
    assert "a/+/c/+ and a/b/+/+ match some topics both" in checked.stdout


def test_a_stream_without_a_model_is_said_to_be_not_scored_and_is_read_all_the_same(
    plant: Plant,
    broker: Mosquitto,
    outside: tuple[Machine, Listener],
    start: Callable[..., Daemon],
    tmp_path: Path,
) -> None:
    machine, _ = outside
    daemon = start(broker.port, stream=plant.unscored).await_ready()
    config, _ = write_config(tmp_path, broker.port, stream=plant.unscored)

    checked = sensor_monitor("check", "--config", config)
    machine.play(plant.of("p1")[:40])

    assert checked.returncode == 0
    assert 'stream "pumps" IS NOT SCORED' in checked.stdout
    assert daemon.said("STREAM IS NOT SCORED")
    assert daemon.outcomes(40) == {"accepted": 40}
    assert daemon.metric("windows_scored_total", stream="pumps") == 0
    assert daemon.metric("asset_state", stream="pumps", asset="p1", state="uncalibrated") == 1


def test_check_connect_tries_the_broker_and_disturbs_no_running_daemon(
    plant: Plant, broker: Mosquitto, start: Callable[..., Daemon], tmp_path: Path
) -> None:
    daemon = start(broker.port).await_ready()
    config, _ = write_config(tmp_path, broker.port, stream=plant.stream)

    done = sensor_monitor("check", "--config", config, "--connect")

    assert done.returncode == 0, done.stderr
    assert f"127.0.0.1:{broker.port}: connected and subscribed" in done.stderr
    assert daemon.metric("mqtt_reconnects_total") == 0
    assert daemon.get("/readyz")[0] == 200


@pytest.mark.parametrize("command", ["check", "replay"])
def test_a_command_needs_no_torch(command: str, plant: Plant, config: Path) -> None:
    arguments = [command, "--config", config]
    if command == "replay":
        arguments += [plant.faulty, "--stream", "pumps"]

    done = sensor_monitor(*arguments, python=("-X", "importtime"))

    assert done.returncode == 0
    assert brought(done.stderr.splitlines()) == {"onnxruntime"}


def test_the_daemon_needs_no_torch(
    plant: Plant,
    broker: Mosquitto,
    outside: tuple[Machine, Listener],
    start: Callable[..., Daemon],
) -> None:
    machine, listener = outside
    daemon = start(broker.port, command=("-X", "importtime", BIN / "sensor-monitor")).await_ready()
    machine.play(plant.of("p1")[:TICKS])
    listener.wait_for(lambda _: listener.state("p1").get("state") == "normal")

    assert daemon.stop() < SECONDS_TO_LEAVE
    assert brought(daemon.log) == {"onnxruntime"}


def brought(importtime: list[str]) -> set[str]:
    """Which of the large libraries were imported."""
    imported = {
        line.rsplit("|", 1)[1].strip().split(".")[0]
        for line in importtime
        if line.startswith("import time:")
    }
    return imported & {"torch", "onnx", "onnxruntime", "sklearn", "amqtt", "scipy"}


def test_a_machine_that_rests_alerts_nobody_and_check_says_when_it_is_idle(tmp_path: Path) -> None:
    running = values(800)
    resting = running.copy()
    resting[np.arange(800) % 200 >= 160] = 0
    config = tmp_path / "monitor.toml"
    config.write_text(
        '[[stream]]\nname = "pumps"\nmodel = "bundle"\ntopic = "plant/{asset}"\ntime = "time"\n'
    )
    data = write_csv(tmp_path / "p1.csv", resting)

    def replayed(numbers: Floats, condition: str | None) -> str:
        asked = request("pca", window=10, running=condition, settle=5 * SECOND if condition else 0)
        shutil.rmtree(tmp_path / "bundle", ignore_errors=True)
        written(tmp_path / "bundle", fitted([recording(numbers)], asked))
        done = sensor_monitor("replay", data, "--config", config, "--stream", "pumps")
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    assert "alert.opened" in replayed(running, None)
    assert replayed(resting, "current > 1") == ""
    checked = sensor_monitor("check", "--config", config)
    assert 'stream "pumps" is idle unless current > 1 for 5 s' in checked.stdout
