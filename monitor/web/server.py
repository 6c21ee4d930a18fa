"""The HTTP server: a few listed paths, GET and HEAD only, bounded connections and times."""

import logging
import resource
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from waitress import wasyncore
from waitress.server import create_server
from waitress.task import ThreadedTaskDispatcher

from monitor.errors import CannotListen

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

_log = logging.getLogger(__name__)

THREADS = 4
CONNECTION_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class Response:
    """What a path answers."""

    status: int
    content_type: str
    body: bytes


class Server:
    """Serves from its own threads from the moment it exists until `stop`.

    Args:
        listen: ``host:port`` or ``[address]:port``; port 0 takes a free one, see `address`.
        routes: a function for each path; it is called from several threads at once.

    Raises:
        CannotListen: if the address is in use, not ours or not allowed.
    """

    def __init__(self, listen: str, routes: Mapping[str, Callable[[], Response]]) -> None:
        self.failures = 0
        """Requests whose function raised an error, each answered with 500."""
        self._routes = dict(routes)
        self._failing: set[str] = set()
        self._lock = threading.Lock()
        bound = _bind(listen)
        self.address: tuple[str, int] = bound.getsockname()[:2]
        """The host and port bound."""

        # waitress would log a line for each request that waits a moment for a thread
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        self._sockets: dict[int, Any] = {}
        self._workers = ThreadedTaskDispatcher()
        self._workers.set_thread_count(THREADS)
        options: dict[str, Any] = {
            "sockets": [bound],
            "threads": THREADS,
            "connection_limit": _connection_limit(),
            "channel_timeout": 5,
            "cleanup_interval": 1,
            "max_request_header_size": 16 * 1024,
            "max_request_body_size": 1024,
            "log_socket_errors": False,  # a client that leaves early is no event
            "ident": "",
        }
        self._waitress = create_server(
            self._answer, map=self._sockets, _dispatcher=self._workers, **options
        )
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether requests are being answered."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Close the address and every connection; a function still running is left behind."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        # Closed by its own thread: the sockets are not ours to touch from here.
        self._waitress.pull_trigger()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
        self._thread.join(timeout=3)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                # poll, not select: descriptors over 1023 are legal here
                wasyncore.loop(timeout=1, use_poll=True, map=self._sockets, count=1)
            except Exception:
                _log.exception("the HTTP server stumbled and goes on")
                self._stopping.wait(1)
        self._workers.shutdown(timeout=1)
        wasyncore.close_all(self._sockets, ignore_all=True)

    def _answer(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        response = self._respond(environ["PATH_INFO"], method)
        status = HTTPStatus(response.status)
        headers = [
            ("Content-Type", response.content_type),
            ("Content-Length", str(len(response.body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
        ]
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            headers.append(("Allow", "GET, HEAD"))
        start_response(f"{status.value} {status.phrase}", headers)
        return [] if method == "HEAD" else [response.body]

    def _respond(self, path: str, method: str) -> Response:
        function = self._routes.get(path)
        if function is None:
            return _plain(HTTPStatus.NOT_FOUND)
        if method not in ("GET", "HEAD"):
            return _plain(HTTPStatus.METHOD_NOT_ALLOWED)
        try:
            response = function()
        except Exception:
            with self._lock:
                self.failures += 1
                first = path not in self._failing
                self._failing.add(path)
            if first:  # a scraper asks again and again: one traceback until the path works again
                _log.exception("no answer for %s", path)
            return _plain(HTTPStatus.INTERNAL_SERVER_ERROR)
        self._failing.discard(path)
        return response


def _plain(status: HTTPStatus) -> Response:
    return Response(status.value, "text/plain; charset=utf-8", f"{status.phrase}\n".encode())


def _bind(listen: str) -> socket.socket:
    host, _, port = listen.rpartition(":")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM
        )[0]
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
            # Here, so that a port taken between the two calls is still one clear error.
            bound.listen()
        except OSError:
            bound.close()
            raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CannotListen(
            f"http . listen = {listen!r}: {reason}; wanted a free address of this machine, "
            'such as "127.0.0.1:9787", or "" for no HTTP'
        ) from error
    return bound


def _connection_limit() -> int:
    # Past the limit of descriptors accept() fails at once, again and again, and the files of the
    # rest of the process with it.
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(CONNECTION_LIMIT, descriptors // 2) if descriptors > 0 else CONNECTION_LIMIT
