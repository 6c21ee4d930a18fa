import time

import pytest

from monitor.clock import Clock


def test_the_clock_follows_the_wall_forward_and_never_goes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wall, uptime = 1_790_000_000, 5_000
    monkeypatch.setattr(time, "time_ns", lambda: wall)
    monkeypatch.setattr(time, "monotonic_ns", lambda: uptime)
    clock = Clock()
    assert clock.now() == wall
    wall, uptime = wall - 3600, uptime + 10
    assert clock.now() == 1_790_000_010
    wall, uptime = 1_800_000_000, uptime + 10
    assert clock.now() == wall
