"""What we tell systemd."""

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.sdnotify import notify, watchdog_interval


@pytest.fixture(params=["file", "abstract"])
def manager(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        if request.param == "file":
            name = address = str(tmp_path / "notify")
        else:
            name = f"@sensor-monitor-test-{os.getpid()}-{threading.get_ident()}"
            address = "\0" + name[1:]
        server.bind(address)
        server.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield server


def test_a_state_reaches_the_service_manager(manager: socket.socket) -> None:
    assert notify("READY=1\nSTATUS=watching 3 streams")
    assert manager.recv(4096) == b"READY=1\nSTATUS=watching 3 streams"


def test_a_service_manager_that_does_not_read_stops_nothing(manager: socket.socket) -> None:
    sent = 0
    while notify("WATCHDOG=1"):
        sent += 1
        assert sent < 100_000
    assert sent > 0


def test_without_a_service_manager_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify("READY=1")


@pytest.mark.parametrize("address", ["/nowhere/notify", "vsock:2:1234", "x" * 500])
def test_a_service_manager_out_of_reach_is_no_error(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    assert not notify("READY=1")


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [
        ("30000000", None, 15.0),
        ("30000000", str(os.getpid()), 15.0),
        ("30000000", "1", None),
        ("0", None, None),
        ("soon", None, None),
        (None, None, None),
    ],
)
def test_the_watchdog_is_fed_at_half_its_time(
    monkeypatch: pytest.MonkeyPatch, usec: str | None, pid: str | None, seconds: float | None
) -> None:
    for name, value in (("WATCHDOG_USEC", usec), ("WATCHDOG_PID", pid)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert watchdog_interval() == seconds
