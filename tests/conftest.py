"""Fixtures for all tests."""

import shutil
import subprocess
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


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a self-signed certificate of 127.0.0.1: cert.pem, key.pem."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed; wanted it to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    options = "-x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=127.0.0.1"
    files = "-addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out cert.pem"
    subprocess.run(
        ["openssl", "req", *options.split(), *files.split()],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return folder
