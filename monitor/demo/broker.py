"""A broker of the demo's own on the loopback: mosquitto where there is one, else amqtt inside."""

import asyncio
import importlib.util
import logging
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Generator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from monitor.errors import BrokerUnavailable

_HOST = "127.0.0.1"
_START_TIMEOUT, _STOP_TIMEOUT = 10.0, 2.0
_ATTEMPTS = 3  # somebody may take a free port before the broker does
_PAUSE = 0.01  # s between two looks at a broker that is starting

_MOSQUITTO_CONFIG = """\
listener {port} {host}
allow_anonymous true
persistence false
max_queued_messages 10000
set_tcp_nodelay true
log_dest stderr
log_type error
log_type warning
log_type information
connection_messages false
"""

_Running = tuple[asyncio.AbstractEventLoop, asyncio.Event]

_NO_BROKER = """\
demo: found no MQTT broker (no mosquitto on the PATH, no Python package amqtt); wanted one of:
  sudo apt-get install mosquitto
  pip install "sensor-monitor[demo]\""""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the demo's broker listens, and what it is; amqtt speaks MQTT 3.1.1 only."""

    host: str
    port: int
    kind: Literal["mosquitto", "amqtt"]


class _NotStarted(Exception):
    pass


@contextmanager
def broker() -> Generator[Address]:
    """Run a broker on a free port of the loopback until the block ends.

    Yields:
        Its address, once it accepts connections.

    Raises:
        BrokerUnavailable: if this machine has no broker, or it does not start.
    """
    mosquitto = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if mosquitto is None and importlib.util.find_spec("amqtt") is None:
        raise BrokerUnavailable(_NO_BROKER)
    with ExitStack() as running:
        yield _start(running, mosquitto)


def _start(running: ExitStack, mosquitto: str | None) -> Address:
    kind = "mosquitto" if mosquitto else "amqtt"
    reason = ""
    for _ in range(_ATTEMPTS):
        port = _free_port()
        try:
            running.enter_context(_mosquitto(mosquitto, port) if mosquitto else _amqtt(port))
        except _NotStarted as error:
            reason = str(error)
        else:
            return Address(_HOST, port, kind)
    raise BrokerUnavailable(f"demo: {mosquitto or kind} does not start: {reason}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


@contextmanager
def _mosquitto(program: str, port: int) -> Generator[None]:
    with TemporaryDirectory(prefix="sensor-monitor-demo-") as folder:
        config, log = Path(folder, "mosquitto.conf"), Path(folder, "mosquitto.log")
        config.write_text(_MOSQUITTO_CONFIG.format(port=port, host=_HOST))
        with log.open("wb") as errors:
            # In a session of its own, so that Ctrl-C reaches the daemon while it can still publish.
            child = subprocess.Popen(
                [program, "-c", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                start_new_session=True,
            )
        try:
            _wait_until_it_runs(child, log)
            yield
        finally:
            child.terminate()
            try:
                child.wait(_STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _wait_until_it_runs(child: subprocess.Popen[bytes], log: Path) -> None:
    """Its own word for it: at its port, somebody else may answer."""
    deadline = time.monotonic() + _START_TIMEOUT
    while time.monotonic() < deadline:
        with suppress(subprocess.TimeoutExpired):
            child.wait(_PAUSE)
            said = (log.read_text(errors="replace").strip() or "it said nothing").splitlines()[-1]
            raise _NotStarted(f"exit code {child.returncode}: {said}")
        if b" running" in log.read_bytes():
            return
    raise _NotStarted(f"it does not run within {_START_TIMEOUT:g} s")


@contextmanager
def _amqtt(port: int) -> Generator[None]:
    started: Future[_Running] = Future()
    with _silent("amqtt"), _silent("transitions"):
        thread = threading.Thread(
            target=lambda: asyncio.run(_serve_amqtt(port, started)), name="amqtt", daemon=True
        )
        thread.start()
        try:
            loop, stop = started.result(_START_TIMEOUT)
        except TimeoutError:
            raise _NotStarted(f"it is not ready within {_START_TIMEOUT:g} s") from None
        try:
            yield
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join(_STOP_TIMEOUT + 1.0)


async def _serve_amqtt(port: int, started: Future[_Running]) -> None:
    from amqtt.broker import Broker
    from amqtt.contexts import BrokerConfig, ListenerConfig

    plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
    listeners = {"default": ListenerConfig(bind=f"{_HOST}:{port}")}
    try:
        server = Broker(BrokerConfig(listeners=listeners, plugins=plugins))
        await server.start()
    except Exception as error:  # whatever it is, the starting thread must hear of it
        started.set_exception(_NotStarted(str(error)))
        return
    stop = asyncio.Event()
    started.set_result((asyncio.get_running_loop(), stop))
    await stop.wait()
    with suppress(TimeoutError):
        async with asyncio.timeout(_STOP_TIMEOUT):
            await server.shutdown()


@contextmanager
def _silent(logger: str) -> Generator[None]:
    """Keep a library from writing into the live view; what matters comes as an exception."""
    log = logging.getLogger(logger)
    before = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(before)
