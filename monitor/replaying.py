"""Recordings through the daemon's own path, without a broker; and onto a broker, as messages."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from models.frame import SECOND, Floats, Ints
from models.recording import Recording, read
from monitor.alert import Alert
from monitor.config import StreamConfig
from monitor.errors import InputError
from monitor.payloads.path import place
from monitor.payloads.stamp import UNITS, TimeUnit
from monitor.reading import AssetTable, Readings, is_name
from monitor.stream import Stream

ROWS = 4096  # rows handed on at once; the result does not depend on it


def read_for(stream: Stream, path: Path, asset: str | None) -> tuple[Recording, tuple[str, ...]]:
    """A recording with the stream's sensors, and its assets' names on topics."""
    recording = read(path, sensors=stream.sensors.names)
    if asset is not None and len(recording.assets) > 1:
        raise InputError(
            f"{path}: holds the assets {', '.join(recording.assets[:5])}; --asset {asset} names one"
        )
    names = (asset,) if asset is not None else recording.assets
    for name in names:
        if not is_name(name):
            raise InputError(
                f"{path}: asset {name!r} cannot stand in a topic; name it with --asset"
            )
    return recording, names


def replay(
    stream: Stream, recording: Recording, names: tuple[str, ...], labels: Mapping[str, str]
) -> Iterator[Alert]:
    """The alerts the daemon would have told, the recording's own times being its clock."""
    assets = AssetTable(len(names))
    wanted = stream.sources[0].labels
    if missing := [name for name in wanted if name not in labels]:
        raise InputError(f"{stream.config.topic} needs a value for {{{missing[0]}}} (--label)")
    for name in names:
        assets.index(name, tuple((label, labels[label]) for label in wanted))
    pipeline = stream.fresh_pipeline(assets)
    sensors = stream.sensors
    outside = (recording.values < sensors.low) | (recording.values > sensors.high)
    values_read = np.where(outside, np.nan, recording.values)
    astray = np.where(outside, recording.values, np.nan)
    rows = np.flatnonzero(~np.isnan(recording.values).all(axis=1))
    for start in range(0, len(rows), ROWS):
        part = rows[start : start + ROWS]
        strays, good = _readings(recording, astray, part), _readings(recording, values_read, part)
        yield from pipeline.step(replace(good, strays=strays), None).alerts
    yield from pipeline.finish().alerts


def _readings(recording: Recording, values: Floats, rows: Ints) -> Readings:
    """Those of some rows that hold any of these values."""
    rows = rows[~np.isnan(values[rows]).all(axis=1)]
    return Readings(recording.asset[rows], recording.time[rows], values[rows], rows)


def messages(
    stream: Stream, recording: Recording, names: tuple[str, ...], labels: Mapping[str, str]
) -> Iterator[tuple[float, str, bytes]]:
    """The recording as (due in seconds, topic, payload), the way the stream would read it.

    Raises:
        InputError: if the stream's topic needs a label that is not given.
    """
    if hard := _unplayable(stream.config):
        raise InputError(f'stream "{stream.name}" cannot be played: {hard}')
    sensors, pattern, config = stream.sensors, stream.sources[0].pattern, stream.config
    raw = (recording.values - sensors.offset) / sensors.scale
    for row in map(int, np.argsort(recording.time, kind="stable")):
        due = int(recording.time[row]) / SECOND
        found = [i for i, value in enumerate(raw[row].tolist()) if not math.isnan(value)]
        if not found:
            continue
        known = {**labels, "_": "_"}
        if pattern.has_asset:
            known["asset"] = names[int(recording.asset[row])]
        document: dict[str, object] = {}
        try:
            if config.asset is not None and config.asset != "{asset}":
                place(document, config.asset, names[int(recording.asset[row])])
            if config.time is not None:
                place(document, config.time, _stamp(recording, row, config.time_unit))
            if not pattern.has_sensor:
                for i in found:
                    place(document, sensors.paths[i], float(raw[row, i]))
                yield due, pattern.build(known), json.dumps(document, ensure_ascii=False).encode()
                continue
            for i in found:
                value = float(raw[row, i])
                if config.value is not None:
                    place(document, config.value, value)
                payload = repr(value) if config.value is None else json.dumps(document)
                yield due, pattern.build({**known, "sensor": sensors.paths[i]}), payload.encode()
        except ValueError as error:
            raise InputError(str(error)) from None


def _unplayable(config: StreamConfig) -> str | None:
    """Why a recording cannot be sent the way the stream would read it, if so."""
    if config.source:
        return "it has several sources"
    if config.payload not in ("json", "number"):
        return f'it has payload = "{config.payload}"; wanted json or number'
    if config.samples is not None or config.sensor is not None:
        return "its payloads are lists of samples; wanted one sample a message"
    if counters := [name for name, sensor in config.sensors.items() if sensor.counter]:
        return f"{counters[0]} is a counter, of which a recording holds the rate"
    if config.asset not in (None, "{asset}") and "{" in str(config.asset):
        return f'it has asset = "{config.asset}", which names cannot be turned back into'
    return None


def _stamp(recording: Recording, row: int, unit: TimeUnit | None) -> str | int | float:
    if unit in (None, "s"):
        return recording.stamps[row]
    whole, part = divmod(int(recording.time[row]), UNITS[unit])
    return whole if not part else whole + part / UNITS[unit]
