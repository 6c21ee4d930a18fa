"""The programs as a user runs them: whole processes, watched from outside."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from prometheus_client.parser import text_string_to_metric_families

from tests.mosquitto import Mosquitto, Outsider, free_port, wait_until

BIN = Path(sys.executable).parent
PATIENCE = 20.0  # seconds for what takes a fraction of one on an idle machine
SECONDS_TO_LEAVE = 5.0
Event = tuple[str, bytes]


def sensor_monitor(
    *arguments: str | Path,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    python: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """Run a `sensor-monitor` command to its end."""
    return subprocess.run(
        [sys.executable, *python, BIN / "sensor-monitor", *arguments],
        input=stdin.decode(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **(env or {})},
    )


def trainer(*arguments: str | Path) -> None:
    done = subprocess.run(
        [BIN / "sensor-trainer", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


class Daemon:
    """A `sensor-monitor run`; its log lines are remembered as they come.

    Args:
        config: the configuration file.
        http: port of its pages.
        command: the interpreter's arguments in front of those of `sensor-monitor run`.
        env: further environment variables.
    """

    def __init__(
        self,
        config: Path,
        http: int,
        *,
        command: Sequence[str | Path] = (BIN / "sensor-monitor",),
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.port = http
        self.log: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, *command, "run", "--config", config],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(env or {})},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line.rstrip("\n"))

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a page; 0 while nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except OSError:
            return 0, ""
        finally:
            connection.close()

    def await_status(self, path: str, status: int) -> None:
        self.await_that(lambda: self.get(path)[0] == status, f"{path} answers {status}")

    def await_ready(self) -> Self:
        self.await_status("/readyz", 200)
        return self

    def metrics(self) -> dict[str, float]:
        """Every sample by its name and labels, such as `x_total{stream="a"}`."""
        status, page = self.get("/metrics")
        assert status == 200, page
        return {
            sample.name.removeprefix("sensor_monitor_")
            + "{"
            + ",".join(f'{key}="{value}"' for key, value in sorted(sample.labels.items()))
            + "}": sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
        }

    def metric(self, name: str, **labels: str) -> float:
        """One sample; 0 where there is no such series."""
        text = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
        return self.metrics().get(f"{name}{{{text}}}", 0.0)

    def outcomes(self, received: int, stream: str = "pumps") -> dict[str, int]:
        """Messages by outcome, without the zeros, once so many have been received.

        Asserts that the books are right: exactly so many, and one outcome for each.
        """

        def books() -> tuple[int, dict[str, int]]:
            page = self.metrics()
            return int(page[f'messages_received_total{{stream="{stream}"}}']), {
                name.split('"')[1]: int(value)
                for name, value in page.items()
                if name.startswith("messages_total{") and f'stream="{stream}"' in name and value
            }

        def entered() -> bool:
            total, counts = books()
            return total >= received and sum(counts.values()) >= total

        self.await_that(entered, f"{received} messages have been received, with an outcome each")
        total, counts = books()
        assert total == received == sum(counts.values()), counts
        return counts

    def await_frames(self, count: int, stream: str = "pumps") -> None:
        """Wait until so many frames have closed, scored or not."""

        def closed() -> bool:
            return count <= sum(
                value
                for name, value in self.metrics().items()
                if name.startswith(("windows_scored_total", "windows_skipped_total"))
                and f'stream="{stream}"' in name
            )

        self.await_that(closed, f"{count} frames have closed")

    def await_log(self, text: str, times: int = 1) -> None:
        self.await_that(lambda: len(self.said(text)) >= times, f"the log says {text!r}")

    def said(self, text: str) -> list[str]:
        """The log lines that hold a text."""
        return [line for line in self.log if text in line]

    def await_that(self, condition: Callable[[], object], what: str) -> None:
        try:
            wait_until(lambda: self.process.poll() is not None or condition(), PATIENCE)
        except AssertionError:
            raise AssertionError(f"not so within {PATIENCE} s: {what}\n{self.text}") from None
        assert self.process.poll() is None, f"ended before {what}\n{self.text}"

    @property
    def text(self) -> str:
        return "\n".join(self.log)

    def ended(self) -> int:
        """The exit code, once it has ended of itself and all it said is known."""
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def stop(self) -> float:
        """SIGTERM; the seconds it took to leave with 0."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.ended()
        assert code == 0, self.text
        return time.monotonic() - began

    def kill(self) -> None:
        self.process.kill()
        self.ended()
        assert self.process.stderr is not None
        self.process.stderr.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        if error is not None:
            sys.stderr.write(self.text + "\n")  # shown with the failed test


class Machine(Outsider):
    """Sends readings, as machines do: at QoS 1, many topics in one order."""

    def play(self, messages: Iterable[Event]) -> int:
        """Publish in order and return their number once the broker has them all."""
        sent = [self._client.publish(topic, payload, 1) for topic, payload in messages]
        for info in sent:
            info.wait_for_publish(PATIENCE)
            assert info.is_published()
        return len(sent)


class Listener(Outsider):
    """A subscriber to all a daemon tells."""

    def __init__(self, broker: Mosquitto, instance: str) -> None:
        self._root = f"sensor-monitor/{instance}"
        super().__init__(broker, f"{self._root}/#")

    def of(self, topic: str) -> list[bytes]:
        """Payloads heard on a topic below the instance's own, in order."""
        return [payload for name, payload, _ in self.heard if name == f"{self._root}/{topic}"]

    def alerts(self) -> list[bytes]:
        return [payload for name, payload, _ in self.heard if name.endswith("/alerts")]

    def state(self, asset: str, stream: str = "pumps") -> dict[str, Any]:
        """The newest state of an asset; empty before the first."""
        heard = self.of(f"{stream}/{asset}/state")
        return json.loads(heard[-1]) if heard else {}

    def await_farewell(self) -> None:
        """Wait for the newest status to be `offline`: all that was told before is here."""
        self.wait_for(lambda heard: self.of("status")[-1:] == [b"offline"])


def write_config(
    folder: Path,
    broker: int,
    *,
    stream: str,
    client_id: str = "edge-1",
    mqtt: str = "",
) -> tuple[Path, int]:
    """A configuration with one stream, and the port of its pages."""
    port = free_port()
    path = folder / f"{client_id}-{port}.toml"
    path.write_text(
        f'[mqtt]\nport = {broker}\nclient_id = "{client_id}"\n{mqtt}\n'
        f'[http]\nlisten = "127.0.0.1:{port}"\n[state]\ndirectory = "state"\n'
        f"[[stream]]\n{stream}\n"
    )
    return path, port
