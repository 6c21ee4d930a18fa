"""The broker goes, the daemon goes, another one comes: what is said and what goes on."""

import json
import re
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

from tests.e2e.conftest import Plant
from tests.e2e.program import SECONDS_TO_LEAVE, Daemon, Listener, Machine
from tests.mosquitto import Mosquitto, free_port, wait_until

NOT_READY = "not ready at the broker"


def test_after_a_broker_is_killed_and_comes_back_the_next_alert_is_raised(
    plant: Plant, broker: Mosquitto, start: Callable[..., Daemon]
) -> None:
    """The windows stay, so the alerts of the whole recording are those of one without the loss."""
    # Played in order nothing is late, and what is last need not be waited for so long.
    daemon = start(broker.port, more="lateness = 0").await_ready()
    half = 105 * 6  # after the first fault, before the others
    with Machine(broker) as machine, Listener(broker, "edge-1") as listener:
        machine.play(plant.messages[:half])
        daemon.await_frames(half - 6)  # the last of each pump waits for the next
        daemon.outcomes(half)
        first = listener.alerts()

        broker.kill()
    daemon.await_status("/readyz", 503)
    assert daemon.get("/healthz")[0] == 200
    assert daemon.metric("mqtt_connected") == 0
    broker.start()
    daemon.await_ready()

    with Machine(broker) as machine, Listener(broker, "edge-1") as listener:
        machine.play(plant.messages[half:])
        daemon.await_frames(plant.frames)
        daemon.stop()
        listener.await_farewell()
        second = listener.alerts()
    assert {json.loads(line)["data"]["asset"] for line in first} == {"p2"}
    assert {json.loads(line)["data"]["asset"] for line in second} == {"p2", "p3", "p5"}
    assert sorted(first + second) == sorted(plant.alerts)
    reasons = [re.search('why="?([^"]*)', line) for line in daemon.said(NOT_READY)]
    said = [found and found[1] for found in reasons]
    assert len(said) == len(set(said)) >= 1, daemon.text
    assert len(daemon.said("connected to the broker")) == 2
    assert len(daemon.said("has lost our session")) == 1


def test_while_the_broker_is_down_no_asset_looks_normal(
    plant: Plant, broker: Mosquitto, start: Callable[..., Daemon]
) -> None:
    daemon = start(broker.port, more="lateness = 0").await_ready()

    def state(name: str) -> float:
        return daemon.metric("asset_state", asset="p1", state=name, stream="pumps")

    with Machine(broker) as machine:
        machine.play(plant.of("p1")[:40])
        daemon.await_that(lambda: state("normal") == 1, "p1 is normal")

        broker.kill()
    daemon.await_that(lambda: state("no-data") == 1, "p1 has no data")
    assert state("normal") == 0
    assert not [name for name in daemon.metrics() if name.startswith("anomaly_score{")]
    broker.start()
    daemon.await_ready()

    with Machine(broker) as machine, Listener(broker, "edge-1") as listener:
        listener.wait_for(lambda _: listener.state("p1").get("state") == "no-data")
        machine.play(plant.of("p1")[40:80])
        listener.wait_for(lambda _: listener.state("p1").get("state") == "normal")


def test_a_lost_session_and_a_reconnect_are_counted(
    broker: Mosquitto, start: Callable[..., Daemon]
) -> None:
    daemon = start(broker.port).await_ready()
    assert daemon.metric("mqtt_reconnects_total") == 0

    broker.kill()
    daemon.await_status("/readyz", 503)
    broker.start()
    daemon.await_ready()

    assert daemon.metric("mqtt_reconnects_total") == 1
    assert daemon.metric("mqtt_session_lost_total") == 1
    assert daemon.metric("mqtt_connected") == 1


def test_a_broker_that_has_forgotten_what_it_retained_is_told_again(
    plant: Plant, broker: Mosquitto, start: Callable[..., Daemon]
) -> None:
    daemon = start(broker.port, stream=plant.unscored).await_ready()  # its state never changes
    with Machine(broker) as machine, Listener(broker, "edge-1") as listener:
        machine.play(plant.of("p1")[:1])
        listener.wait_for(lambda _: listener.state("p1").get("state") == "uncalibrated")

        broker.kill()
    daemon.await_status("/readyz", 503)
    broker.start()

    with Listener(broker, "edge-1") as listener:
        listener.wait_for(lambda _: listener.of("status") == [b"online"])
        listener.wait_for(lambda _: listener.state("p1").get("state") == "uncalibrated")


def test_a_broker_that_is_down_at_start_is_waited_for_and_named_once(
    start: Callable[..., Daemon],
) -> None:
    port = free_port()
    daemon = start(port)

    daemon.await_status("/readyz", 503)
    daemon.await_log(NOT_READY)
    assert "refused" in daemon.get("/readyz")[1]
    assert daemon.get("/healthz") == (200, "alive\n")
    assert daemon.stop() < SECONDS_TO_LEAVE
    assert len(daemon.said(NOT_READY)) == 1
    assert f"127.0.0.1:{port}" in daemon.said(NOT_READY)[0]


def test_a_broker_that_comes_later_is_found(
    make_mosquitto: Callable[..., Mosquitto], start: Callable[..., Daemon]
) -> None:
    broker = make_mosquitto()
    broker.kill()
    daemon = start(broker.port)
    daemon.await_log(NOT_READY)

    broker.start()

    daemon.await_ready()
    assert daemon.metric("mqtt_reconnects_total") == 0
    assert daemon.metric("mqtt_session_lost_total") == 0


