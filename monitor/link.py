"""The MQTT link: keeps one session with the broker alive, on a network thread of its own."""

import random
import selectors
import threading
import time
from collections.abc import Sequence

import structlog

from monitor.clock import Clock
from monitor.errors import BrokerUnavailable
from monitor.mailboxes import Inbox, LinkCounters, Outbox, Outgoing, Wake
from monitor.mqtt import IDLE_SECONDS, Duties, LinkSettings, Session
from monitor.reading import Message

LONGEST_DELAY = 60.0
HEALTHY_SECONDS = 10.0  # after a connection this long the back-off starts anew
QUICK_LOSS_SECONDS = 2.0
QUICK_LOSSES = 3  # so many without a refusal between them: another client with our id

log = structlog.get_logger(__name__)


class Link:
    """A lasting session with the broker.

    `start` returns at once, and a broker that is down is waited for. `receive` and `acknowledge`
    belong to one thread, `publish`, `flush` and `stop` to any. Nothing read is ever dropped: when
    the inbox is full the link stops reading, and the broker keeps what it has.

    Args:
        settings: the broker, our identity and the session.
        filters: topic filters, subscribed at QoS 1 on every connect; none = publish only.
        status_topic: topic of the retained ``online`` (birth) and ``offline`` (will).
        births: further (topic, payload, retain) to publish after ``online`` on every connect.
        retained: the filters whose retained messages are wanted, once for a new subscription.
        stale: filters to be rid of where the broker has kept our session.
        watch_drops: follow mosquitto's own count of the messages it dropped.
        inbox_cap: messages waiting for `receive` at which reading pauses.
        inbox_bytes: bytes of payload at which it pauses too.
        outbox_rows: messages without a PUBACK at which `publish` refuses.
        outbox_bytes: their bytes at which it refuses too.

    Attributes:
        counters: what happened so far.
        clock: gives the messages their arrival times.
        taken_over: another client has our id; the link has given up.
        last_error: why the link is not ready, or None.
        failure: the exception that ended the thread, or None.
    """

    def __init__(
        self,
        settings: LinkSettings,
        *,
        filters: Sequence[str] = (),
        status_topic: str | None = None,
        births: Sequence[tuple[str, bytes, bool]] = (),
        retained: Sequence[str] = (),
        stale: Sequence[str] = (),
        watch_drops: bool = False,
        inbox_cap: int = 8192,
        inbox_bytes: int = 64 * 2**20,
        outbox_rows: int = 8192,
        outbox_bytes: int = 16 * 2**20,
    ) -> None:
        self.counters = LinkCounters()
        self.clock = Clock()
        self.taken_over = False
        self.last_error: str | None = None
        self.failure: BaseException | None = None
        self._settings = settings
        online = [(status_topic, b"online", True)] if status_topic else []
        self._duties = Duties(
            tuple(filters),
            frozenset(retained),
            status_topic,
            (*online, *births),
            watch_drops,
            tuple(stale),
        )
        self._wake = Wake()
        self._inbox = Inbox(self._wake, self.counters, cap=inbox_cap, cap_bytes=inbox_bytes)
        self._outbox = Outbox(self._wake, self.counters, rows=outbox_rows, cap_bytes=outbox_bytes)
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self._session: Session | None = None
        self._epoch = 0
        self._opened_before = self._left = False
        self._ready = threading.Event()
        self._beat = time.monotonic()
        self._logged: set[str] = set()

    @property
    def connected(self) -> bool:
        """The broker has accepted us."""
        session = self._session
        return session is not None and session.accepted_at is not None

    @property
    def ready(self) -> bool:
        """Connected, and every subscription granted."""
        return self._ready.is_set()

    @property
    def heartbeat(self) -> float:
        """Monotonic seconds of the network thread's last pass."""
        session = self._session
        return self._beat if session is None else session.heartbeat

    @property
    def queue_depth(self) -> int:
        """Messages waiting for `receive`."""
        return len(self._inbox)

    @property
    def unsent(self) -> int:
        """Published messages that wait for their PUBACK."""
        return self._outbox.unsettled

    def start(self) -> None:
        """Start the network thread."""
        self._thread.start()

    def wait_ready(self, timeout: float) -> bool:
        """Wait until the link is `ready`; False when the time is up."""
        return self._ready.wait(timeout)

    def require_ready(self, timeout: float, wanted: str = "") -> None:
        """Wait until the link is `ready`.

        Args:
            timeout: seconds.
            wanted: what kind of broker, said after those words.

        Raises:
            BrokerUnavailable: when the time is up.
        """
        if not self.wait_ready(timeout):
            raise self.unavailable(wanted)

    def unavailable(self, wanted: str = "") -> BrokerUnavailable:
        """The error that says why there is no broker."""
        reason = self.last_error or "no answer"
        at = f"{self._settings.host}:{self._settings.port}"
        return BrokerUnavailable(f"{at}: {reason}; wanted an MQTT broker{wanted}")

    def receive(self, timeout: float, limit: int = 1024) -> list[Message]:
        """Take what has arrived, in the order of its arrival.

        Args:
            timeout: seconds to wait while there is nothing.
            limit: most messages to take at once.
        """
        return self._inbox.take(timeout, limit)

    def acknowledge(self, count: int) -> None:
        """Say that the oldest ``count`` messages received and not yet acknowledged are stored."""
        self._inbox.acknowledge(count)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """Take a message for publication at QoS 1; it is kept over reconnects until its PUBACK.

        Returns:
            False, counted, when too much is waiting or the link has been stopped.
        """
        return self._outbox.post(Outgoing(topic, payload, retain))

    def flush(self, timeout: float, *, down_to: int = 0) -> bool:
        """Wait until at most ``down_to`` published messages lack their PUBACK."""
        return self._outbox.flush(timeout, down_to)

    def stop(self, farewell: Sequence[tuple[str, bytes, bool]] = (), timeout: float = 3.0) -> bool:
        """Leave the broker and end the thread; messages not acknowledged stay with the broker.

        Args:
            farewell: (topic, payload, retain) to publish last, in this order.
            timeout: seconds for what is still to be acknowledged and published.

        Returns:
            True when all of it was confirmed before we said goodbye. Otherwise the connection was
            cut, so that the broker publishes the will.
        """
        last = [Outgoing(*message) for message in farewell]
        self._outbox.close(last, time.monotonic() + timeout)
        if self._thread.ident is not None:
            self._thread.join(timeout + 1.0)
        if not self._thread.is_alive():
            self._wake.close()
        return self._left

    # The network thread

    def _run(self) -> None:
        try:
            self._keep_connected()
        except BaseException as error:
            self.failure = error
            log.critical("the network thread has ended", exc_info=True)

    def _keep_connected(self) -> None:
        attempt = quick_losses = 0
        while self._outbox.leave_by is None:
            session = self._run_session()
            if self._outbox.leave_by is not None:
                return
            self._note_loss(session.loss or "the connection ended")
            accepted = session.accepted_at
            lasted = None if accepted is None else time.monotonic() - accepted
            quick = lasted is not None and lasted < QUICK_LOSS_SECONDS and session.cut_off
            quick_losses = quick_losses + 1 if quick else 0
            if session.taken_over or quick_losses >= QUICK_LOSSES:
                self._give_up()
                return
            if lasted is not None and lasted >= HEALTHY_SECONDS:
                attempt = 0
            if quick:
                continue  # at once: a broker on its way down refuses, beside a twin it accepts
            self._rest(random.uniform(0, min(LONGEST_DELAY, 2.0**attempt)))
            attempt = min(attempt + 1, 16)

    def _run_session(self) -> Session:
        self._epoch += 1
        session = Session(
            self._settings,
            self._duties,
            self._inbox,
            self._outbox,
            self._wake,
            self.counters,
            epoch=self._epoch,
            clock=self.clock,
            opened=self._note_open,
        )
        self._session = session
        try:
            session.run()
        finally:
            self._ready.clear()
            self._beat = time.monotonic()
            self._left = session.left
            self._session = None
        return session

    def _rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake, selectors.EVENT_READ)
            while self._outbox.leave_by is None and (left := end - time.monotonic()) > 0:
                self._beat = time.monotonic()
                if selector.select(min(left, IDLE_SECONDS)):
                    self._wake.clear()

    def _note_open(self, session: Session) -> None:
        if self._opened_before:
            self.counters.reconnects += 1
            if self._settings.session_expiry and not session.resumed:
                self.counters.sessions_lost += 1
                log.warning("the broker has lost our session, and what it held for us")
        self._opened_before = True
        if session.refused:
            self._note_loss(f"subscriptions refused: {session.refused}")
            return
        self.last_error = None
        self._logged.clear()
        self._ready.set()
        log.info("connected to the broker", broker=self._broker)

    def _note_loss(self, reason: str) -> None:
        """Say a new reason once, not at every attempt."""
        self.last_error = reason
        if reason not in self._logged:
            self._logged.add(reason)
            log.warning(
                "not ready at the broker, will keep trying", broker=self._broker, why=reason
            )

    def _give_up(self) -> None:
        self.taken_over = True
        log.error(
            "another client uses our client_id; wanted one of its own",
            client_id=self._settings.client_id,
        )

    @property
    def _broker(self) -> str:
        return f"{self._settings.host}:{self._settings.port}"
