"""Tells systemd how we are: READY=1, WATCHDOG=1, STOPPING=1 (sd_notify(3))."""

import os
import socket


def notify(state: str) -> bool:
    """Send a state to the service manager.

    Args:
        state: assignments, one a line, such as ``READY=1`` or ``WATCHDOG=1``.

    Returns:
        Whether it was sent: False without a service manager, or where it cannot be reached.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):  # Linux's abstract sockets
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.settimeout(1.0)  # a full queue must not stop the thread that supervises
            client.connect(address)
            client.sendall(state.encode())
    except OSError:
        return False
    return True


def watchdog_interval() -> float | None:
    """Seconds from one ``WATCHDOG=1`` to the next: half of what systemd allows; None: not asked."""
    pid = os.environ.get("WATCHDOG_PID", "")
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if not microseconds.isdecimal() or pid not in ("", str(os.getpid())):
        return None
    return int(microseconds) / 2e6 or None
