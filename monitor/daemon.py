"""The daemon: the network thread hands messages over, one scorer thread owns all the state."""

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import structlog

from models.frame import FOREVER, SECOND
from monitor import sdnotify
from monitor.alert import Alert, cloudevent
from monitor.config import Config, MqttConfig
from monitor.errors import SensorMonitorError, TakenOver
from monitor.link import Link
from monitor.metrics import CONTENT_TYPE, Metrics, Vitals
from monitor.mqtt import MAXIMUM_PACKET_SIZE, LinkSettings, TlsSettings
from monitor.reading import LARGEST_CACHE, LONGEST_CACHED, Message
from monitor.states import StateTopic
from monitor.stream import Stream, filters_of, retained_of
from monitor.web.server import Response, Server

log = structlog.get_logger("sensor_monitor")

WAIT = 0.2  # seconds the scorer waits for messages before it looks for silence
BATCH = 1024  # messages taken at once
STALLED = 10.0  # seconds without progress after which a thread counts as dead
DRAIN = 2.0  # seconds to work off what has been received when told to stop


def link_settings(mqtt: MqttConfig, client_id: str | None = None) -> LinkSettings:
    """The link's settings; with a client id of its own, for a command beside the daemon."""
    return LinkSettings(
        host=mqtt.host,
        port=mqtt.port,
        client_id=client_id or mqtt.client_id,
        protocol=mqtt.protocol,
        keepalive=mqtt.keepalive,
        session_expiry=0 if client_id else mqtt.session_expiry,
        username=mqtt.username,
        password=mqtt.password.get_secret_value() if mqtt.password else None,
        tls=TlsSettings(mqtt.tls.ca_file, mqtt.tls.cert_file, mqtt.tls.key_file)
        if mqtt.tls
        else None,
    )


