"""A configured stream: its reader, its pipeline, and the books that account for every message."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from models import bundle
from models.detector import Detector
from models.frame import SECOND, Ints
from monitor import sources
from monitor.alert import Alert, AlertRules
from monitor.channels import Channels
from monitor.config import AlertsConfig, Config, StreamConfig
from monitor.errors import ConfigError, PartMissing
from monitor.pipeline import Outcome, Pipeline
from monitor.reading import AssetTable, Message, MessageOutcome, Reader, Readings
from monitor.topics import covers, distinct

# Ticks that a stream may keep open for stragglers: each costs every asset a frame's memory.
MOST_OPEN_TICKS = 10_000

# What readings are handed to, with the time it is.
Step = Callable[[Readings, int], Outcome]


@dataclass(slots=True)
class Books:
    """Counts of a stream since the start; written by one thread, read by any.

    Args:
        received: messages.
        outcomes: messages by MessageOutcome.
        lost: messages never received, as sequence numbers in payloads show.
        rejected: readings by (sensor index, reason).
        scored: windows.
        skipped: windows by reason.
        alerts: alerts opened, by (asset, kind, severity); the whole stream's under "".
    """

    received: int = 0
    outcomes: Ints = field(default_factory=lambda: np.zeros(len(MessageOutcome), np.int64))
    lost: int = 0
    rejected: Counter[tuple[int, str]] = field(default_factory=Counter[tuple[int, str]])
    scored: int = 0
    skipped: Counter[str] = field(default_factory=Counter[str])
    alerts: Counter[tuple[str, str, str]] = field(default_factory=Counter[tuple[str, str, str]])


class Stream:
    """One stream as configured, with the detectors of its bundles.

    Attributes:
        detectors: by asset, or under None the one for all; empty = read, not scored.
        keys: that its payloads have and nobody reads.
    """

    def __init__(
        self, config: StreamConfig, alerts: AlertsConfig, detectors: dict[str | None, Detector]
    ) -> None:
        self.config = config
        self.name = config.name
        self.detectors = detectors
        self.sources = sources.compiled(config, _sensor_names(config, detectors))
        self.sensors = sources.merged(self.sources)
        self.books = Books()
        self.assets = AssetTable(config.max_assets)
        self._rules = AlertRules(
            critical=alerts.severity.critical,
            hold=round(alerts.hold * SECOND),
            renotify=round(alerts.renotify * SECOND),
            expire=round(alerts.expire * SECOND),
            alert_uncalibrated=alerts.alert_uncalibrated,
        )
        self.keys = sources.unread(self.sources)
        self.reader = Reader(
            self.sources,
            self.assets,
            self.keys,
            largest=int(config.max_payload),
            accept_retained=config.accept_retained,
        )
        _check_lateness(config, detectors)
        self.pipeline = self.fresh_pipeline(self.assets)

    @property
    def filters(self) -> tuple[str, ...]:
        """The topic filters to subscribe to."""
        return tuple(distinct(source.pattern.filter for source in self.sources))

    def reads(self, topic: str) -> bool:
        """Whether a message on a topic is one of the stream's."""
        return any(source.pattern.match(topic) for source in self.sources)

    def fresh_pipeline(self, assets: AssetTable) -> Pipeline:
        """A pipeline that has seen nothing yet."""
        lateness = self.config.lateness
        return Pipeline(
            self.name,
            self._channels,
            assets,
            self.detectors,
            None if lateness is None else round(lateness * SECOND),
            self._rules,
            self.keys,
        )

    @property
    def _channels(self) -> Channels:
        sensors, given = self.sensors, _units(self.config)
        units = tuple(given.get(name, "") for name in sensors.names)
        for detector in self.detectors.values():
            both = zip(units, detector.units, strict=True)
            units = tuple(unit or known or "" for unit, known in both)
        return Channels(sensors.names, units, sensors.low, sensors.high)

    def take(self, messages: Sequence[Message], now: int) -> list[Alert]:
        """Read messages, advance the pipeline and enter all of it in the books."""
        return self.account(messages, now, self.pipeline.step)

    def account(self, messages: Sequence[Message], now: int, step: Step) -> list[Alert]:
        """Read messages, hand their readings on, and enter what became of all in the books."""
        readings, outcome = self.reader.read(messages, self._reject)
        result = step(readings, now)
        _settle(outcome, readings, result)
        self._enter(len(messages), outcome, result)
        return result.alerts

    def _reject(self, sensor: int, reason: str, count: int) -> None:
        self.books.rejected[sensor, reason] += count

    def _enter(self, received: int, outcome: np.ndarray, result: Outcome) -> None:
        books = self.books
        books.received += received
        books.lost = self.reader.lost
        books.outcomes += np.bincount(outcome, minlength=len(MessageOutcome))
        for reason, counts in (("late", result.late), ("duplicate", result.duplicate)):
            for sensor in np.flatnonzero(counts).tolist():
                books.rejected[sensor, reason] += int(counts[sensor])
        books.scored += result.scored
        books.skipped.update(result.skipped)
        for alert in result.alerts:
            if alert.step == "opened":
                books.alerts[alert.asset or "", alert.kind, alert.severity] += 1


