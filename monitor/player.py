"""Plays timed messages to the broker, paced so that no subscriber's queue runs over."""

import dataclasses
import time
from collections.abc import Iterable

from monitor.errors import BrokerUnavailable
from monitor.link import Link
from monitor.mqtt import LinkSettings

CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 30.0  # without a single PUBACK: longer than a broker's restart and our back-off
WAITING_ROWS = 256
BURST_SECONDS = 0.05  # how far sending may run ahead of its rate after it was held up


def play(
    settings: LinkSettings,
    messages: Iterable[tuple[float, str, bytes]],
    *,
    speed: float | None = 1.0,
    rate_limit: float = 1000.0,
) -> int:
    """Publish messages at QoS 1 at their times and wait until the broker has them all.

    Args:
        settings: broker and identity, with a client id of its own; the session is always clean.
        messages: (due, topic, payload) in order; ``due`` is in seconds from any origin, the first
            message is sent at once.
        speed: how many times faster than ``due`` says; None = as fast as ``rate_limit`` allows.
        rate_limit: most messages a second, whatever the speed.

    Returns:
        The number of messages published.

    Raises:
        BrokerUnavailable: no connection within 10 s, or lost for longer, or messages refused.
    """
    link = Link(dataclasses.replace(settings, session_expiry=0), outbox_rows=2 * WAITING_ROWS)
    link.start()
    try:
        link.require_ready(CONNECT_SECONDS)
        count = _send(link, messages, speed, rate_limit)
        _drain(link, 0)
        refused = link.counters.publish_failures
        if refused:
            raise BrokerUnavailable(
                f"{settings.host}:{settings.port}: refused {refused} of {count} messages; "
                f"may {settings.username or 'an anonymous client'} write to their topics?"
            )
        return count
    finally:
        link.stop(timeout=1.0)


def _send(
    link: Link,
    messages: Iterable[tuple[float, str, bytes]],
    speed: float | None,
    rate_limit: float,
) -> int:
    count = 0
    begin = slot = time.monotonic()
    origin: float | None = None
    for due, topic, payload in messages:
        origin = due if origin is None else origin
        slot = max(slot, time.monotonic() - BURST_SECONDS)
        start = slot if speed is None else max(slot, begin + (due - origin) / speed)
        _wait_until(start, link)
        slot = start + 1 / rate_limit
        _drain(link, WAITING_ROWS)
        link.publish(topic, payload)
        count += 1
    return count


def _wait_until(start: float, link: Link) -> None:
    while (left := start - time.monotonic()) > 0:
        if link.taken_over or link.failure:
            raise link.unavailable()
        time.sleep(min(left, 1.0))


def _drain(link: Link, down_to: int) -> None:
    if link.unsent > down_to and not link.flush(SILENCE_SECONDS, down_to=down_to):
        raise link.unavailable()
