import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import monitor.mqtt
from monitor.link import Link
from monitor.mqtt import LinkSettings, TlsSettings
from monitor.reading import Message
from tests.mosquitto import Mosquitto, Outsider, free_port, wait_until

MakeLink = Callable[..., Link]
MakeMosquitto = Callable[..., Mosquitto]
STATUS = "monitor/edge/status"


@pytest.fixture
def make_link() -> Iterator[MakeLink]:
    """Start a link; settings are named as in `LinkSettings`, `port` is all that must be given."""
    links: list[Link] = []

    def make(port: int, *filters: str, client_id: str = "edge", **options: object) -> Link:
        names = ("protocol", "keepalive", "session_expiry", "username", "password", "tls")
        given = {name: options.pop(name) for name in names if name in options}
        settings = LinkSettings("127.0.0.1", port, client_id, **given)  # type: ignore[arg-type]
        link = Link(settings, filters=filters, **options)  # type: ignore[arg-type]
        links.append(link)
        link.start()
        return link

    yield make
    for link in links:
        link.stop(timeout=0)
        assert link.failure is None


@pytest.fixture
def outsider(mosquitto: Mosquitto) -> Iterator[Outsider]:
    with Outsider(mosquitto, STATUS, "out/#") as outsider:
        yield outsider


def numbered(count: int, start: int = 0) -> list[bytes]:
    return [b"%d" % number for number in range(start, start + count)]


def receive(link: Link, count: int, *, acknowledge: bool = True) -> list[bytes]:
    messages: list[Message] = []
    end = time.monotonic() + 10
    while len(messages) < count:
        assert time.monotonic() < end, f"{len(messages)} of {count} messages: {messages}"
        some = link.receive(1.0)
        messages += some
        if acknowledge:
            link.acknowledge(len(some))
    return [message.payload for message in messages]


def settle(link: Link) -> None:
    """Wait until the broker has handled all that was sent so far, acknowledgements included."""
    link.publish("settle", b"")
    assert link.flush(5)


def cut(link: Link) -> None:
    """End the connection as a broken cable does; returns once the link is back."""
    before = link.counters.reconnects
    break_socket(link)
    wait_until(lambda: link.counters.reconnects > before and link.ready)


def break_socket(link: Link) -> None:
    session = link._session
    assert session is not None
    sock = session._client.socket()
    assert isinstance(sock, socket.socket)
    sock.shutdown(socket.SHUT_RDWR)


# Receiving and acknowledging


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize("qos", [0, 1])
def test_messages_come_once_and_in_order(
    mosquitto: Mosquitto, outsider: Outsider, make_link: MakeLink, protocol: str, qos: int
) -> None:
    link = make_link(mosquitto.port, "in/#", protocol=protocol)
    assert link.wait_ready(5)
    before = time.time_ns()
    outsider.publish("in/a", *numbered(500), qos=qos)
    assert receive(link, 500) == numbered(500)
    outsider.publish("in/b", b"last")
    [last] = link.receive(5)
    assert (last.topic, last.payload, last.retained) == ("in/b", b"last", False)
    assert before < last.arrival < time.time_ns()
    assert link.queue_depth == 0


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_what_was_not_acknowledged_comes_again_and_nothing_else(
    mosquitto: Mosquitto, outsider: Outsider, make_link: MakeLink, protocol: str
) -> None:
    link = make_link(mosquitto.port, "in/#", protocol=protocol)
    assert link.wait_ready(5)
    outsider.publish("in/a", *numbered(10))
    assert receive(link, 10, acknowledge=False) == numbered(10)
    link.acknowledge(4)
    settle(link)
    cut(link)
    assert receive(link, 6, acknowledge=False) == numbered(6, start=4)
    assert link.counters.sessions_lost == 0


def test_a_stale_ack_is_dropped_though_the_session_was_resumed(
    mosquitto: Mosquitto, outsider: Outsider, make_link: MakeLink
) -> None:
    link = make_link(mosquitto.port, "in/#")
    assert link.wait_ready(5)
    outsider.publish("in/a", *numbered(5))
    receive(link, 5, acknowledge=False)
    cut(link)
    assert receive(link, 5, acknowledge=False) == numbered(5)
    link.acknowledge(5)
    wait_until(lambda: link.counters.stale_acks == 5)
    cut(link)
    assert receive(link, 5, acknowledge=False) == numbered(5)