class Daemon:
    """Everything that runs between `start` and `stop`.

    Args:
        config: as read.
        streams: with their bundles loaded.
        on_alert: called in the scorer thread with every alert told.
        stale: topic filters of earlier runs that the broker may have kept for us.
    """

    def __init__(
        self,
        config: Config,
        streams: Sequence[Stream],
        on_alert: Callable[[Alert], None] | None = None,
        stale: Sequence[str] = (),
    ) -> None:
        self.streams = tuple(streams)
        self._root = f"{config.alerts.prefix}/{config.instance}"
        self._instance = config.instance
        self._on_alert = on_alert
        self.link = Link(
            replace(link_settings(config.mqtt), packet_size=packet_size(self.streams)),
            filters=filters_of(self.streams),
            stale=stale,
            retained=retained_of(self.streams),
            status_topic=f"{self._root}/status",
            births=[(f"{self._root}/info", self._info(None), True)],
            watch_drops=True,
        )
        self._vitals = Vitals(self.link.counters, loaded_at=time.time())
        self._metrics = Metrics(self.streams, self._vitals)
        self._routes: dict[str, tuple[Stream, ...]] = {}
        self._states = {stream: StateTopic(self._root, stream) for stream in self.streams}
        self._reconnects = 0
        self._listening_since: int | None = None
        self._next_look = 0.0
        self._stopping = threading.Event()
        self._beat = time.monotonic()
        self._failure: BaseException | None = None
        self._scorer = threading.Thread(target=self._score, name="scorer", daemon=True)
        # Last, for it listens from now on.
        self.server = Server(config.http.listen, self._pages()) if config.http.listen else None

    def start(self) -> None:
        """Start all threads; a broker that is down is waited for."""
        self._scorer.start()
        self.link.start()

    def run(self, stop: threading.Event) -> None:
        """Supervise until `stop` is set or something has ended for good.

        Raises:
            TakenOver: if another client took our place at the broker.
            SensorMonitorError: if a thread died.
        """
        self.start()
        sdnotify.notify("READY=1")
        interval = min(sdnotify.watchdog_interval() or 1.0, 1.0)
        while not stop.wait(interval) and self._fault() is None:
            if self.alive:
                sdnotify.notify("WATCHDOG=1")
        fault = self._fault()
        sdnotify.notify("STOPPING=1")
        self.stop("asked to stop" if fault is None else str(fault))
        if fault is not None:
            raise fault

    def stop(self, reason: str) -> None:
        """Work off what has been received, say goodbye, end all threads: less than 5 s."""
        self._stopping.set()
        self._scorer.join(DRAIN + 1.0)
        farewell = [
            (f"{self._root}/info", self._info(reason), True),
            (f"{self._root}/status", b"offline", True),
        ]
        if not self.link.stop(farewell, timeout=1.5):
            log.warning("left before the broker had confirmed all", messages=self.link.unsent)
        if self.server:
            self.server.stop()

    @property
    def alive(self) -> bool:
        """Whether both working threads have really moved of late."""
        oldest = time.monotonic() - STALLED
        return self._fault() is None and min(self._beat, self.link.heartbeat) > oldest

    def _fault(self) -> SensorMonitorError | None:
        if self.link.taken_over:
            return TakenOver(
                "another client has connected with our client id; wanted one daemon for each"
            )
        for name, failure in (("scorer", self._failure), ("network", self.link.failure)):
            if failure is not None:
                return SensorMonitorError(f"the {name} thread ended: {failure!r}")
        return None

    # The scorer thread

    def _score(self) -> None:
        try:
            while not self._stopping.is_set():
                self._pass(self.link.receive(WAIT, BATCH))
            deadline = time.monotonic() + DRAIN
            while time.monotonic() < deadline and (rest := self.link.receive(0, BATCH)):
                self._pass(rest)
        except BaseException as error:
            log.exception("the scorer thread ended")
            self._failure = error

    def _pass(self, messages: list[Message]) -> None:
        """One batch: score, tell, and only then confirm."""
        # A batch counts as of its first arrival: after a stall, no tick closes by the clock while
        # readings for it are still waiting.
        began, now = time.perf_counter(), messages[0].arrival if messages else self.link.clock.now()
        look = time.monotonic() >= self._next_look
        if look:
            self._next_look = time.monotonic() + WAIT
        if self.link.counters.reconnects != self._reconnects:
            self._reconnects = self.link.counters.reconnects
            for states in self._states.values():
                states.forget()
        if not self.link.ready:
            self._listening_since = None
        elif self._listening_since is None:
            self._listening_since = now
        for stream in self.streams:
            # What we do not hear while we are not subscribed is not the machine's silence.
            stream.pipeline.listening_since = self._listening_since or FOREVER
        for stream, mine in self._by_stream(messages).items():
            if mine or look:
                alerts = stream.take(mine, now)
                for alert in alerts:
                    self._tell(alert)
                self._publish_states(stream, now, [alert.asset for alert in alerts if alert.asset])
        if messages:
            self.link.acknowledge(len(messages))
            done = self.link.clock.now()
            arrivals = np.array([message.arrival for message in messages])
            self._vitals.reading_to_verdict.observe((done - arrivals) / SECOND)
            self._vitals.scoring.observe(np.array([time.perf_counter() - began]))
        self._beat = time.monotonic()

    def _by_stream(self, messages: list[Message]) -> dict[Stream, list[Message]]:
        mine: dict[Stream, list[Message]] = {stream: [] for stream in self.streams}
        for message in messages:
            streams = self._routes.get(message.topic)
            if streams is None:
                streams = self._route(message.topic)
            for stream in streams:
                mine[stream].append(message)
        return mine

    def _route(self, topic: str) -> tuple[Stream, ...]:
        # What we publish ourselves is nobody's reading, whatever a pattern matches.
        streams = (
            ()
            if topic.startswith(f"{self._root}/")
            else tuple(stream for stream in self.streams if stream.reads(topic))
        )
        if len(topic) <= LONGEST_CACHED:
            if len(self._routes) >= LARGEST_CACHE:
                self._routes.clear()
            self._routes[topic] = streams
        return streams

    def _tell(self, alert: Alert) -> None:
        topic = f"{self._root}/{alert.place}/alerts"
        if not self.link.publish(topic, cloudevent(alert, self._instance)):
            log.error("alert not published: too much waits for the broker", alert=alert.alert_id)
        log.warning(alert.summary, step=alert.step, severity=alert.severity, alert=alert.alert_id)
        if self._on_alert:
            self._on_alert(alert)

    def _publish_states(self, stream: Stream, now: int, told: Sequence[str]) -> None:
        if not self.link.ready:
            return  # they are all told anew to who comes back, and leave the alerts their room
        for topic, payload in self._states[stream].due(now, told):
            if not self.link.publish(topic, payload, retain=True):
                break

    # Pages

    def _pages(self) -> dict[str, Callable[[], Response]]:
        return {
            "/metrics": self._metrics_page,
            "/healthz": lambda: _word(self.alive, "alive", "a thread has stopped moving"),
            "/readyz": lambda: _word(
                self.link.ready and self.alive,
                "ready",
                self.link.last_error or "not subscribed yet",
            ),
        }

    def _metrics_page(self) -> Response:
        self._vitals.connected = self.link.connected
        self._vitals.queue_depth = self.link.queue_depth
        self._vitals.unsent = self.link.unsent
        return Response(200, CONTENT_TYPE, self._metrics.page())

    def _info(self, stopped: str | None) -> bytes:
        return json.dumps(
            {
                "version": version("sensor-monitor"),
                "stopped": stopped,
                "streams": [stream.name for stream in self.streams],
            }
        ).encode()


def packet_size(streams: Sequence[Stream]) -> int:
    """Room for the largest payload that a stream wants, its topic and a header."""
    largest = max(int(stream.config.max_payload) for stream in streams)
    return max(MAXIMUM_PACKET_SIZE, largest + 66 * 1024)


def _word(good: bool, yes: str, no: str) -> Response:
    return Response(
        200 if good else 503, "text/plain; charset=utf-8", f"{yes if good else no}\n".encode()
    )
