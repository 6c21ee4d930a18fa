"""A real mosquitto for tests, and an outsider who speaks to it without our code."""

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

# Debian puts it where only root's PATH looks.
MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def wait_until(condition: Callable[[], object], timeout: float = 10.0) -> None:
    """Wait for something that no event announces; fails loudly."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"not so within {timeout} s"
        time.sleep(0.005)


class Mosquitto:
    """One mosquitto on a free port of the loopback, with its files in ``folder``.

    Args:
        folder: where configuration, log and persistence go.
        lines: further lines of configuration, for the listener too.
    """

    def __init__(self, folder: Path, *lines: str) -> None:
        assert MOSQUITTO is not None
        self.host = "127.0.0.1"
        self.port = free_port()
        self.log = folder / f"mosquitto-{self.port}.log"
        self._config = folder / f"mosquitto-{self.port}.conf"
        self._process: subprocess.Popen[bytes] | None = None
        user = ["user root"] if os.geteuid() == 0 else []  # else it could not write to `folder`
        self._config.write_text(
            "\n".join(
                [
                    f"listener {self.port} {self.host}",
                    "persistence true",
                    f"persistence_location {folder}/",
                    f"persistence_file mosquitto-{self.port}.db",
                    "set_tcp_nodelay true",
                    *user,
                    *(
                        []
                        if any("allow_anonymous" in line for line in lines)
                        else ["allow_anonymous true"]
                    ),
                    *lines,
                ]
            )
            + "\n"
        )

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(MOSQUITTO), "-c", str(self._config)], stdout=log, stderr=subprocess.STDOUT
            )
        wait_until(self._listens)

    def kill(self) -> None:
        """SIGKILL: it forgets all it has not saved."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(5)

    def terminate(self) -> None:
        """SIGTERM: it saves sessions, queues and retained messages first."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(5)

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()
        try:
            socket.create_connection((self.host, self.port), 1).close()
        except ConnectionRefusedError:
            return False
        return True

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()


class Outsider:
    """A client beside the program under test: publishes at once, remembers what it hears."""

    def __init__(self, broker: Mosquitto, *filters: str) -> None:
        self.heard: list[tuple[str, bytes, bool]] = []
        self._changed = threading.Condition()
        self._subscribed = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.on_message = self._on_message
        self._client.on_subscribe = self._on_subscribe
        self._client.max_inflight_messages = 1000
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()
        if filters:
            self._client.subscribe([(name, 1) for name in filters])
            assert self._subscribed.wait(5)

    def publish(self, topic: str, *payloads: bytes, qos: int = 1, retain: bool = False) -> None:
        """Publish, and return once the broker has it all."""
        sent = [self._client.publish(topic, payload, qos, retain) for payload in payloads]
        for info in sent:
            info.wait_for_publish(10)
            assert info.is_published()

    def wait_for(self, condition: Callable[[list[tuple[str, bytes, bool]]], object]) -> None:
        """Wait until what was heard fulfils ``condition``."""
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self.heard), 10), self.heard

    def _on_message(self, client: paho.Client, data: object, message: paho.MQTTMessage) -> None:
        with self._changed:
            self.heard.append((message.topic, bytes(message.payload), message.retain))
            self._changed.notify_all()

    def _on_subscribe(
        self, client: paho.Client, data: object, mid: int, reasons: list[ReasonCode], *_: object
    ) -> None:
        assert not any(reason.is_failure for reason in reasons), reasons
        self._subscribed.set()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