def test_a_stale_ack_never_acknowledges_a_new_message_with_the_same_id(
    mosquitto: Mosquitto, make_link: MakeLink
) -> None:
    link = make_link(mosquitto.port, "in/#")
    assert link.wait_ready(5)
    with Outsider(mosquitto) as outsider:
        outsider.publish("in/a", b"old")
        receive(link, 1, acknowledge=False)
    mosquitto.kill()  # it forgets the session, so that packet ids start at 1 again
    mosquitto.start()
    wait_until(lambda: link.counters.reconnects == 1 and link.ready)
    assert link.counters.sessions_lost == 1
    with Outsider(mosquitto) as outsider:
        outsider.publish("in/a", b"new")
        assert receive(link, 1, acknowledge=False) == [b"new"]
        link.acknowledge(1)
        wait_until(lambda: link.counters.stale_acks == 1)
        cut(link)
        assert receive(link, 1) == [b"new"]


def test_a_message_left_in_the_inbox_at_the_stop_comes_to_the_next_process(
    mosquitto: Mosquitto, outsider: Outsider, make_link: MakeLink
) -> None:
    link = make_link(mosquitto.port, "in/#")
    assert link.wait_ready(5)
    outsider.publish("in/a", *numbered(3))
    wait_until(lambda: link.queue_depth == 3)
    link.receive(0, limit=2)
    link.acknowledge(1)
    assert link.stop()
    outsider.publish("in/a", b"3")
    link = make_link(mosquitto.port, "in/#")
    assert receive(link, 3) == numbered(3, start=1)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_topic_of_an_earlier_run_is_left_though_the_session_is_kept(
    mosquitto: Mosquitto, outsider: Outsider, make_link: MakeLink, protocol: str
) -> None:
    old = make_link(mosquitto.port, "old/#", "in/#", protocol=protocol)
    assert old.wait_ready(5)
    old.stop()
    kept = make_link(mosquitto.port, "in/#", protocol=protocol)
    assert kept.wait_ready(5)
    outsider.publish("old/a", b"still")
    assert receive(kept, 1) == [b"still"]
    kept.stop()

    link = make_link(mosquitto.port, "in/#", protocol=protocol, stale=["old/#"])
    assert link.wait_ready(5)
    outsider.publish("old/a", b"no more")
    outsider.publish("in/a", b"in")
    assert receive(link, 1) == [b"in"]


def test_a_shared_subscription_is_one_that_the_broker_grants(
    mosquitto: Mosquitto, outsider: Outsider, make_link: MakeLink
) -> None:
    link = make_link(mosquitto.port, "$share/group/in/#", "own/#")
    assert link.wait_ready(5)
    assert link._session
    asked = link._session._subscriptions()
    # MQTT 5, 3.8.3.1: no-local on a shared subscription is an error; mosquitto 2.0 lets it pass.
    assert [getattr(options, "noLocal", None) for _, options in asked] == [False, True]
    outsider.publish("in/a", *numbered(3))
    assert receive(link, 3) == numbered(3)


def test_retained_messages_are_not_sent_on_subscribing(
    mosquitto: Mosquitto, outsider: Outsider, make_link: MakeLink
) -> None:
    outsider.publish("in/state", b"kept", retain=True)
    link = make_link(mosquitto.port, "in/#")
    assert link.wait_ready(5)
    cut(link)
    outsider.publish("in/state", b"live", retain=True)
    [message] = link.receive(5)
    assert (message.payload, message.retained) == (b"live", False)


def test_retained_messages_are_flagged_where_the_protocol_cannot_refuse_them(
    mosquitto: Mosquitto, outsider: Outsider, make_link: MakeLink
) -> None:
    outsider.publish("in/state", b"kept", retain=True)
    link = make_link(mosquitto.port, "in/#", protocol="3.1.1")
    [message] = link.receive(5)
    assert (message.payload, message.retained) == (b"kept", True)


