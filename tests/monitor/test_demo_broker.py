"""The demo's own broker: mosquitto or amqtt, on the loopback, gone when the block ends."""

import logging
import queue
import shutil
import socket
import subprocess
import sys
import threading
import time
from importlib.machinery import ModuleSpec
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from monitor.demo import broker as demo_broker
from monitor.demo.broker import Address, broker
from monitor.errors import BrokerUnavailable
from tests.mosquitto import MOSQUITTO, free_port


def no_mosquitto(*args: object, **options: object) -> None:
    return None


@pytest.fixture(params=["mosquitto", "amqtt"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each kind of broker in turn, as if the other were not there."""
    if request.param == "mosquitto":
        if MOSQUITTO is None:
            pytest.skip("mosquitto is not installed; wanted Debian's package mosquitto")
    else:
        pytest.importorskip("amqtt", reason='amqtt is not installed; wanted the extra "demo"')
        monkeypatch.setattr(shutil, "which", no_mosquitto)
    return str(request.param)


def client_of_3_1_1() -> mqtt.Client:
    return mqtt.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv311)


def exchange(address: Address, count: int) -> list[bytes]:
    """Publish so many messages at QoS 1 and return what a subscriber of them got."""
    got: queue.Queue[bytes] = queue.Queue()
    client = client_of_3_1_1()

    def subscribe(*_: object) -> None:
        client.subscribe("plant/#", qos=1)

    def publish(*_: object) -> None:
        for number in range(count):
            client.publish("plant/p1", str(number), qos=1)

    def keep(_client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        got.put(bytes(message.payload))

    client.on_connect, client.on_subscribe, client.on_message = subscribe, publish, keep
    client.connect(address.host, address.port)
    client.loop_start()
    try:
        return [got.get(timeout=20) for _ in range(count)]
    finally:
        client.disconnect()
        client.loop_stop()


def test_it_says_what_it_is_and_carries_messages_in_order(kind: str) -> None:
    with broker() as address:
        assert address.kind == kind
        assert address.host == "127.0.0.1"
        assert exchange(address, 200) == [str(number).encode() for number in range(200)]


def test_it_ends_soon_though_a_client_stays_and_then_accepts_nobody(kind: str) -> None:
    gone = threading.Event()
    watcher = client_of_3_1_1()

    def leave(*_: object) -> None:
        gone.set()

    watcher.on_disconnect = leave
    with broker() as address:
        watcher.connect(address.host, address.port)  # the first attempt, with no retry
        watcher.loop_start()
        assert exchange(address, 1) == [b"0"]
        start = time.monotonic()
    assert time.monotonic() - start < (1.5 if kind == "mosquitto" else 4)
    assert gone.wait(5)
    watcher.disconnect()
    watcher.loop_stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address.host, address.port), timeout=1)


def test_two_at_once_do_not_meet(kind: str) -> None:
    with broker() as one, broker() as other:
        assert one.port != other.port
        assert len(exchange(one, 3)) == len(exchange(other, 3)) == 3


def test_it_ends_with_an_error_of_its_user_and_leaves_nothing(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    level = logging.getLogger("amqtt").level
    address = None

    def use_and_fail() -> None:
        nonlocal address
        with broker() as address:
            exchange(address, 1)
            raise RuntimeError("the demo fell over")

    with pytest.raises(RuntimeError, match="fell over"):
        use_and_fail()
    assert address is not None
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address.host, address.port), timeout=1)
    assert list(tmp_path.iterdir()) == []
    assert logging.getLogger("amqtt").level == level
    assert "amqtt" not in {thread.name for thread in threading.enumerate()}


def test_a_taken_port_is_tried_again_with_another(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = free_port()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = iter([taken.getsockname()[1], free])
        monkeypatch.setattr(demo_broker, "_free_port", lambda: next(ports))
        with broker() as address:
            assert address.port == free
            assert exchange(address, 1) == [b"0"]


def test_a_broker_that_never_starts_is_one_error_with_its_last_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "mosquitto"
    program.write_text("#!/bin/sh\necho 'Error: no luck today' >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(BrokerUnavailable, match=r"does not start: exit code 3: .* no luck today"):
        broker().__enter__()


def test_without_any_broker_the_error_names_both_remedies(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_nothing(name: str, package: str | None = None) -> ModuleSpec | None:
        assert name == "amqtt"

    monkeypatch.setattr(shutil, "which", no_mosquitto)
    monkeypatch.setattr("importlib.util.find_spec", find_nothing)
    with pytest.raises(BrokerUnavailable) as error:
        broker().__enter__()
    assert "sudo apt-get install mosquitto" in str(error.value)
    assert 'pip install "sensor-monitor[demo]"' in str(error.value)
    assert error.value.exit_code == 69


def test_importing_it_does_not_import_amqtt() -> None:
    program = "import sys, monitor.demo.broker; sys.exit('amqtt' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