def _settle(outcome: np.ndarray, readings: Readings, result: Outcome) -> None:
    """A message is what the best of its rows became."""
    if len(readings.message):
        best = np.full(len(outcome), len(MessageOutcome), np.uint8)
        np.minimum.at(best, readings.message, result.rows)
        outcome[readings.message] = best[readings.message]


def filters_of(streams: Sequence[Stream]) -> list[str]:
    """The topic filters of some streams; of two that match a topic, a broker may send both."""
    return distinct(name for stream in streams for name in stream.filters)


def retained_of(streams: Sequence[Stream]) -> list[str]:
    """Of the filters of some streams those that bring what one takes retained messages of."""
    taken = [name for stream in streams if stream.config.accept_retained for name in stream.filters]
    return [one for one in filters_of(streams) if any(covers(one, name) for name in taken)]


def open_streams(config: Config) -> list[Stream]:
    """Load every bundle the configuration names, each folder once.

    Raises:
        ConfigError: if a stream does not map its bundle's sensors.
        models.bundle.BundleError: if a bundle cannot be trusted.
        FileNotFoundError: if there is none.
        PartMissing: if one is to run in torch, which is not installed.
    """
    loaded: dict[tuple[Path, str], Detector] = {}
    return [Stream(stream, config.alerts, _detectors(stream, loaded)) for stream in config.stream]


def _detectors(
    config: StreamConfig, loaded: dict[tuple[Path, str], Detector]
) -> dict[str | None, Detector]:
    if config.model is None:
        return {}
    folders: dict[str | None, Path] = {None: config.model}
    if "{asset}" in str(config.model):
        folders = dict(_per_asset(config.model))
        if not folders:
            raise FileNotFoundError(f'stream "{config.name}": no bundle matches {config.model}')
    found: dict[str | None, Detector] = {}
    for asset, folder in folders.items():
        key = folder, config.runtime
        if key not in loaded:
            try:
                loaded[key] = bundle.load(folder, config.runtime)
            except ModuleNotFoundError as error:
                raise PartMissing(
                    f'stream "{config.name}" . runtime: is "torch" and {error.name} is not '
                    'installed; wanted pip install "sensor-monitor[train]", or runtime = "onnx"'
                ) from None
        found[asset] = _with_units(config, loaded[key])
    return found


def _per_asset(model: Path) -> list[tuple[str, Path]]:
    """The folders that a path with {asset} in one of its parts stands for."""
    at = next(i for i, part in enumerate(model.parts) if "{asset}" in part)
    parent, part, rest = Path(*model.parts[:at]), model.parts[at], model.parts[at + 1 :]
    before, _, after = part.partition("{asset}")
    entries = sorted(parent.iterdir()) if parent.is_dir() else []
    return [
        (entry.name[len(before) : len(entry.name) - len(after)], entry.joinpath(*rest))
        for entry in entries
        if entry.name.startswith(before)
        and entry.name.endswith(after)
        and len(entry.name) > len(before) + len(after)
        and not entry.name.startswith(".")
        and not entry.name.endswith(".previous")
        and (entry.joinpath(*rest) / bundle.MANIFEST).exists()
    ]


def _units(config: StreamConfig) -> dict[str, str]:
    return {
        name: sensor.unit
        for source in reversed(config.sources)
        for name, sensor in source.sensors.items()
        if sensor.unit
    }


def _with_units(config: StreamConfig, detector: Detector) -> Detector:
    given = _units(config)
    units = tuple(
        given.get(name, unit) for name, unit in zip(detector.sensors, detector.units, strict=True)
    )
    return replace(detector, units=units)


def _check_lateness(config: StreamConfig, detectors: dict[str | None, Detector]) -> None:
    for detector in detectors.values():
        most = MOST_OPEN_TICKS * detector.grid.period / SECOND
        if config.lateness is not None and config.lateness > most:
            raise ConfigError(
                f'stream "{config.name}" . lateness: is {config.lateness:g} s; wanted at most '
                f"{most:g} s, {MOST_OPEN_TICKS} periods of its bundle"
            )


def _sensor_names(config: StreamConfig, detectors: dict[str | None, Detector]) -> tuple[str, ...]:
    place = f'stream "{config.name}"'
    mapped = list(dict.fromkeys(name for source in config.sources for name in source.sensors))
    if not detectors:
        if not mapped:
            raise ConfigError(
                f"{place}: has neither a model nor [stream.sensors]; wanted one of them, to know "
                "what to read"
            )
        return tuple(mapped)
    first = next(iter(detectors.values()))
    for asset, detector in detectors.items():
        if detector.sensors != first.sensors:
            raise ConfigError(
                f"{place}: the bundle of {asset} has the sensors {', '.join(detector.sensors)}; "
                f"wanted those of the others, {', '.join(first.sensors)}"
            )
    missing = [name for name in first.sensors if name not in mapped]
    if missing and all(source.sensors for source in config.sources):
        raise ConfigError(
            f"{place} . sensors: does not map {', '.join(missing)}, which its bundle was trained "
            f"on; found {', '.join(mapped)}"
        )
    return first.sensors
