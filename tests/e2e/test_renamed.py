"""A firmware update renames a key in a live stream: a subscriber outside hears which, and soon."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.frame import SECOND
from monitor import config as configuration
from monitor.clock import Clock
from monitor.daemon import Daemon
from monitor.stream import open_streams
from tests.e2e.program import Listener, Machine, write_config
from tests.mosquitto import Mosquitto, wait_until

STREAM = """name = "rooms"
topic = "rooms/{asset}"
[stream.sensors]
temperature_c = "env.temperature_c"
humidity = "env.humidity"
"""
FASTER = 8


class FastClock(Clock):
    """A clock that runs ahead, so that a minute need not be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self._began = super().now()

    def now(self) -> int:
        return self._began + FASTER * (super().now() - self._began)


@pytest.fixture
def daemon(tmp_path: Path, broker: Mosquitto) -> Iterator[Daemon]:
    """A daemon in this process, for whom time runs faster."""
    path, _ = write_config(tmp_path, broker.port, stream=STREAM)
    config = configuration.load(path)
    one = Daemon(config, open_streams(config))
    one.link.clock = FastClock()
    one.start()
    try:
        assert one.link.wait_ready(10)
        yield one
    finally:
        one.stop("the test is over")


def test_sensor_and_new_key_are_told_of_within_a_minute_of_the_update(
    daemon: Daemon, broker: Mosquitto
) -> None:
    books, clock = daemon.streams[0].books, daemon.link.clock
    with Machine(broker) as machine, Listener(broker, "edge-1") as listener:

        def send(**env: float) -> None:
            before = books.received
            machine.play([("rooms/r1", json.dumps({"env": {**env, "lux": 3}}).encode())])
            wait_until(lambda: books.received > before)

        for _ in range(10):
            send(temperature_c=21.0, humidity=40.0)
        began = clock.now()
        while not listener.alerts():
            assert clock.now() - began < 60 * SECOND
            send(temperatureC=21.4, humidity=40.0)
        (alert,) = map(json.loads, listener.alerts())
    assert alert["data"]["kind"] == "no-data"
    assert [sensor["name"] for sensor in alert["data"]["sensors"]] == ["temperature_c"]
    assert alert["data"]["summary"].endswith(
        ", while others come; its messages now have the new key env.temperatureC with 21.4."
    )
