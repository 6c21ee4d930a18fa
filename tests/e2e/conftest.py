"""A small plant, a detector trained on it as a user would, and daemons to watch it."""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from monitor import config as configuration
from monitor.demo.plant import ASSETS, Fault, write_recording
from monitor.replaying import messages, read_for
from monitor.stream import open_streams
from tests.e2e.program import (
    BIN,
    Daemon,
    Event,
    Listener,
    Machine,
    sensor_monitor,
    trainer,
    write_config,
)
from tests.mosquitto import Mosquitto

# Each is over, and its alert resolved, well before the recording ends.
FAULTS = (
    Fault("spike", "p2", "vibration", 60, 100),
    Fault("broken correlation", "p5", "flow", 110, 180),
    Fault("drift", "p3", "temperature", 110, 240),
)
TICKS = 330


@dataclass(frozen=True)
class Plant:
    """What the tests of this folder share; nothing in it is ever changed.

    Args:
        bundle: trained on a recording without faults.
        faulty: another recording, with FAULTS.
        stream: lines of configuration of a stream that reads the plant.
        messages: of the faulty recording, in its order.
        alerts: what `replay` makes of it.
    """

    bundle: Path
    faulty: Path
    stream: str
    messages: tuple[Event, ...]
    alerts: tuple[bytes, ...]

    @property
    def frames(self) -> int:
        return len(ASSETS) * TICKS

    @property
    def unscored(self) -> str:
        """Lines of a stream that reads the same and has no model."""
        lines = [line for line in self.stream.splitlines() if not line.startswith("model")]
        return "\n".join([*lines, "[stream.sensors]", 'speed = "speed"'])

    def of(self, *assets: str) -> list[Event]:
        """The messages of some assets, in order."""
        return [event for event in self.messages if event[0].split("/")[1] in assets]


def apart(recording: Path) -> list[Path]:
    """A file for each asset, all of one name and without the column: a bundle for all of them."""
    with recording.open(newline="") as file:
        rows = list(csv.DictReader(file))
    found: list[Path] = []
    for asset in sorted({row["asset"] for row in rows}):
        path = recording.parent / "apart" / asset / "pump.csv"
        path.parent.mkdir(parents=True)
        with path.open("w", newline="") as file:
            names = [name for name in rows[0] if name != "asset"]
            lines = csv.DictWriter(file, names, extrasaction="ignore")
            lines.writeheader()
            lines.writerows(row for row in rows if row["asset"] == asset)
        found.append(path)
    return found


@pytest.fixture(scope="session")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Plant:
    folder = tmp_path_factory.mktemp("plant")
    normal, faulty, bundle = folder / "normal.csv", folder / "faulty.csv", folder / "bundle"
    write_recording(normal, 1200)
    write_recording(faulty, TICKS, FAULTS, seed=2)
    small = ("hidden=16", "epochs=4", "batch=128", "lr=0.01")
    settings = [word for pair in small for word in ("--set", pair)]
    trainer("fit", *apart(normal), "--out", bundle, "--window", "24", *settings)
    stream = (
        f'name = "pumps"\nmodel = "{bundle}"\ntopic = "plant/{{asset}}/telemetry"\ntime = "time"'
    )
    config, _ = write_config(folder, 1883, stream=stream)
    read = open_streams(configuration.load(config))[0]
    played = messages(read, *read_for(read, faulty, None), {})
    replayed = sensor_monitor("replay", faulty, "--config", config, "--stream", "pumps")
    assert replayed.returncode == 0, replayed.stderr
    alerts = tuple(replayed.stdout.encode().splitlines())
    return Plant(
        bundle, faulty, stream, tuple((topic, payload) for _, topic, payload in played), alerts
    )


@pytest.fixture
def broker(make_mosquitto: Callable[..., Mosquitto]) -> Mosquitto:
    """A mosquitto that keeps more for a subscriber than these tests ever send."""
    return make_mosquitto("max_queued_messages 100000")


@pytest.fixture
def outside(broker: Mosquitto) -> Iterator[tuple[Machine, Listener]]:
    """A machine, and a listener to all that `edge-1` tells."""
    with Machine(broker) as machine, Listener(broker, "edge-1") as listener:
        yield machine, listener


@pytest.fixture
def start(tmp_path: Path, plant: Plant) -> Iterator[Callable[..., Daemon]]:
    """Start daemons on the plant's stream; what is left of them is killed after the test.

    Called with the broker's port; `more` are further lines of the stream, the rest is as in
    `write_config` and `Daemon`.
    """
    with ExitStack() as daemons:

        def one(
            broker: int,
            *,
            more: str = "",
            stream: str = plant.stream,
            mqtt: str = "",
            client_id: str = "edge-1",
            command: Sequence[str | Path] = (BIN / "sensor-monitor",),
            env: Mapping[str, str] | None = None,
        ) -> Daemon:
            config, port = write_config(
                tmp_path, broker, stream=f"{stream}\n{more}", mqtt=mqtt, client_id=client_id
            )
            return daemons.enter_context(Daemon(config, port, command=command, env=env))

        yield one
