"""The two bounded mailboxes between the network thread and the others, and the bell to wake it."""

import contextlib
import socket
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from monitor.payloads.packed import PACKED
from monitor.reading import Message

# What is handed over at once ends with the message that reaches this many bytes: lists of samples
# make some 40 000 frames of it, and a longer batch would starve the watchdog, restart us, and come
# again. A packed payload counts as what is usually let out of it, if that is more.
BATCH_BYTES = 2**20
PACKED_BYTES = 2**16


@dataclass(slots=True)
class LinkCounters:
    """Events since the link was made; each has one writer, anyone may read.

    Attributes:
        reconnects: connections after the first.
        sessions_lost: reconnects at which the broker had forgotten our session.
        stale_acks: acknowledgements that came after their connection had ended.
        pauses: times the inbox was full and reading stopped.
        publish_refused: messages `publish` did not take, the outbox being full or closed.
        publish_failures: messages the broker refused, or would have.
        broker_dropped: messages the broker says it dropped, for any client, while we watched.
        errors: exceptions caught on the network thread.
    """

    reconnects: int = 0
    sessions_lost: int = 0
    stale_acks: int = 0
    pauses: int = 0
    publish_refused: int = 0
    publish_failures: int = 0
    broker_dropped: int = 0
    errors: int = 0


