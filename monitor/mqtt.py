"""One connection to the broker: the only file that imports paho."""

import functools
import selectors
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Concatenate, Literal, ParamSpec

import paho.mqtt.client as paho
import structlog
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from monitor.clock import Clock
from monitor.mailboxes import Inbox, LinkCounters, Outbox, Outgoing, Ticket, Wake
from monitor.reading import Message

RECEIVE_MAXIMUM = 1000  # unacknowledged messages we ask for; mosquitto < 2.0.13 may send more
MAXIMUM_PACKET_SIZE = 256 * 1024
READS_PER_PASS = 256
IDLE_SECONDS = 1.0  # the loop's longest sleep, hence the grain of keepalive and heartbeat
LOOK_UP_GRACE = 60.0  # looking up a name blocks; for so long that excuses the heartbeat
SESSION_TAKEN_OVER = 0x8E
DROPPED_TOPIC = "$SYS/broker/publish/messages/dropped"

log = structlog.get_logger(__name__)
P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """Files for TLS; the system's authorities are trusted where ``ca_file`` is None."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """Where the broker is and who we are; ``session_expiry`` 0 means a clean session.

    ``packet_size`` is the largest packet that we ask the broker to send us, in bytes.
    """

    host: str
    port: int
    client_id: str
    protocol: Literal["5", "3.1.1"] = "5"
    keepalive: int = 15
    session_expiry: int = 86400
    packet_size: int = MAXIMUM_PACKET_SIZE
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: TlsSettings | None = None


@dataclass(frozen=True, slots=True)
class Duties:
    """What to do on every connect: the topics to subscribe to and the messages to publish.

    ``stale`` are filters of earlier runs, which a session that the broker kept may still have.
    """

    filters: tuple[str, ...]
    retained: frozenset[str]
    status_topic: str | None
    births: tuple[tuple[str, bytes, bool], ...]
    watch_drops: bool
    stale: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Limits:
    """What the broker's CONNACK allows us; paho does not look."""

    in_flight: int
    packet: int
    qos: int
    retain: bool


class _Client(paho.Client):
    def excuse_silence(self) -> None:
        """Restart paho's wait for the broker's answers: while we do not read, none can come."""
        self._last_bytes_received = time.monotonic()
        self._ping_t = 0.0


def _guarded(
    callback: Callable[Concatenate["Session", P], None],
) -> Callable[Concatenate["Session", P], None]:
    """Keep a callback's exception out of paho, where it would end the network thread."""

    @functools.wraps(callback)
    def guarded(self: "Session", /, *args: P.args, **kwargs: P.kwargs) -> None:
        self.progress += 1
        try:
            callback(self, *args, **kwargs)
        except Exception as error:
            self.record(error)

    return guarded


