"""Fixtures for all tests."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.mosquitto import MOSQUITTO, Mosquitto


@pytest.fixture
def make_mosquitto(tmp_path: Path) -> Iterator[Callable[..., Mosquitto]]:
    """Start mosquitto with further lines of configuration; killed after the test."""
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed; wanted Debian's package mosquitto")
    with ExitStack() as stack:
        yield lambda *lines: stack.enter_context(Mosquitto(tmp_path, *lines))


@pytest.fixture
def mosquitto(make_mosquitto: Callable[..., Mosquitto]) -> Mosquitto:
    """A running mosquitto."""
    return make_mosquitto()
