import threading

import pytest

from monitor.mailboxes import Inbox, LinkCounters, Outbox, Outgoing, Ticket, Wake
from monitor.reading import Message


def message(number: int, size: int = 1) -> Message:
    return Message(f"t/{number}", b"x" * size, number, False)


@pytest.fixture
def wake():
    wake = Wake()
    yield wake
    wake.close()


@pytest.fixture
def counters() -> LinkCounters:
    return LinkCounters()


@pytest.fixture
def inbox(wake: Wake, counters: LinkCounters) -> Inbox:
    return Inbox(wake, counters, cap=10, cap_bytes=1000)


@pytest.fixture
def outbox(wake: Wake, counters: LinkCounters) -> Outbox:
    return Outbox(wake, counters, rows=3, cap_bytes=100)


def test_messages_are_handed_out_once_and_in_order(inbox: Inbox) -> None:
    for number in range(5):
        inbox.put(message(number), Ticket(1, number, 1))
    assert [m.arrival for m in inbox.take(0, limit=3)] == [0, 1, 2]
    assert [m.arrival for m in inbox.take(0, limit=3)] == [3, 4]
    assert inbox.take(0, limit=3) == []


def test_of_large_messages_fewer_are_handed_out_at_once_but_never_none(
    wake: Wake, counters: LinkCounters
) -> None:
    inbox = Inbox(wake, counters, cap=100, cap_bytes=2**26)
    for size in (600_000, 600_000, 2**22, 1):
        inbox.put(message(0, size), Ticket(1, 0, 1))
    assert [len(inbox.take(0, limit=100)) for _ in range(4)] == [2, 1, 1, 0]
    # What is in a packed message is not known yet.
    for _ in range(20):
        inbox.put(Message("t", b"\x1f\x8b", 0, False), Ticket(1, 0, 1))
    assert [len(inbox.take(0, limit=100)) for _ in range(3)] == [16, 4, 0]


def test_a_waiting_taker_is_woken_by_the_announcement(inbox: Inbox) -> None:
    taken: list[Message] = []
    taker = threading.Thread(target=lambda: taken.extend(inbox.take(30, limit=1)))
    taker.start()
    inbox.put(message(1), Ticket(1, 1, 1))
    inbox.announce()
    taker.join(5)
    assert taken == [message(1)]


def test_acks_leave_in_the_order_of_receipt_and_not_for_qos_0(inbox: Inbox) -> None:
    for number, qos in enumerate([1, 0, 1, 1]):
        inbox.put(message(number), Ticket(1, number, qos))
    inbox.take(0, limit=4)
    inbox.acknowledge(3)
    assert [ticket.mid for ticket in inbox.due_acks(1)] == [0, 2]
    inbox.acknowledge(1)
    assert [ticket.mid for ticket in inbox.due_acks(1)] == [3]


def test_an_ack_of_an_older_connection_is_dropped_and_counted(
    inbox: Inbox, counters: LinkCounters
) -> None:
    inbox.put(message(1), Ticket(1, 7, 1))
    inbox.put(message(2), Ticket(2, 7, 1))
    inbox.take(0, limit=2)
    inbox.acknowledge(2)
    assert [ticket.epoch for ticket in inbox.due_acks(2)] == [2]
    assert counters.stale_acks == 1


def test_acknowledging_more_than_was_taken_is_an_error(inbox: Inbox) -> None:
    with pytest.raises(IndexError):
        inbox.acknowledge(1)


@pytest.mark.parametrize(("count", "size"), [(10, 1), (2, 500)], ids=["messages", "bytes"])
def test_a_full_inbox_holds_until_it_is_half_empty(
    inbox: Inbox, counters: LinkCounters, count: int, size: int
) -> None:
    for number in range(count):
        assert not inbox.hold()
        inbox.put(message(number, size), Ticket(1, number, 1))
    assert inbox.hold()
    inbox.take(0, limit=count // 2 - 1)
    assert inbox.hold()
    inbox.take(0, limit=1)
    assert not inbox.hold()
    assert counters.pauses == 1


def test_a_full_outbox_refuses_and_counts(outbox: Outbox, counters: LinkCounters) -> None:
    item = Outgoing("t", b"", False)
    assert [outbox.post(item) for _ in range(4)] == [True, True, True, False]
    assert counters.publish_refused == 1
    assert not outbox.flush(0, down_to=2)
    outbox.settle(item)
    assert outbox.flush(0, down_to=2)
    assert outbox.post(item)


def test_the_outbox_is_bounded_in_bytes_too(outbox: Outbox) -> None:
    assert outbox.post(Outgoing("t", b"x" * 60, False))
    assert not outbox.post(Outgoing("t", b"x" * 60, False))


def test_unconfirmed_messages_return_to_the_front_in_their_order(outbox: Outbox) -> None:
    first, second, third = (Outgoing(name, b"", False) for name in "abc")
    for item in (first, second, third):
        outbox.post(item)
    outbox.put_back([item for item in (outbox.pop(), outbox.pop()) if item])
    assert [outbox.pop(), outbox.pop(), outbox.pop(), outbox.pop()] == [first, second, third, None]


def test_a_closed_outbox_takes_the_farewell_though_full_and_nothing_more(outbox: Outbox) -> None:
    for _ in range(3):
        outbox.post(Outgoing("t", b"", False))
    outbox.close([Outgoing("status", b"offline", True)], leave_by=1.0)
    outbox.close([Outgoing("status", b"offline", True)], leave_by=2.0)
    assert outbox.unsettled == 4
    assert not outbox.post(Outgoing("t", b"", False))