class Session:
    """One connection, from the name look-up to its end; all of it on the network thread.

    Every connection has a paho client of its own, so that nothing of the last one (half a packet,
    an old packet id, a queue) can leak into it. `run` returns when it is over; the attributes then
    say how it went.

    Attributes:
        beat: monotonic seconds of the last pass of the loop.
        connecting_since: monotonic seconds since when a name look-up or connect blocks, or None.
        accepted_at: monotonic seconds of the CONNACK, or None.
        resumed: whether the broker knew our session.
        refused: filters the broker did not grant, with its reasons.
        loss: why the connection ended.
        cut_off: the broker closed it without a word.
        taken_over: the broker says another client has our id.
        left: we said goodbye, and all of our messages had been confirmed.
    """

    def __init__(
        self,
        settings: LinkSettings,
        duties: Duties,
        inbox: Inbox,
        outbox: Outbox,
        wake: Wake,
        counters: LinkCounters,
        *,
        epoch: int,
        clock: Clock,
        opened: Callable[["Session"], None],
    ) -> None:
        self.beat = time.monotonic()
        self.connecting_since: float | None = None
        self.accepted_at: float | None = None
        self.resumed = False
        self.refused: dict[str, str] = {}
        self.loss: str | None = None
        self.cut_off = self.taken_over = self.left = False
        self.progress = 0
        self._settings = settings
        self._duties = duties
        self._inbox = inbox
        self._outbox = outbox
        self._wake = wake
        self._counters = counters
        self._epoch = epoch
        self._clock = clock
        self._opened = opened
        self._grain = min(IDLE_SECONDS, settings.keepalive / 4)
        self._is_open = self._refusal_logged = False
        self._limits = _Limits(1, MAXIMUM_PACKET_SIZE, 1, True)
        self._births: deque[Outgoing] = deque()
        self._in_flight: dict[int, Outgoing] = {}
        self._drops_seen: int | None = None
        self._client = self._make_client()

    @property
    def heartbeat(self) -> float:
        """Monotonic seconds of the last sign of life; a name look-up in progress is excused."""
        since = self.connecting_since
        if since is None:
            return self.beat
        return max(self.beat, min(time.monotonic(), since + LOOK_UP_GRACE))

    def run(self) -> None:
        """Connect, serve the mailboxes until the connection ends, and clean up."""
        client = self._client
        try:
            self._connect()
            with selectors.DefaultSelector() as selector:
                selector.register(self._wake, selectors.EVENT_READ)
                while (sock := client.socket()) is not None:
                    self._pass(sock, selector)
        except (OSError, ValueError) as error:  # ValueError: a host name that cannot be encoded
            self.loss = self.loss or getattr(error, "strerror", None) or str(error) or repr(error)
        except Exception as error:
            self.record(error)
            self.loss = f"internal error: {error!r}"
        finally:
            sock = client.socket()
            if sock is not None:
                sock.close()
            self._outbox.put_back([item for item in self._in_flight.values() if not item.birth])

    def _make_client(self) -> _Client:
        settings = self._settings
        version5 = settings.protocol == "5"
        client = _Client(
            CallbackAPIVersion.VERSION2,
            settings.client_id,
            clean_session=None if version5 else settings.session_expiry == 0,
            protocol=paho.MQTTv5 if version5 else paho.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.max_inflight_messages = 0  # no limit of paho's: `_send_mail` keeps the broker's
        client.on_socket_open = self._on_socket_open
        client.on_socket_register_write = self._on_want_write
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_disconnect = self._on_disconnect
        if settings.username is not None:
            client.username_pw_set(settings.username, settings.password)
        if self._duties.status_topic is not None:
            client.will_set(self._duties.status_topic, b"offline", qos=1, retain=True)
        return client

    def _connect(self) -> None:
        settings = self._settings
        self.connecting_since = time.monotonic()
        try:
            if settings.tls is not None:
                context = _tls_context(settings.tls)  # read anew: certificates are renewed
                self._client.tls_set_context(context)  # pyright: ignore[reportUnknownMemberType]
            if settings.protocol == "3.1.1":
                self._client.connect(settings.host, settings.port, settings.keepalive)
                return
            wishes = Properties(PacketTypes.CONNECT)
            wishes.SessionExpiryInterval = settings.session_expiry
            wishes.ReceiveMaximum = RECEIVE_MAXIMUM
            wishes.MaximumPacketSize = self._settings.packet_size
            self._client.connect(
                settings.host,
                settings.port,
                settings.keepalive,
                clean_start=settings.session_expiry == 0,
                properties=wishes,
            )
        finally:
            self.beat = time.monotonic()
            self.connecting_since = None

    def _pass(self, sock: "paho.SocketLike", selector: selectors.BaseSelector) -> None:
        client = self._client
        self.beat = time.monotonic()
        hold = self.accepted_at is not None and not self._leaving and self._inbox.hold()
        _watch(selector, sock, read=not hold, write=client.want_write())
        buffered = not hold and _buffered(sock)
        patience = 0.0 if buffered else 0.1 if self._leaving else self._grain
        ready = [key.fileobj for key, _ in selector.select(patience)]
        if self._wake in ready:
            self._wake.clear()
        if hold:
            client.excuse_silence()
        elif buffered or sock in ready:
            self._read()
        if self.accepted_at is not None:
            for ticket in self._inbox.due_acks(self._epoch):
                client.ack(ticket.mid, ticket.qos)
            self._send_mail()
        if client.want_write():
            client.loop_write()
        client.loop_misc()
        if self._leaving:
            self._leave()

    def _read(self) -> None:
        """Read packets while they come; left alone, paho reads one per select."""
        for _ in range(READS_PER_PASS):
            seen = self.progress
            if self._client.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS:
                break
            if self.progress == seen or self._inbox.fill >= 1:
                break
        self._inbox.announce()

    def _send_mail(self) -> None:
        """Give paho what the broker is willing to take."""
        while self._is_open and len(self._in_flight) < self._limits.in_flight:
            item = self._births.popleft() if self._births else self._outbox.pop()
            if item is None:
                return
            if item.size > self._limits.packet:
                self._settle(item, f"wanted at most {self._limits.packet} bytes, got {item.size}")
                continue
            retain = item.retain and self._limits.retain
            try:
                sent = self._client.publish(item.topic, item.payload, self._limits.qos, retain)
            except ValueError as error:
                self._settle(item, str(error))
                continue
            if sent.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:  # this packet id is still in flight
                self._outbox.put_back([item])
                return
            self._in_flight[sent.mid] = item

    def _settle(self, item: Outgoing, failure: str | None = None) -> None:
        if failure is not None:
            self._counters.publish_failures += 1
            if not self._refusal_logged:  # once a connection, or a missing right fills the log
                self._refusal_logged = True
                log.warning("message refused by the broker", topic=item.topic, reason=failure)
        if not item.birth:
            self._outbox.settle(item)

    @property
    def _leaving(self) -> bool:
        return self._outbox.leave_by is not None

    def _leave(self) -> None:
        if self._is_open and not self._inbox.acks_due and not self._outbox.unsettled:
            self.left = True
            self._client.disconnect()  # names no new expiry, so the broker keeps our session
            self._client.loop_write()
        elif self.accepted_at is None or time.monotonic() >= (self._outbox.leave_by or 0.0):
            raise ConnectionAbortedError("stopped before everything was confirmed")

    # Callbacks; they only take note.

    @_guarded
    def _on_socket_open(self, _client: paho.Client, _data: object, sock: "paho.SocketLike") -> None:
        if isinstance(sock, socket.socket):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2 * 2**20)

    def _on_want_write(self, *_: object) -> None:
        """Having this callback keeps paho from writing in the middle of other calls."""

    @_guarded
    def _on_connect(
        self,
        client: paho.Client,
        _data: object,
        flags: paho.ConnectFlags,
        reason: ReasonCode,
        grants: Properties | None,
    ) -> None:
        if reason.is_failure:
            self.loss = f"the broker refuses us: {reason}"
            return
        self.resumed = flags.session_present
        in_flight = 100 if self._settings.protocol == "5" else 20  # 20: mosquitto's default
        self._limits = _Limits(
            in_flight=min(in_flight, getattr(grants, "ReceiveMaximum", in_flight)),
            packet=getattr(grants, "MaximumPacketSize", 2**28),
            qos=min(1, getattr(grants, "MaximumQoS", 1)),
            retain=bool(getattr(grants, "RetainAvailable", 1)),
        )
        self.accepted_at = time.monotonic()
        if self.resumed and self._duties.stale:
            client.unsubscribe([*self._duties.stale])
        if self._duties.filters:
            client.subscribe(self._subscriptions())
        else:
            self._open()

    def _subscriptions(self) -> list[tuple[str, int]] | list[tuple[str, SubscribeOptions]]:
        drops = [DROPPED_TOPIC] if self._duties.watch_drops else []
        if self._settings.protocol == "3.1.1":
            return [(name, 1) for name in self._duties.filters] + [(name, 0) for name in drops]
        # Retained messages are state, not samples: never at every connect, and only if wanted.
        once = self._duties.retained
        return [
            (
                name,
                SubscribeOptions(
                    qos=1,
                    noLocal=not name.startswith("$share/"),  # there MQTT forbids it
                    retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB
                    if name in once
                    else SubscribeOptions.RETAIN_DO_NOT_SEND,
                ),
            )
            for name in self._duties.filters
        ] + [(name, SubscribeOptions(qos=0)) for name in drops]

    @_guarded
    def _on_subscribe(
        self, _client: paho.Client, _data: object, _mid: int, reasons: list[ReasonCode], *_: object
    ) -> None:
        granted = zip(self._duties.filters, reasons, strict=False)
        self.refused = {name: str(reason) for name, reason in granted if reason.is_failure}
        self._open()

    def _open(self) -> None:
        self._births.extend(Outgoing(*birth, birth=True) for birth in self._duties.births)
        self._is_open = True
        self._opened(self)

    def _on_message(self, client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        self.progress += 1
        try:
            topic = message.topic  # raises where it is not UTF-8
            if topic == DROPPED_TOPIC:
                self._count_drops(int(message.payload))
            elif not self._leaving:
                payload = bytes(message.payload)
                self._inbox.put(
                    Message(topic, payload, self._clock.now(), message.retain),
                    Ticket(self._epoch, message.mid, message.qos),
                )
        except Exception as error:
            self.record(error)
            client.ack(message.mid, message.qos)  # or the broker would send it for ever

    def _count_drops(self, total: int) -> None:
        if self._drops_seen is not None:
            self._counters.broker_dropped += max(0, total - self._drops_seen)
        self._drops_seen = total

    @_guarded
    def _on_publish(
        self, _client: paho.Client, _data: object, mid: int, reason: ReasonCode, *_: object
    ) -> None:
        item = self._in_flight.pop(mid, None)
        if item is not None:
            self._settle(item, str(reason) if reason.is_failure else None)

    @_guarded
    def _on_disconnect(
        self,
        _client: paho.Client,
        _data: object,
        flags: paho.DisconnectFlags,
        reason: ReasonCode,
        *_: object,
    ) -> None:
        if self.loss is not None:  # paho may call twice
            return
        if flags.is_disconnect_packet_from_server:
            self.taken_over = reason.value == SESSION_TAKEN_OVER
            self.loss = f"the broker disconnected us: {reason}"
            return
        self.cut_off = reason.getName() == "Unspecified error"  # paho's word for a closed socket
        self.loss = "the broker closed the connection" if self.cut_off else f"no answer: {reason}"
        if self.accepted_at is None and self._settings.protocol == "5":
            self.loss += ' before accepting us; if it knows no MQTT 5, set protocol = "3.1.1"'

    def record(self, error: Exception) -> None:
        """Count an error that must not end the thread, and log some of them."""
        self._counters.errors += 1
        if self._counters.errors.bit_count() == 1:  # the 1st, 2nd, 4th, 8th and so on
            log.error("error on the network thread", count=self._counters.errors, exc_info=error)


def _tls_context(tls: TlsSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.cert_file is not None:
        context.load_cert_chain(tls.cert_file, tls.key_file)
    return context


def _buffered(sock: "paho.SocketLike") -> bool:
    """Whether TLS holds bytes that select cannot see."""
    return isinstance(sock, ssl.SSLSocket) and sock.pending() > 0


def _watch(
    selector: selectors.BaseSelector, sock: "paho.SocketLike", *, read: bool, write: bool
) -> None:
    wanted = selectors.EVENT_READ * read | selectors.EVENT_WRITE * write
    known = selector.get_map().get(sock)
    if known is None:
        if wanted:
            selector.register(sock, wanted)
    elif not wanted:
        selector.unregister(sock)
    elif known.events != wanted:
        selector.modify(sock, wanted)