def test_told_to_stop_under_load_it_says_goodbye_within_five_seconds(
    plant: Plant,
    broker: Mosquitto,
    outside: tuple[Machine, Listener],
    start: Callable[..., Daemon],
) -> None:
    _, listener = outside
    daemon = start(broker.port).await_ready()
    with Machine(broker) as flood, flooding(flood, plant):
        daemon.await_log("has behaved unlike normal")

        seconds = daemon.stop()

    assert seconds < SECONDS_TO_LEAVE
    listener.await_farewell()
    assert listener.of("status") == [b"online", b"offline"]
    assert [json.loads(info)["stopped"] for info in listener.of("info")] == [None, "asked to stop"]
    assert listener.heard[-1][0].endswith("/status")
    with Listener(broker, "edge-1") as late:  # what is retained
        late.wait_for(lambda heard: late.of("info"))
        assert late.of("status") == [b"offline"]


def test_messages_that_were_not_acknowledged_at_the_end_come_again_after_a_restart(
    plant: Plant,
    broker: Mosquitto,
    start: Callable[..., Daemon],
) -> None:
    daemon = start(broker.port).await_ready()
    daemon.stop()
    with Machine(broker) as machine:
        count = machine.play(plant.messages[:600])

    daemon = start(broker.port).await_ready()

    assert daemon.outcomes(count) == {"accepted": count}
    assert daemon.metric("mqtt_session_lost_total") == 0


def test_after_kill_9_the_will_says_offline_and_a_restart_begins_cold(
    plant: Plant,
    broker: Mosquitto,
    outside: tuple[Machine, Listener],
    start: Callable[..., Daemon],
) -> None:
    machine, listener = outside
    daemon = start(broker.port).await_ready()
    machine.play(plant.of("p1")[:59])
    listener.wait_for(lambda _: listener.state("p1").get("state") == "normal")
    # What was not acknowledged comes again: let the acknowledgements of all but the last go out.
    machine.play(plant.of("p1")[59:60])
    daemon.outcomes(60)

    daemon.kill()

    listener.wait_for(lambda _: listener.of("status") == [b"online", b"offline"])
    again = start(broker.port).await_ready()
    listener.wait_for(lambda _: listener.of("status")[-1] == b"online")
    machine.play(plant.of("p1")[60:70])
    listener.wait_for(lambda _: listener.state("p1")["state"] == "warming")
    state = listener.state("p1")
    assert (state["score"], state["alerts"]) == (None, [])
    assert again.metric("windows_scored_total", stream="pumps") == 0


def test_a_second_daemon_with_our_name_takes_over_and_the_first_ends_with_75(
    broker: Mosquitto, outside: tuple[Machine, Listener], start: Callable[..., Daemon]
) -> None:
    _, listener = outside
    first = start(broker.port).await_ready()

    second = start(broker.port)

    assert first.ended() == 75
    assert "client" in first.log[-1]
    assert "Traceback" not in first.text
    second.await_ready()
    assert second.process.poll() is None
    listener.wait_for(lambda _: listener.of("status")[-1] == b"online")


def test_of_two_daemons_with_one_name_one_gives_up_where_the_broker_says_nothing(
    broker: Mosquitto, start: Callable[..., Daemon]
) -> None:
    """MQTT 3.1.1 has no words for it: the older connection is just cut."""
    old = 'protocol = "3.1.1"'
    daemons = [start(broker.port, mqtt=old).await_ready(), start(broker.port, mqtt=old)]

    wait_until(lambda: any(daemon.process.poll() is not None for daemon in daemons), 30)

    one, other = sorted(daemons, key=lambda daemon: daemon.process.poll() is None)
    assert one.ended() == 75
    other.await_ready()
    assert other.process.poll() is None


def test_a_broker_that_hangs_does_not_hold_up_the_end(
    broker: Mosquitto, start: Callable[..., Daemon]
) -> None:
    daemon = start(broker.port).await_ready()
    with frozen(broker):
        assert daemon.stop() < SECONDS_TO_LEAVE
    with Listener(broker, "edge-1") as late:
        late.wait_for(lambda _: late.of("status") == [b"offline"])  # the will


def test_told_twice_to_stop_it_leaves_at_once(
    broker: Mosquitto, start: Callable[..., Daemon]
) -> None:
    daemon = start(broker.port).await_ready()
    with frozen(broker):  # or it might have left in order before the second signal
        daemon.process.send_signal(signal.SIGTERM)
        daemon.process.send_signal(signal.SIGINT)
        assert daemon.ended() in {128 + signal.SIGTERM, 128 + signal.SIGINT}


@contextmanager
def frozen(broker: Mosquitto) -> Generator[None]:
    """The broker holds its connections and answers nothing."""
    assert broker._process is not None
    broker._process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        broker._process.send_signal(signal.SIGCONT)


@contextmanager
def flooding(machine: Machine, plant: Plant) -> Generator[None]:
    """The plant's messages over and over, as fast as the broker takes them, until the end."""
    over = threading.Event()

    def flood() -> None:
        while not over.is_set():
            machine.play(plant.messages[:1200])

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
