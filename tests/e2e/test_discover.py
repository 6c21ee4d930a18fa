"""`discover` as a new user runs it: from a broker to recordings, by the file it wrote."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from models.recording import find, read
from tests.e2e.program import BIN, PATIENCE, Machine, sensor_monitor
from tests.monitor.test_real_payloads import RECORDS, records, sent
from tests.mosquitto import Mosquitto, free_port

NUMBERS = 2, 10, 13, 15, 16, 20, 22, 23, 24, 26, 27, 28, 30
FAMILIES = [f"s{number:02}" for number in NUMBERS]


@pytest.mark.skipif(not RECORDS.is_file(), reason=f"no payloads in {RECORDS}")
def test_the_configuration_made_of_a_broker_of_real_devices_reads_them_all(
    broker: Mosquitto, tmp_path: Path
) -> None:
    messages = [sent(records()[name]) for name in FAMILIES]
    config, out, over = tmp_path / "plant.toml", tmp_path / "recordings", threading.Event()
    address = ["--host", broker.host, "--port", str(broker.port), "--duration", "3s"]
    with Machine(broker) as machine:

        def play() -> None:
            while not over.wait(0.2):
                machine.play([(one.topic, one.payload) for one in messages])

        devices = threading.Thread(target=play)
        devices.start()
        try:
            found = sensor_monitor("discover", *address, "--out", config)
            checked = sensor_monitor("check", "--config", config)
            recorded = sensor_monitor(
                "record", "--config", config, "--out", out, "--duration", "2s"
            )
        finally:
            over.set()
            devices.join(PATIENCE)

    assert (found.returncode, found.stdout) == (0, ""), found.stderr
    assert found.stderr.splitlines()[-1] == f"{len(messages)} topics heard"
    assert checked.returncode == 0, checked.stderr
    assert recorded.returncode == 0, recorded.stderr
    values = {v for file in find([out]) for v in read(file).values.ravel().tolist()}
    for name in FAMILIES:
        fields = records()[name]["fields"]
        assert {float(v) for path, v in fields.items() if path != "params.ts"} <= values, name
    assert sensor_monitor("discover", *address, "--out", config).returncode == 73


def test_without_a_broker_discover_says_so() -> None:
    done = sensor_monitor("discover", "--host", "127.0.0.1", "--port", str(free_port()))
    assert done.returncode == 69
    assert "wanted an MQTT broker" in done.stderr


def test_discover_signs_in_over_tls_and_its_configuration_does_too(
    make_mosquitto: Callable[..., Mosquitto], certificates: Path, tmp_path: Path
) -> None:
    users, secret, port = tmp_path / "users", tmp_path / "secret", free_port()
    secret.write_text("correct horse\n")
    command = ["mosquitto_passwd", "-b", "-c", users, "edge", "correct horse"]
    subprocess.run(command, check=True)
    users.chmod(0o644)  # mosquitto reads it as a user of its own
    make_mosquitto(
        f"password_file {users}",
        "allow_anonymous false",
        f"listener {port} 127.0.0.1",
        f"certfile {certificates}/cert.pem",
        f"keyfile {certificates}/key.pem",
    )
    config, authority = tmp_path / "plant.toml", certificates / "cert.pem"
    address = ["--host", "127.0.0.1", "--port", str(port), "--ca-file", authority]
    address += ["--duration", "2s", "--username", "edge", "--password-file", secret]
    machine = paho.Client(CallbackAPIVersion.VERSION2)
    machine.username_pw_set("edge", "correct horse")
    machine.tls_set(str(authority))
    machine.connect("127.0.0.1", port)
    machine.loop_start()
    over = threading.Event()

    def play() -> None:
        while not over.wait(0.2):
            machine.publish("plant/p1/telemetry", b'{"speed": 5}')

    device = threading.Thread(target=play)
    device.start()
    try:
        found = sensor_monitor("discover", *address, "--out", config)
        checked = sensor_monitor("check", "--config", config, "--connect")
        secret.write_text("wrong")
        refused = sensor_monitor("discover", *address)
    finally:
        over.set()
        device.join(PATIENCE)
        machine.disconnect()
        machine.loop_stop()

    assert found.returncode == 0, found.stderr
    assert 'topic = "plant/{asset}/telemetry"' in config.read_text()
    assert checked.returncode == 0, checked.stderr
    assert refused.returncode == 69
    assert "not authorized" in refused.stderr.lower()


def test_told_to_stop_discover_says_what_it_has_heard(broker: Mosquitto) -> None:
    process = subprocess.Popen(
        [
            *(sys.executable, BIN / "sensor-monitor", "discover"),
            *("--host", broker.host, "--port", str(broker.port)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert "connected to the broker" in process.stderr.readline()
    with Machine(broker) as machine:
        machine.play([("plant/p1/telemetry", b'{"speed": 5}')])
        time.sleep(0.5)  # nothing outside tells that it has been heard
        process.terminate()
        out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert 'topic = "plant/{asset}/telemetry"' in out