@pytest.fixture
def backlog(make_mosquitto: MakeMosquitto, make_link: MakeLink) -> Iterator[int]:
    """The port of a broker that holds 2500 messages on in/a for our session."""
    mosquitto = make_mosquitto("max_queued_messages 10000")
    link = make_link(mosquitto.port, "in/#")
    assert link.wait_ready(5)
    assert link.stop()
    with Outsider(mosquitto) as outsider:
        outsider.publish("in/a", *numbered(2500))
        yield mosquitto.port


def test_a_full_inbox_leaves_the_rest_with_the_broker_for_longer_than_the_keepalive(
    backlog: int, make_link: MakeLink
) -> None:
    link = make_link(backlog, "in/#", keepalive=1, inbox_cap=10)
    wait_until(lambda: link.queue_depth)
    end = time.monotonic() + 4.0
    while time.monotonic() < end:
        assert link.connected
        assert link.queue_depth <= 10
        assert time.monotonic() - link.heartbeat < 1.0
        time.sleep(0.05)
    assert receive(link, 2500) == numbered(2500)
    assert link.counters.reconnects == 0
    assert link.counters.pauses > 1


def test_a_full_inbox_does_not_keep_the_goodbye_from_the_broker(
    backlog: int, make_link: MakeLink
) -> None:
    link = make_link(backlog, "in/#", inbox_cap=10)
    wait_until(lambda: link.counters.pauses)
    assert link.stop([(STATUS, b"offline", True)])
    assert link.queue_depth == 10
    assert receive(make_link(backlog, "in/#"), 2500) == numbered(2500)


