"""Whatever the broker delivers is counted once, and the next good message is scored."""

import json
import socket
from collections.abc import Callable

import pytest

from tests.e2e.conftest import Plant
from tests.e2e.program import Daemon, Listener, Machine
from tests.mosquitto import Mosquitto

STAMP = b'"time": "2026-01-05T00:00:00Z"'
REFUSED = {
    "empty": (b"", "malformed"),
    "text": (b"hello", "malformed"),
    "half": (b'{"time": "2026-01-05T00:00:00Z", "speed":', "malformed"),
    "not UTF-8": (b'{"time": "\xff\xfe"}', "malformed"),
    "deep": (b"[" * 30_000, "malformed"),
    "deep and whole": (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "malformed"),
    "NaN": (b"{" + STAMP + b', "speed": NaN}', "malformed"),
    "infinity": (b"{" + STAMP + b', "speed": -Infinity}', "malformed"),
    "a list": (b"[1, 2, 3]", "malformed"),
    "a number": (b"12.5", "malformed"),
    "no time": (b'{"speed": 1200.0}', "malformed"),
    "no zone": (b'{"time": "2026-01-05T00:00:00", "speed": 1200.0}', "malformed"),
    "time of another kind": (b'{"time": [1], "speed": 1200.0}', "malformed"),
    "400 digits": (b"{" + STAMP + b', "speed": ' + b"9" * 400 + b"}", "no-sensor"),
    "huge exponent": (b"{" + STAMP + b', "speed": 1e400}', "malformed"),
    "text for a number": (b"{" + STAMP + b', "speed": "fast"}', "no-sensor"),
    "only null": (b"{" + STAMP + b', "speed": null}', "no-sensor"),
    "no sensor of ours": (b"{" + STAMP + b', "colour": 1}', "no-sensor"),
    "a clock that runs ahead": (b'{"time": "2099-01-01T00:00:00Z", "speed": 1200.0}', "future"),
    "100 kB": (b"{" + STAMP + b', "speed": 1200.0, "pad": "' + b"x" * 100_000 + b'"}', "too-large"),
}
ODD_NAMES = ("", "\u200b", "\u00a0", "x" * 129, "ä" * 65)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_bad_messages_are_counted_and_the_good_ones_between_them_raise_the_alerts_of_replay(
    protocol: str, plant: Plant, broker: Mosquitto, start: Callable[..., Daemon]
) -> None:
    # Played in order nothing is late, and what is last need not be waited for so long.
    daemon = start(broker.port, mqtt=f'protocol = "{protocol}"', more="lateness = 0").await_ready()
    good = plant.of("p2")
    bad = [("plant/p2/telemetry", payload) for payload, _ in REFUSED.values()]
    bad += [(f"plant/{name}/telemetry", good[0][1]) for name in ODD_NAMES]
    with Machine(broker) as machine, Listener(broker, "edge-1") as listener:
        for event, wrong in zip(good, [*bad, *[None] * (len(good) - len(bad))], strict=True):
            machine.play([event] if wrong is None else [wrong, event])

        daemon.await_frames(len(good))
        counts = daemon.outcomes(len(good) + len(bad))
        daemon.stop()
        listener.await_farewell()
        heard = listener.alerts()
    wanted = [outcome for _, outcome in REFUSED.values()]
    assert counts == {
        "accepted": len(good),
        "no-asset": len(ODD_NAMES),
        **{outcome: wanted.count(outcome) for outcome in wanted},
    }
    assert heard == [line for line in plant.alerts if json.loads(line)["data"]["asset"] == "p2"]
    assert "Traceback" not in daemon.text


def test_a_bad_field_is_counted_by_its_sensor_and_the_rest_of_the_message_is_used(
    broker: Mosquitto, outside: tuple[Machine, Listener], start: Callable[..., Daemon]
) -> None:
    machine, _ = outside
    daemon = start(broker.port).await_ready()

    machine.play(
        [
            (
                "plant/p1/telemetry",
                b"{" + STAMP + b', "speed": "fast", "flow": ' + b"9" * 400 + b', "pressure": 3.0}',
            )
        ]
    )

    assert daemon.outcomes(1) == {"accepted": 1}

    def rejected(sensor: str, reason: str) -> float:
        return daemon.metric(
            "readings_rejected_total", stream="pumps", sensor=sensor, reason=reason
        )

    assert rejected("speed", "not-a-number") == 1
    assert rejected("flow", "not-finite") == 1
    assert rejected("pressure", "not-finite") == 0
    assert daemon.metric("sensor_value", stream="pumps", asset="p1", sensor="pressure") == 3.0


def test_a_megabyte_is_counted_where_the_broker_delivers_it(
    plant: Plant, broker: Mosquitto, start: Callable[..., Daemon]
) -> None:
    """With MQTT 5 it does not: we ask for packets of at most 256 KiB."""
    old = start(broker.port, mqtt='protocol = "3.1.1"').await_ready()
    daemon = start(broker.port, client_id="new").await_ready()
    with Machine(broker) as machine:
        machine.play([("plant/p1/telemetry", b"x" * 2**20), *plant.of("p1")[:1]])

    assert old.outcomes(2) == {"too-large": 1, "accepted": 1}
    assert daemon.outcomes(1) == {"accepted": 1}


@pytest.mark.parametrize(("protocol", "received"), [("5", {}), ("3.1.1", {"retained": 2})])
def test_retained_messages_are_state_and_no_readings(
    protocol: str,
    received: dict[str, int],
    plant: Plant,
    broker: Mosquitto,
    outside: tuple[Machine, Listener],
    start: Callable[..., Daemon],
) -> None:
    """An MQTT 5 broker is asked not to send them at all."""
    machine, _ = outside
    for topic, payload in [plant.of("p1")[0], plant.of("p2")[0]]:
        machine.publish(topic, payload, retain=True)

    daemon = start(broker.port, mqtt=f'protocol = "{protocol}"').await_ready()

    machine.play(plant.of("p1")[1:2])
    assert daemon.outcomes(1 + sum(received.values())) == {"accepted": 1, **received}


def test_assets_beyond_the_limit_are_counted_and_those_within_go_on(
    plant: Plant,
    broker: Mosquitto,
    outside: tuple[Machine, Listener],
    start: Callable[..., Daemon],
) -> None:
    machine, listener = outside
    daemon = start(broker.port, more="max_assets = 2").await_ready()
    machine.play(plant.messages[: 40 * 6])

    assert daemon.outcomes(40 * 6) == {"accepted": 2 * 40, "asset-limit": 4 * 40}
    listener.wait_for(lambda _: listener.state("p2").get("state") == "normal")
    assert not listener.state("p3")


def test_topics_that_are_not_utf_8_disturb_nobody(
    plant: Plant,
    broker: Mosquitto,
    outside: tuple[Machine, Listener],
    start: Callable[..., Daemon],
) -> None:
    machine, _ = outside
    daemon = start(broker.port).await_ready()
    topic = b"plant/\xff\xfe/telemetry"
    body = len(topic).to_bytes(2, "big") + topic + b"{}"
    with socket.create_connection((broker.host, broker.port)) as rogue:
        rogue.settimeout(5)
        rogue.sendall(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01r")
        assert rogue.recv(4) == b"\x20\x02\x00\x00"
        rogue.sendall(b"\x30" + bytes([len(body)]) + body)
        assert rogue.recv(1) == b""  # mosquitto cuts it off; others may deliver it

    machine.play(plant.of("p1")[:1])
    assert daemon.outcomes(1) == {"accepted": 1}
