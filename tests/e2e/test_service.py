"""What the service manager sees: READY, a watchdog that only real progress feeds, STOPPING."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Plant
from tests.e2e.program import SECONDS_TO_LEAVE, Daemon, Listener, Machine
from tests.mosquitto import Mosquitto, free_port, wait_until

# The command line with a scorer that a message of the asset `hang` or `crash` breaks, as a fault
# in our own code would.
BREAKABLE = """
import sys, threading
import monitor.daemon, monitor.stream
from monitor.cli import main

monitor.daemon.STALLED = 1.5
take = monitor.stream.Stream.take

def broken(stream, messages, now):
    for message in messages:
        if "/hang/" in message.topic:
            threading.Event().wait()
        if "/crash/" in message.topic:
            raise ZeroDivisionError("on purpose")
    return take(stream, messages, now)

monitor.stream.Stream.take = broken
main()
"""


class Manager:
    """Stands in for systemd: remembers what the daemon tells it."""

    def __init__(self, path: Path) -> None:
        self.told: list[str] = []
        self._heard = time.monotonic()
        self.environment = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "200000"}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while (word := self._socket.recv(4096)) != b"":
            self.told.append(word.decode())
            self._heard = time.monotonic()

    def await_word(self, word: str, times: int = 1) -> None:
        wait_until(lambda: self.told.count(word) >= times, 20)

    def await_silence(self, seconds: float) -> None:
        wait_until(lambda: time.monotonic() - self._heard > seconds, 20)

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.connect(self._socket.getsockname())
            end.send(b"")
        self._thread.join(10)
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    one = Manager(tmp_path / "notify")
    yield one
    one.close()


def test_the_service_manager_hears_ready_then_the_watchdog_then_stopping(
    manager: Manager, broker: Mosquitto, start: Callable[..., Daemon]
) -> None:
    daemon = start(broker.port, env=manager.environment).await_ready()
    manager.await_word("WATCHDOG=1", 5)

    daemon.stop()

    assert manager.told[0] == "READY=1"
    assert manager.told[-1] == "STOPPING=1"
    assert set(manager.told[1:-1]) == {"WATCHDOG=1"}


def test_a_broker_that_is_down_stops_neither_ready_nor_the_watchdog(
    manager: Manager, start: Callable[..., Daemon]
) -> None:
    """Starting it again would not bring the broker back."""
    daemon = start(free_port(), env=manager.environment)

    manager.await_word("READY=1")
    manager.await_word("WATCHDOG=1", 5)
    assert daemon.get("/readyz")[0] == 503


def test_a_scorer_that_hangs_starves_the_watchdog_and_is_unhealthy(
    manager: Manager,
    plant: Plant,
    broker: Mosquitto,
    outside: tuple[Machine, Listener],
    start: Callable[..., Daemon],
) -> None:
    machine, listener = outside
    daemon = start(broker.port, env=manager.environment, command=("-c", BREAKABLE)).await_ready()
    manager.await_word("WATCHDOG=1", 5)

    machine.play([("plant/hang/telemetry", b"{}")])

    daemon.await_status("/healthz", 503)
    manager.await_silence(1.0)  # fed, it would hear ten words in that time
    assert daemon.get("/readyz")[0] == 503
    assert daemon.stop() < SECONDS_TO_LEAVE
    listener.wait_for(lambda _: listener.of("status")[-1] == b"offline")


def test_a_scorer_that_dies_ends_the_daemon_with_70_and_says_so(
    manager: Manager,
    broker: Mosquitto,
    outside: tuple[Machine, Listener],
    start: Callable[..., Daemon],
) -> None:
    machine, listener = outside
    daemon = start(broker.port, env=manager.environment, command=("-c", BREAKABLE)).await_ready()

    machine.play([("plant/crash/telemetry", b"{}")])

    assert daemon.ended() == 70
    assert manager.told[-1] == "STOPPING=1"
    assert "on purpose" in daemon.log[-1]
    listener.wait_for(lambda _: listener.of("status")[-1] == b"offline")
    assert b"on purpose" in listener.of("info")[-1]
