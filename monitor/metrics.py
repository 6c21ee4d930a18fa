"""Every metric of the daemon, by name; the only file that imports prometheus_client."""

import platform
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version

import numpy as np
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from models.frame import NEVER, SECOND, Floats
from monitor.alert import KINDS
from monitor.board import State
from monitor.mailboxes import LinkCounters
from monitor.reading import REASONS, MessageOutcome
from monitor.stream import Stream

PREFIX = "sensor_monitor_"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Series of one kind per asset and sensor that are shown at most.
MOST_SERIES = 5000
SKIPPED = ("warming", "gap", "held", "idle", "unscorable", "overload")


class Histogram:
    """Durations counted in buckets, many at once; written by one thread."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = np.array(bounds)
        self._counts = np.zeros(len(bounds) + 1, np.int64)
        self._sum = 0.0

    def observe(self, seconds: Floats) -> None:
        """Count some durations."""
        at = np.searchsorted(self._bounds, seconds)
        self._counts += np.bincount(at, minlength=len(self._counts))
        self._sum += float(seconds.sum())

    def buckets(self) -> tuple[list[tuple[str, float]], float]:
        """Cumulative counts by upper bound, and the sum, as Prometheus wants them."""
        bounds = [*(str(bound) for bound in self._bounds.tolist()), "+Inf"]
        return list(zip(bounds, np.cumsum(self._counts).tolist(), strict=True)), self._sum


_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(slots=True)
class Vitals:
    """What the daemon as a whole reports.

    Args:
        link: events on the link.
        connected: whether the broker has accepted us.
        queue_depth: messages that wait to be taken.
        unsent: messages that wait for the broker's confirmation.
        loaded_at: when the configuration was read, seconds since the epoch.
    """

    link: LinkCounters
    connected: bool = False
    queue_depth: int = 0
    unsent: int = 0
    loaded_at: float = 0.0
    scoring: Histogram = field(default_factory=lambda: Histogram(_SECONDS))
    reading_to_verdict: Histogram = field(default_factory=lambda: Histogram(_SECONDS))


class Metrics(Collector):
    """Renders the streams' boards and books; an asset that is gone has no series.

    Args:
        streams: of the daemon.
        vitals: of the daemon, refreshed before each page.
    """

    def __init__(self, streams: Sequence[Stream], vitals: Vitals) -> None:
        self._streams = streams
        self._vitals = vitals
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def page(self) -> bytes:
        """The page in Prometheus' text format."""
        return generate_latest(self._registry)

    def describe(self) -> Iterable[Metric]:
        """Nothing: the series are known once there are assets."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Every metric, from the state as it is now."""
        yield from self._assets()
        yield from self._sensors()
        yield from self._books()
        yield from self._daemon()

    def _assets(self) -> Iterator[Metric]:
        names = ["stream", "asset"]
        score = _gauge("anomaly_score", "Smoothed score of the last frame; 1 is the line.", names)
        state = _gauge(
            "asset_state", "1 for the state the asset is in, 0 for the others.", [*names, "state"]
        )
        info = _gauge("asset_info", "Labels of the asset, from its topic.", names)
        active = _gauge(
            "alert_active",
            "1 for the whole life of an alert.",
            [*names, "kind", "severity"],
        )
        total = _counter(
            "alerts",
            "Alerts opened; those of a whole stream have no asset.",
            [*names, "kind", "severity"],
        )
        for stream in self._streams:
            board = stream.pipeline.board
            for index, asset in enumerate(stream.assets.names[: len(board.state)]):
                if not np.isnan(board.score[index]):
                    score.add_metric([stream.name, asset], float(board.score[index]))
                for one in State:
                    state.add_metric(
                        [stream.name, asset, one.label], float(board.state[index] == one)
                    )
                labels = {_label(key): text for key, text in stream.assets.labels[index]}
                info.add_sample(
                    f"{PREFIX}asset_info", {"stream": stream.name, "asset": asset, **labels}, 1.0
                )
                for kind in KINDS:
                    for severity in ("warning", "critical") if kind == "anomaly" else ("warning",):
                        count = stream.books.alerts[asset, kind, severity]
                        total.add_metric([stream.name, asset, kind, severity], count)
            count = stream.books.alerts["", "no-data", "warning"]
            total.add_metric([stream.name, "", "no-data", "warning"], count)
            for _, one in stream.pipeline.firing():
                active.add_metric([stream.name, one.asset or "", one.kind, one.severity], 1.0)
        yield from (score, state, info, active, total)

    def _sensors(self) -> Iterator[Metric]:
        names = ["stream", "asset", "sensor"]
        share = _gauge("sensor_share_ratio", "The sensor's part in the raw score.", names)
        value = _gauge("sensor_value", "Newest reading, in the sensor's unit.", names)
        expected = _gauge("sensor_expected", "What the model expected of the last frame.", names)
        read = _gauge(
            "last_reading_timestamp_seconds", "Event time of the sensor's newest reading.", names
        )
        room = MOST_SERIES
        for stream in self._streams:
            board, sensors = stream.pipeline.board, stream.sensors.names
            assets = stream.assets.names[: min(len(board.state), room // len(sensors))]
            room -= len(assets) * len(sensors)
            for index, asset in enumerate(assets):
                for column, sensor in enumerate(sensors):
                    labels = [stream.name, asset, sensor]
                    if (at := int(board.read[index, column])) != NEVER:
                        read.add_metric(labels, at / SECOND)
                    for family, table in (
                        (share, board.share),
                        (value, board.value),
                        (expected, board.expected),
                    ):
                        if not np.isnan(table[index, column]):
                            family.add_metric(labels, float(table[index, column]))
        yield from (share, value, expected, read)

    def _books(self) -> Iterator[Metric]:
        received = _counter("messages_received", "Messages taken from the broker.", ["stream"])
        messages = _counter(
            "messages",
            "Messages by what became of them; they sum to those received.",
            ["stream", "outcome"],
        )
        lost = _counter(
            "messages_lost",
            "Messages never received, by the sequence numbers of payloads that have them.",
            ["stream"],
        )
        rejected = _counter(
            "readings_rejected", "Readings that were not accepted.", ["stream", "sensor", "reason"]
        )
        scored = _counter("windows_scored", "Windows scored.", ["stream"])
        skipped = _counter(
            "windows_skipped", "Frames whose window was not scored.", ["stream", "reason"]
        )
        for stream in self._streams:
            books, name = stream.books, stream.name
            received.add_metric([name], books.received)
            for outcome in MessageOutcome:
                messages.add_metric([name, outcome.label], int(books.outcomes[outcome]))
            lost.add_metric([name], books.lost)
            for column, sensor in enumerate(stream.sensors.names):
                for reason in REASONS:
                    rejected.add_metric([name, sensor, reason], books.rejected[column, reason])
            scored.add_metric([name], books.scored)
            for reason in SKIPPED:
                skipped.add_metric([name, reason], books.skipped[reason])
        yield from (received, messages, lost, rejected, scored, skipped)

    def _daemon(self) -> Iterator[Metric]:
        vitals = self._vitals
        for name, text, histogram in (
            ("scoring_seconds", "Time to process a batch of messages.", vitals.scoring),
            (
                "reading_to_verdict_seconds",
                "From a message's arrival to the end of the step that took it.",
                vitals.reading_to_verdict,
            ),
        ):
            buckets, total = histogram.buckets()
            yield HistogramMetricFamily(PREFIX + name, text, buckets=buckets, sum_value=total)
        for name, text, value in (
            ("queue_depth", "Messages received and not yet taken.", vitals.queue_depth),
            ("mqtt_connected", "1 while the broker has accepted us.", float(vitals.connected)),
            ("outbox_entries", "Messages to publish that lack their PUBACK.", vitals.unsent),
            ("config_last_reload_successful", "1: the configuration was read.", 1.0),
            (
                "config_last_reload_success_timestamp_seconds",
                "When the configuration was read.",
                vitals.loaded_at,
            ),
        ):
            yield _gauge(name, text, [], value)
        link = vitals.link
        for name, text, value in (
            ("mqtt_reconnects", "Connections after the first.", link.reconnects),
            ("mqtt_session_lost", "Reconnects at which the session was gone.", link.sessions_lost),
            ("broker_dropped", "Messages the broker says it dropped.", link.broker_dropped),
            ("publish_refused", "Messages not taken, too much being unsent.", link.publish_refused),
            ("publish_failures", "Messages the broker refused.", link.publish_failures),
            ("reading_pauses", "Times reading stopped, the queue being full.", link.pauses),
        ):
            yield _counter(name, text, [], value)
        model = _gauge("model_info", "The bundles in use.", ["stream", "model", "digest"])
        trained = _gauge(
            "model_trained_timestamp_seconds",
            "When the stream's oldest bundle was made.",
            ["stream"],
        )
        for stream in self._streams:
            for detector in stream.detectors.values():
                model.add_metric([stream.name, detector.name, detector.digest], 1.0)
            if stream.detectors:
                oldest = min(detector.created for detector in stream.detectors.values())
                trained.add_metric([stream.name], oldest)
        yield from (model, trained)
        build = _gauge("build_info", "Version of the daemon.", ["version", "python"])
        build.add_metric([version("sensor-monitor"), platform.python_version()], 1.0)
        yield build


def _label(name: str) -> str:
    """A label of a topic as Prometheus may have it: not one of ours, not one of its own."""
    return f"label_{name}" if name == "stream" or name.startswith("__") else name


def _gauge(
    name: str, text: str, labels: Sequence[str], value: float | None = None
) -> GaugeMetricFamily:
    return GaugeMetricFamily(
        PREFIX + name, text, value=value, labels=labels if value is None else None
    )


def _counter(
    name: str, text: str, labels: Sequence[str], value: float | None = None
) -> CounterMetricFamily:
    return CounterMetricFamily(
        PREFIX + name, text, value=value, labels=labels if value is None else None
    )
