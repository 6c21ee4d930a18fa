"""The HTTP server, asked over real sockets."""

import http.client
import logging
import os
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from waitress import wasyncore

from monitor.errors import CannotListen
from monitor.web.server import Response, Server

PAGE = Response(200, "text/plain; version=0.0.4", b"up 1\n")


class Desk:
    """A function of a route that a test can steer."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.entered = threading.Event()
        self.leave = threading.Event()
        self.leave.set()

    def __call__(self) -> Response:
        self.entered.set()
        self.leave.wait(30)
        if self.error is not None:
            raise self.error
        return PAGE


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def server(desk: Desk) -> Iterator[Server]:
    server = Server(
        "127.0.0.1:0",
        {
            "/metrics": lambda: PAGE,
            "/desk": desk,
            "/gone": lambda: Response(503, "text/plain", b""),
        },
    )
    yield server
    desk.leave.set()
    server.stop()


def ask(
    server: Server, path: str, method: str = "GET", body: bytes | None = None
) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection(*server.address, timeout=5)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def test_a_listed_path_answers_with_its_type_and_bytes(server: Server) -> None:
    status, headers, body = ask(server, "/metrics?x=1")
    assert (status, body) == (200, b"up 1\n")
    assert headers["Content-Type"] == "text/plain; version=0.0.4"
    assert "Server" not in headers


def test_a_path_decides_its_own_status(server: Server) -> None:
    assert ask(server, "/gone")[0] == 503


@pytest.mark.parametrize(
    "path", ["/", "/metrics/", "/metrics/x", "/../metrics", "/favicon.ico", "/%00", "*", "/" * 9000]
)
def test_an_unlisted_path_is_not_found(server: Server, path: str) -> None:
    assert ask(server, path)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_only_reading_is_allowed(server: Server, method: str) -> None:
    status, headers, _ = ask(server, "/metrics", method)
    assert status == 405
    assert headers["Allow"] == "GET, HEAD"


def test_head_has_the_headers_of_get_and_no_body(server: Server) -> None:
    status, headers, body = ask(server, "/metrics", "HEAD")
    assert (status, headers["Content-Length"], body) == (200, "5", b"")


def test_one_connection_carries_several_requests(server: Server) -> None:
    connection = http.client.HTTPConnection(*server.address, timeout=5)
    for method in ("GET", "HEAD", "GET"):
        connection.request(method, "/metrics")
        assert connection.getresponse().read() == (b"" if method == "HEAD" else b"up 1\n")
    connection.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
    ids=["large body", "large header", "TLS"],
)
def test_what_is_too_large_or_no_http_is_refused_and_the_server_lives(
    server: Server, sent: bytes
) -> None:
    with socket.create_connection(server.address, timeout=5) as client:
        client.sendall(sent)
        assert client.recv(10) in (b"HTTP/1.0 4", b"HTTP/1.1 4")
    assert ask(server, "/metrics")[0] == 200


def test_an_error_in_a_function_is_a_500_counted_and_logged_once(
    server: Server, desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.error = RuntimeError("no such row")
    with caplog.at_level(logging.ERROR, "monitor"):
        answers = [ask(server, "/desk") for _ in range(3)]
    assert [status for status, _, _ in answers] == [500] * 3
    assert b"no such row" not in answers[0][2]
    assert server.failures == 3
    assert [record.getMessage() for record in caplog.records] == ["no answer for /desk"]

    desk.error = None
    assert ask(server, "/desk")[0] == 200
    desk.error = RuntimeError("again")
    with caplog.at_level(logging.ERROR, "monitor"):
        ask(server, "/desk")
    assert len(caplog.records) == 2


def test_many_requests_at_once_are_all_answered(server: Server) -> None:
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(ask(server, "/metrics")[0]))
        for _ in range(40)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert statuses == [200] * 40


def half_open(server: Server, stack: ExitStack, count: int) -> list[socket.socket]:
    clients: list[socket.socket] = []
    for number in range(count):
        client = stack.enter_context(socket.create_connection(server.address, timeout=15))
        if number % 2:
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost:")
        clients.append(client)
    return clients


def test_200_half_open_connections_stop_no_request(server: Server) -> None:
    threads = threading.active_count()
    with ExitStack() as stack:
        half_open(server, stack, 200)
        started = time.monotonic()
        assert ask(server, "/metrics")[0] == 200
        assert time.monotonic() - started < 1
        assert threading.active_count() == threads


@pytest.mark.slow
def test_half_open_connections_are_closed_after_their_time(server: Server) -> None:
    with ExitStack() as stack:
        started = time.monotonic()
        for client in half_open(server, stack, 200):
            assert client.recv(1) == b""
        assert 4 < time.monotonic() - started < 10


def test_descriptors_past_1023_are_served(server: Server) -> None:
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 1500:
        pytest.skip("needs 1500 open files")
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        assert ask(server, "/metrics")[0] == 200
    finally:
        for file in files:
            os.close(file)


def test_a_stumble_of_the_server_itself_is_logged_and_survived(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    turn = wasyncore.loop
    stumbled = threading.Event()

    def stumble_once(*args: Any, **options: Any) -> None:
        if not stumbled.is_set():
            stumbled.set()
            raise OSError("bad file descriptor")
        turn(*args, **options)

    monkeypatch.setattr(wasyncore, "loop", stumble_once)
    assert ask(server, "/metrics")[0] == 200
    assert stumbled.wait(5)
    assert ask(server, "/metrics")[0] == 200
    assert [record.getMessage() for record in caplog.records] == [
        "the HTTP server stumbled and goes on"
    ]


def test_a_used_port_is_one_clear_error_and_leaves_nothing_behind(server: Server) -> None:
    host, port = server.address
    threads = threading.active_count()
    with pytest.raises(CannotListen) as caught:
        Server(f"{host}:{port}", {})
    assert f"{host}:{port}" in str(caught.value)
    assert "in use" in str(caught.value)
    assert caught.value.exit_code == 74
    assert threading.active_count() == threads


@pytest.mark.parametrize("listen", ["192.0.2.7:9787", "nowhere.invalid:9787", "127.0.0.1:x"])
def test_an_address_that_is_not_ours_is_named(listen: str) -> None:
    with pytest.raises(CannotListen, match=listen):
        Server(listen, {})


def test_ipv6_is_served() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    server = Server("[::1]:0", {"/metrics": lambda: PAGE})
    try:
        assert server.address[0] == "::1"
        assert ask(server, "/metrics")[0] == 200
    finally:
        server.stop()


def stopped_within(server: Server, seconds: float) -> bool:
    started = time.monotonic()
    server.stop()
    return time.monotonic() - started < seconds


def test_it_stops_at_once_with_connections_open(server: Server) -> None:
    with ExitStack() as stack:
        clients = half_open(server, stack, 20)
        assert ask(server, "/metrics")[0] == 200
        assert stopped_within(server, 1)
        assert not server.alive
        for client in clients:
            assert client.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(server.address, timeout=1)


def test_it_stops_while_a_function_hangs(server: Server, desk: Desk) -> None:
    desk.leave.clear()
    with socket.create_connection(server.address, timeout=5) as client:
        client.sendall(b"GET /desk HTTP/1.1\r\nHost: x\r\n\r\n")
        assert desk.entered.wait(5)
        assert stopped_within(server, 2.5)
        assert not server.alive
        assert client.recv(1) == b""
    desk.leave.set()


def test_stopping_twice_is_no_error(server: Server) -> None:
    server.stop()
    server.stop()


def test_the_port_is_free_again_after_stop(server: Server) -> None:
    ask(server, "/metrics")
    host, port = server.address
    server.stop()
    again = Server(f"{host}:{port}", {"/metrics": lambda: PAGE})
    try:
        assert ask(again, "/metrics")[0] == 200
    finally:
        again.stop()
