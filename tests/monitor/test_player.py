import time
from collections.abc import Callable

import pytest

from monitor.errors import BrokerUnavailable
from monitor.mqtt import LinkSettings
from monitor.player import play
from tests.mosquitto import Mosquitto, Outsider, free_port


def settings(port: int) -> LinkSettings:
    return LinkSettings("127.0.0.1", port, "player")


def test_every_message_is_with_the_broker_when_play_returns(mosquitto: Mosquitto) -> None:
    messages = [(1e9 + n, f"in/{n % 7}", b"%d" % n) for n in range(600)]
    with Outsider(mosquitto, "in/#") as outsider:
        assert play(settings(mosquitto.port), messages, speed=None, rate_limit=5000) == 600
        outsider.wait_for(lambda heard: len(heard) == 600)
        assert [(topic, payload) for topic, payload, _ in outsider.heard] == [
            (topic, payload) for _, topic, payload in messages
        ]


def test_speed_divides_the_times_between_messages(mosquitto: Mosquitto) -> None:
    began = time.monotonic()
    play(settings(mosquitto.port), [(100.0, "t", b""), (104.0, "t", b"")], speed=10.0)
    assert 0.4 <= time.monotonic() - began < 2.0


def test_the_rate_limit_holds_at_any_speed(mosquitto: Mosquitto) -> None:
    began = time.monotonic()
    play(settings(mosquitto.port), [(0.0, "t", b"")] * 51, speed=1e6, rate_limit=100)
    assert time.monotonic() - began >= 0.45  # 0.5 s, less the burst


def test_a_broker_that_is_not_there_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.player.CONNECT_SECONDS", 0.2)
    port = free_port()
    with pytest.raises(BrokerUnavailable, match=rf"127.0.0.1:{port}: Connection refused"):
        play(settings(port), [])


def test_a_broker_that_goes_away_in_between_is_said_in_words(
    mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitor.player.SILENCE_SECONDS", 0.2)

    def messages():
        yield 0.0, "t", b""
        mosquitto.kill()
        yield 0.0, "t", b""

    with pytest.raises(BrokerUnavailable):
        play(settings(mosquitto.port), messages())


def test_messages_the_broker_refuses_are_an_error(
    make_mosquitto: Callable[..., Mosquitto],
) -> None:
    mosquitto = make_mosquitto("max_packet_size 100")
    with pytest.raises(BrokerUnavailable, match="refused 1 of 2 messages"):
        play(settings(mosquitto.port), [(0.0, "t", b"x" * 200), (0.0, "t", b"x")])