def test_an_error_while_handing_over_costs_one_message_and_is_no_poison_pill(
    mosquitto: Mosquitto,
    outsider: Outsider,
    make_link: MakeLink,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def explode(topic: str, payload: bytes, arrival: int, retained: bool) -> Message:
        if payload == b"bad":
            raise RuntimeError("no room")
        return Message(topic, payload, arrival, retained)

    monkeypatch.setattr(monitor.mqtt, "Message", explode)
    link = make_link(mosquitto.port, "in/#")
    assert link.wait_ready(5)
    outsider.publish("in/a", b"good", b"bad", b"fine")
    assert receive(link, 2) == [b"good", b"fine"]
    assert link.counters.errors == 1
    settle(link)
    cut(link)
    outsider.publish("in/a", b"next")
    assert receive(link, 1) == [b"next"]


def test_an_error_in_any_callback_costs_no_connection(
    mosquitto: Mosquitto, make_link: MakeLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(link: Link, session: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Link, "_note_open", explode)
    link = make_link(mosquitto.port, "in/#")
    wait_until(lambda: link.counters.errors)
    settle(link)
    assert link.connected


# Publishing


def test_published_messages_arrive_and_are_confirmed(
    mosquitto: Mosquitto, outsider: Outsider, make_link: MakeLink
) -> None:
    link = make_link(mosquitto.port)
    assert all(link.publish("out/a", payload) for payload in numbered(300))
    assert link.flush(5)
    assert link.unsent == 0
    outsider.wait_for(lambda heard: len(heard) == 300)
    assert [payload for _, payload, _ in outsider.heard] == numbered(300)


def test_published_messages_survive_a_broker_restart(
    mosquitto: Mosquitto, make_link: MakeLink
) -> None:
    link = make_link(mosquitto.port)
    assert link.wait_ready(5)
    mosquitto.terminate()
    assert all(link.publish("out/a", payload) for payload in numbered(50))
    assert not link.flush(0.05)
    mosquitto.start()
    with Outsider(mosquitto, "out/#") as outsider:
        link.publish("out/a", b"last")
        assert link.flush(10)
        outsider.wait_for(lambda heard: heard[-1:] and heard[-1][1] == b"last")
    assert link.counters.publish_failures == 0


def test_the_waiting_mail_is_bounded_while_the_broker_is_away(make_link: MakeLink) -> None:
    link = make_link(free_port(), outbox_rows=5)
    assert [link.publish("out/a", b"x") for _ in range(6)] == [True] * 5 + [False]
    assert link.counters.publish_refused == 1


def test_a_message_too_large_for_the_broker_is_refused_here_and_the_link_stays(
    make_mosquitto: MakeMosquitto, make_link: MakeLink
) -> None:
    mosquitto = make_mosquitto("max_packet_size 2000")
    link = make_link(mosquitto.port)
    assert link.wait_ready(5)
    link.publish("out/a", b"x" * 3000)
    link.publish("out/a", b"x" * 1000)
    link.publish("out/+", b"a wildcard is no topic")
    assert link.flush(5)
    assert link.counters.publish_failures == 2
    assert link.counters.reconnects == 0
    assert link.ready


def test_a_message_the_broker_does_not_allow_is_counted(
    make_mosquitto: MakeMosquitto, make_link: MakeLink, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rules = tmp_path_factory.mktemp("rules") / "acl"
    rules.write_text("topic readwrite allowed/#\n")
    rules.chmod(0o644)
    mosquitto = make_mosquitto(f"acl_file {rules}")
    link = make_link(mosquitto.port)
    link.publish("forbidden/a", b"x")
    link.publish("allowed/a", b"x")
    assert link.flush(5)
    assert link.counters.publish_failures == 1


# Life of the connection


def test_a_broker_that_is_down_at_the_start_is_waited_for(
    make_mosquitto: MakeMosquitto, make_link: MakeLink
) -> None:
    mosquitto = make_mosquitto()
    mosquitto.kill()
    link = make_link(mosquitto.port, "in/#")
    wait_until(lambda: link.last_error)
    assert "refused" in str(link.last_error)
    assert not link.connected
    mosquitto.start()
    assert link.wait_ready(10)
    assert link.last_error is None
    assert link.counters.reconnects == 0


@pytest.mark.parametrize("host", ["no.such.host.invalid", "x" * 80 + ".invalid", "[::1", "a\0b"])
def test_a_host_that_cannot_be_found_is_an_ordinary_loss(host: str) -> None:
    link = Link(LinkSettings(host, 1883, "edge"))
    link.start()
    wait_until(lambda: link.last_error)
    assert link.failure is None
    link.stop()


def test_a_slow_name_look_up_is_no_stalled_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    found = threading.Event()

    def look_up(*_: object, **__: object) -> list[object]:
        found.wait(10)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    link = Link(LinkSettings("slow.invalid", 1883, "edge"))
    link.start()
    wait_until(lambda: link._session and link._session.connecting_since)
    session = link._session
    assert session is not None
    session.beat -= 50
    assert time.monotonic() - link.heartbeat < 1
    found.set()
    link.stop()


def test_after_kill_9_of_the_broker_everything_goes_on(
    mosquitto: Mosquitto, make_link: MakeLink
) -> None:
    link = make_link(
        mosquitto.port, "in/#", status_topic=STATUS, births=[("out/info", b"{}", True)]
    )
    assert link.wait_ready(5)
    mosquitto.kill()
    wait_until(lambda: not link.connected)
    link.publish("out/a", b"meanwhile")
    mosquitto.start()
    with Outsider(mosquitto, STATUS, "out/#") as outsider:
        outsider.wait_for(lambda heard: len(heard) >= 3)
        assert {(topic, payload) for topic, payload, _ in outsider.heard} == {
            (STATUS, b"online"),
            ("out/info", b"{}"),
            ("out/a", b"meanwhile"),
        }
        assert link.wait_ready(5)
        outsider.publish("in/a", b"again")
        assert receive(link, 1) == [b"again"]
    assert link.counters.reconnects == 1
    assert link.counters.sessions_lost == 1
    assert not link.taken_over


def test_the_birth_follows_the_will_on_every_connect(
    mosquitto: Mosquitto, outsider: Outsider, make_link: MakeLink
) -> None:
    link = make_link(mosquitto.port, "in/#", status_topic=STATUS)
    outsider.wait_for(lambda heard: len(heard) == 1)
    cut(link)
    outsider.wait_for(lambda heard: len(heard) == 3)
    assert [payload for _, payload, _ in outsider.heard] == [b"online", b"offline", b"online"]
    with Outsider(mosquitto, STATUS) as later:
        later.wait_for(lambda heard: heard == [(STATUS, b"online", True)])


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_stop_confirms_what_is_stored_and_says_goodbye_last(
    mosquitto: Mosquitto, outsider: Outsider, make_link: MakeLink, protocol: str
) -> None:
    link = make_link(mosquitto.port, "in/#", status_topic=STATUS, protocol=protocol)
    assert link.wait_ready(5)
    outsider.publish("in/a", *numbered(100))
    receive(link, 100)
    for payload in numbered(100):
        link.publish("out/a", payload)
    began = time.monotonic()
    assert link.stop([("out/info", b"stopped", True), (STATUS, b"offline", True)])
    assert time.monotonic() - began < 3
    assert not link.connected
    assert not link.publish("out/a", b"too late")
    outsider.publish("out/end", b"")
    outsider.wait_for(lambda heard: heard[-1][0] == "out/end")
    assert [payload for _, payload, _ in outsider.heard] == [
        b"online",
        *numbered(100),
        b"stopped",
        b"offline",
        b"",
    ]
    link = make_link(mosquitto.port, "in/#", protocol=protocol)
    assert link.wait_ready(5)
    outsider.publish("in/a", b"none of the old ones")
    assert receive(link, 1) == [b"none of the old ones"]


@pytest.mark.parametrize("stage", ["never started", "down", "mute"])
def test_stop_is_quick_whatever_the_broker_does(stage: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ExitStack() as stack:
        port = server.getsockname()[1] if stage == "mute" else free_port()
        link = Link(LinkSettings("127.0.0.1", port, "edge"), status_topic=STATUS)
        if stage != "never started":
            link.start()
        if stage == "mute":
            stack.enter_context(server.accept()[0])
        elif stage == "down":
            wait_until(lambda: link.last_error)
        began = time.monotonic()
        assert not link.stop([(STATUS, b"offline", True)], timeout=3)
        assert time.monotonic() - began < 2


def send_nothing(session: monitor.mqtt.Session) -> None:
    pass


def test_an_unconfirmed_goodbye_leaves_the_word_to_the_will(
    make_mosquitto: MakeMosquitto,
    make_link: MakeLink,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mosquitto = make_mosquitto()
    with Outsider(mosquitto, STATUS) as outsider:
        link = make_link(mosquitto.port, status_topic=STATUS)
        outsider.wait_for(lambda heard: len(heard) == 1)
        monkeypatch.setattr(monitor.mqtt.Session, "_send_mail", send_nothing)
        assert not link.stop([(STATUS, b"never sent", True)], timeout=0.2)
        outsider.wait_for(lambda heard: len(heard) == 2)
        assert outsider.heard[-1] == (STATUS, b"offline", False)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_second_client_with_our_id_is_found_out(
    mosquitto: Mosquitto, make_link: MakeLink, protocol: str
) -> None:
    first = make_link(mosquitto.port, "in/#", protocol=protocol)
    assert first.wait_ready(5)
    second = make_link(mosquitto.port, "in/#", protocol=protocol)
    wait_until(lambda: first.taken_over or second.taken_over)
    assert first.counters.reconnects + second.counters.reconnects <= 5
    loser, winner = (first, second) if first.taken_over else (second, first)
    assert winner.wait_ready(5)
    assert not winner.taken_over
    assert not loser.connected


def test_quick_restarts_of_the_broker_are_no_takeover(
    mosquitto: Mosquitto, make_link: MakeLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitor.link.LONGEST_DELAY", 0.2)
    link = make_link(mosquitto.port, "in/#")
    for restarts in range(8):
        wait_until(lambda: link.ready)
        assert link.counters.reconnects == restarts
        mosquitto.terminate()
        wait_until(lambda: not link.ready)
        mosquitto.start()
    assert link.wait_ready(5)
    assert not link.taken_over
    assert link.counters.sessions_lost == 0


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_bad_credentials_are_named_and_tried_again(
    make_mosquitto: MakeMosquitto, make_link: MakeLink, protocol: str
) -> None:
    mosquitto = make_mosquitto("allow_anonymous false")
    link = make_link(mosquitto.port, protocol=protocol, username="me", password="secret")
    wait_until(lambda: link.last_error)
    assert "refuses us" in str(link.last_error)
    assert "secret" not in repr(link._settings)
    assert not link.connected
    assert not link.taken_over


def test_messages_dropped_by_the_broker_are_counted(
    make_mosquitto: MakeMosquitto, make_link: MakeLink
) -> None:
    mosquitto = make_mosquitto("sys_interval 1", "max_queued_messages 10")
    link = make_link(mosquitto.port, "in/#", watch_drops=True, client_id="watch")
    assert link.wait_ready(5)
    sleeper = make_link(mosquitto.port, "other/#", client_id="sleeper")
    assert sleeper.wait_ready(5)
    sleeper.stop()
    with Outsider(mosquitto) as outsider:
        # The first count seen is what was dropped before us.
        session = link._session
        assert session is not None
        wait_until(lambda: session._drops_seen is not None)
        outsider.publish("other/a", *numbered(25))
        wait_until(lambda: link.counters.broker_dropped == 15)
    assert link.queue_depth == 0


# TLS


@pytest.fixture
def tls_port(make_mosquitto: MakeMosquitto, certificates: Path) -> int:
    port = free_port()
    make_mosquitto(
        f"listener {port} 127.0.0.1",
        f"certfile {certificates}/cert.pem",
        f"keyfile {certificates}/key.pem",
    )
    return port


def test_tls_carries_messages_that_come_many_in_one_record(
    tls_port: int, certificates: Path, make_link: MakeLink
) -> None:
    tls = TlsSettings(ca_file=certificates / "cert.pem")
    link = make_link(tls_port, "in/#", tls=tls)
    assert link.wait_ready(5)
    sender = make_link(tls_port, client_id="sender", tls=tls)
    for payload in numbered(500):
        sender.publish("in/a", payload * 10)
    assert receive(link, 500) == [payload * 10 for payload in numbered(500)]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_certificate_nobody_vouches_for_is_refused_in_words(
    tls_port: int, make_link: MakeLink
) -> None:
    link = make_link(tls_port, tls=TlsSettings())
    wait_until(lambda: link.last_error)
    assert "certificate verify failed" in str(link.last_error)
    missing = make_link(tls_port, tls=TlsSettings(ca_file=Path("no/such/file")))
    wait_until(lambda: missing.last_error)
    assert not missing.connected


def test_tls_is_read_to_the_end_of_what_is_already_decrypted(
    certificates: Path, make_link: MakeLink
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
    record = CONNACK_V5 + b"".join(b"\x30\x09\x00\x01a\x00" + b"%05d" % n for n in range(1000))
    broker = FakeBroker([record], context, moment=5)
    link = make_link(broker.port, "in/#", tls=TlsSettings(certificates / "cert.pem"))
    assert len(receive(link, 1000)) == 1000
    assert broker.holds_on()  # or its goodbye has woken the link
    link.stop(timeout=0)
    broker.close()


# A broker that misbehaves

CONNACK_V5 = b"\x20\x03\x00\x00\x00"
CONNACK_V3 = b"\x20\x02\x00\x00"
INVALID_TOPIC = b"\x32\x0b\x00\x03a\xff/\x00\x07\x00xyz"
GARBAGE = {
    "not MQTT": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "endless length": CONNACK_V5 + b"\x30\xff\xff\xff\xff\xff",
    "topic longer than packet": CONNACK_V5 + b"\x30\x04\xff\xffab",
    "QoS 3": CONNACK_V5 + b"\x36\x07\x00\x01a\x00\x01\x00x",
    "bad property": CONNACK_V5 + b"\x30\x06\x00\x01a\x01\xfex",
    "suback for nothing": CONNACK_V5 + b"\x90\x04\x12\x34\x00\x80",
    "puback for nothing": CONNACK_V5 + b"\x40\x02\x12\x34",
    "empty suback": CONNACK_V5 + b"\x90\x00",
    "unknown reason": CONNACK_V5 + b"\x90\x04\x00\x01\x00\x77",
    "client's packet": CONNACK_V5 + b"\x10\x00",
    "reserved packet": CONNACK_V5 + b"\xf0\x00",
    "empty connack": b"\x20\x00",
    "3.1.1 connack": CONNACK_V3,
    "pubrel for nothing": CONNACK_V5 + b"\x62\x02\x12\x34",
}


class FakeBroker:
    """Answers each connection's first packet with fixed bytes, listens for a moment, closes."""

    def __init__(
        self, answers: list[bytes], tls: ssl.SSLContext | None = None, moment: float = 0.3
    ) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._tls, self._moment = tls, moment
        self.port: int = self._server.getsockname()[1]
        self.heard: list[bytes] = []
        self._thread = threading.Thread(target=self._serve, args=(answers,), daemon=True)
        self._thread.start()

    def _serve(self, answers: list[bytes]) -> None:
        for answer in answers:
            connection, _ = self._server.accept()
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection:
                connection.settimeout(5)
                connection.recv(4096)
                connection.sendall(answer)
                connection.settimeout(self._moment)
                self.heard.append(b"")
                with contextlib.suppress(OSError):
                    while data := connection.recv(4096):
                        self.heard[-1] += data

    def holds_on(self) -> bool:
        return self._thread.is_alive()

    def close(self) -> None:
        self._thread.join(10)
        self._server.close()


def test_no_packet_ends_the_network_thread(
    make_link: MakeLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitor.link.QUICK_LOSSES", 100)
    monkeypatch.setattr("monitor.link.LONGEST_DELAY", 0.05)
    broker = FakeBroker(list(GARBAGE.values()))
    link = make_link(broker.port, "in/#", session_expiry=0)
    wait_until(lambda: len(broker.heard) == len(GARBAGE), 20)
    broker.close()
    assert link._thread.is_alive()
    assert link.failure is None
    assert time.monotonic() - link.heartbeat < 2


def test_a_topic_that_is_not_utf_8_is_acknowledged_and_counted(make_link: MakeLink) -> None:
    good = b"\x32\x09\x00\x03in/\x00\x08\x00x"
    broker = FakeBroker([CONNACK_V5 + INVALID_TOPIC + good])
    link = make_link(broker.port, "in/#")
    assert receive(link, 1) == [b"x"]
    wait_until(lambda: broker.heard and b"\x40\x02\x00\x07" in broker.heard[0])
    broker.close()
    assert link.counters.errors == 1
    assert link._thread.is_alive()


def test_no_more_messages_are_in_flight_than_the_broker_takes(make_link: MakeLink) -> None:
    broker = FakeBroker([b"\x20\x06\x00\x00\x03\x21\x00\x02"])  # Receive Maximum 2
    link = make_link(broker.port)
    for payload in numbered(5):
        link.publish("out/a", b"number " + payload)
    wait_until(lambda: broker.heard and broker.heard[0].count(b"number ") == 2)
    broker.close()
    assert broker.heard[0].count(b"number ") == 2


def test_a_message_without_its_confirmation_is_sent_again_on_the_next_connection(
    make_link: MakeLink,
) -> None:
    broker = FakeBroker([CONNACK_V5, CONNACK_V5])
    link = make_link(broker.port)
    link.publish("out/a", b"number 1")
    link.publish("out/a", b"number 2")
    broker.close()
    for heard in broker.heard:
        assert 0 < heard.index(b"number 1") < heard.index(b"number 2")
    assert link.unsent == 2


def test_a_broker_without_mqtt_5_is_told_apart(make_link: MakeLink) -> None:
    broker = FakeBroker([b""])
    link = make_link(broker.port)
    wait_until(lambda: link.last_error)
    assert 'protocol = "3.1.1"' in str(link.last_error)
    broker.close()


def test_a_mute_broker_is_given_up_after_the_keepalive(make_link: MakeLink) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ExitStack() as stack:
        link = make_link(server.getsockname()[1], keepalive=1)
        stack.enter_context(server.accept()[0])
        wait_until(lambda: link.last_error, 4)
        stack.enter_context(server.accept()[0])