class Wake:
    """A bell that ends the network thread's select."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._rung = False

    def fileno(self) -> int:
        """The descriptor to select on."""
        return self._reader.fileno()

    def ring(self) -> None:
        """Wake the sleeper, or keep it from falling asleep."""
        if not self._rung:
            self._rung = True
            with contextlib.suppress(OSError):  # closed: nobody sleeps any more
                self._writer.send(b"\0")

    def clear(self) -> None:
        """Silence the bell; whoever calls this looks into every mailbox afterwards."""
        with contextlib.suppress(BlockingIOError):
            self._reader.recv(4096)
        self._rung = False

    def close(self) -> None:
        """Take the bell down."""
        self._reader.close()
        self._writer.close()


class Ticket(NamedTuple):
    """What acknowledging a message takes: a packet id means nothing outside its connection."""

    epoch: int
    mid: int
    qos: int


class Inbox:
    """Messages on their way to the scorer, and its acknowledgements on their way back.

    The network thread puts, announces, asks `hold` and sends `due_acks`; one other thread takes
    and acknowledges.
    """

    def __init__(self, wake: Wake, counters: LinkCounters, *, cap: int, cap_bytes: int) -> None:
        self._wake = wake
        self._counters = counters
        self._cap, self._cap_bytes = cap, cap_bytes
        self._arrived = threading.Condition()
        self._waiting: deque[tuple[Message, Ticket]] = deque()
        self._bytes_in = self._bytes_out = 0  # one writer each
        self._handed: deque[Ticket] = deque()
        self._acks: deque[Ticket] = deque()
        self._held = False

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def fill(self) -> float:
        """1.0 = at the cap of messages or of payload bytes, whichever is nearer."""
        held = self._bytes_in - self._bytes_out
        return max(len(self._waiting) / self._cap, held / self._cap_bytes)

    @property
    def acks_due(self) -> bool:
        """Whether acknowledgements wait to be sent."""
        return bool(self._acks)

    def put(self, message: Message, ticket: Ticket) -> None:
        """Add a message; `announce` tells the other side, once for many."""
        self._bytes_in += len(message.payload)
        self._waiting.append((message, ticket))

    def announce(self) -> None:
        """Wake whoever waits in `take`."""
        if self._waiting:
            with self._arrived:
                self._arrived.notify()

    def hold(self) -> bool:
        """Whether reading should rest: from a full inbox until it is half empty."""
        if not self._held and self.fill >= 1:
            self._held = True
            self._counters.pauses += 1
        # Looked at after `_held` is set, as `take` looks at it after taking: one sees the other.
        if self._held and self.fill <= 0.5:
            self._held = False
        return self._held

    def due_acks(self, epoch: int) -> Iterator[Ticket]:
        """What to acknowledge on the connection ``epoch``; older tickets are counted and dropped.

        The packet id of an old ticket may by now be another message's, which an acknowledgement
        would lose.
        """
        while self._acks:
            ticket = self._acks.popleft()
            if ticket.epoch == epoch:
                yield ticket
            else:
                self._counters.stale_acks += 1

    def take(self, timeout: float, limit: int) -> list[Message]:
        """Up to ``limit`` messages in order of arrival, after at most ``timeout`` seconds.

        They are fewer where they are large, as ``BATCH_BYTES`` says.
        """
        with self._arrived:
            self._arrived.wait_for(lambda: self._waiting, timeout)
        messages: list[Message] = []
        left = BATCH_BYTES
        while self._waiting and len(messages) < limit and left > 0:
            message, ticket = self._waiting.popleft()
            size = len(message.payload)
            self._bytes_out += size
            left -= max(size, PACKED_BYTES) if message.payload.startswith(PACKED) else size
            self._handed.append(ticket)
            messages.append(message)
        if self._held and self.fill <= 0.5:
            self._wake.ring()
        return messages

    def acknowledge(self, count: int) -> None:
        """The oldest ``count`` messages taken and not yet acknowledged are stored."""
        for _ in range(count):
            ticket = self._handed.popleft()
            if ticket.qos:
                self._acks.append(ticket)
        self._wake.ring()


@dataclass(slots=True)
class Outgoing:
    """One message to publish; a birth belongs to its connection and is not kept over a loss."""

    topic: str
    payload: bytes
    retain: bool
    birth: bool = False

    @property
    def size(self) -> int:
        """Bytes of its PUBLISH packet, at most: 10 beside topic and payload."""
        return 10 + len(self.topic.encode()) + len(self.payload)


class Outbox:
    """Messages on their way to the broker, each counted until its PUBACK.

    Any thread posts and flushes; the network thread pops, and settles or puts back.
    """

    def __init__(self, wake: Wake, counters: LinkCounters, *, rows: int, cap_bytes: int) -> None:
        self.leave_by: float | None = None  # monotonic seconds; set once the link is to end
        self.unsettled = 0
        self._wake = wake
        self._counters = counters
        self._cap, self._cap_bytes = rows, cap_bytes
        self._bytes = 0
        self._changed = threading.Condition()
        self._mail: deque[Outgoing] = deque()

    def post(self, item: Outgoing) -> bool:
        """Take a message, or count a refusal when full or closed."""
        with self._changed:
            full = self.unsettled >= self._cap or self._bytes + item.size > self._cap_bytes
            if full or self.leave_by is not None:
                self._counters.publish_refused += 1
                return False
            self._add(item)
        self._wake.ring()
        return True

    def close(self, farewell: Iterable[Outgoing], leave_by: float) -> None:
        """Add the last messages, whatever the bound, and refuse all others."""
        with self._changed:
            if self.leave_by is None:
                for item in farewell:
                    self._add(item)
            self.leave_by = leave_by
        self._wake.ring()

    def flush(self, timeout: float, down_to: int) -> bool:
        """Wait until at most ``down_to`` messages are unsettled."""
        with self._changed:
            return self._changed.wait_for(lambda: self.unsettled <= down_to, timeout)

    def pop(self) -> Outgoing | None:
        """The next message to send."""
        return self._mail.popleft() if self._mail else None

    def put_back(self, items: list[Outgoing]) -> None:
        """Return messages that got no PUBACK to the front, in their order."""
        with self._changed:
            self._mail.extendleft(reversed(items))

    def settle(self, item: Outgoing) -> None:
        """Forget a message: the broker has it, or will never take it."""
        with self._changed:
            self.unsettled -= 1
            self._bytes -= item.size
            self._changed.notify_all()

    def _add(self, item: Outgoing) -> None:
        self.unsettled += 1
        self._bytes += item.size
        self._mail.append(item)
