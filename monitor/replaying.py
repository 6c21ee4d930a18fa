"""Recordings through the daemon's own path, without a broker; and onto a broker, as messages."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from models.frame import SECOND
from models.recording import Recording, read
from monitor.alert import Alert
from monitor.errors import InputError
from monitor.payloads.path import place
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
    wanted = [name for name in stream.pattern.names if name not in (None, "_", "asset", "sensor")]
    if missing := [name for name in wanted if name not in labels]:
        raise InputError(f"{stream.config.topic} needs a value for {{{missing[0]}}} (--label)")
    for name in names:
        assets.index(name, tuple((label, labels[label]) for label in wanted if label))
    pipeline = stream.fresh_pipeline(assets)
    sensors = stream.sensors
    outside = (recording.values < sensors.low) | (recording.values > sensors.high)
    values_read = np.where(outside, np.nan, recording.values)
    rows = np.flatnonzero(~np.isnan(values_read).all(axis=1))
    for start in range(0, len(rows), ROWS):
        part = rows[start : start + ROWS]
        readings = Readings(recording.asset[part], recording.time[part], values_read[part], part)
        yield from pipeline.step(readings, None).alerts
    yield from pipeline.finish().alerts


def messages(
    stream: Stream, recording: Recording, names: tuple[str, ...], labels: Mapping[str, str]
) -> Iterator[tuple[float, str, bytes]]:
    """The recording as (due in seconds, topic, payload), the way the stream would read it.

    Raises:
        InputError: if the stream's topic needs a label that is not given.
    """
    sensors, pattern = stream.sensors, stream.pattern
    raw = (recording.values - sensors.offset) / sensors.scale
    for row in map(int, np.argsort(recording.time, kind="stable")):
        due = int(recording.time[row]) / SECOND
        found = [i for i, value in enumerate(raw[row].tolist()) if not math.isnan(value)]
        if not found:
            continue
        known = {**labels, "_": "_", "asset": names[int(recording.asset[row])]}
        try:
            if pattern.has_sensor:
                for i in found:
                    topic = pattern.build({**known, "sensor": sensors.paths[i]})
                    yield due, topic, repr(float(raw[row, i])).encode()
                continue
            document: dict[str, object] = {}
            if stream.config.time is not None:
                place(document, stream.config.time, recording.stamps[row])
            for i in found:
                place(document, sensors.paths[i], float(raw[row, i]))
            yield due, pattern.build(known), json.dumps(document, ensure_ascii=False).encode()
        except ValueError as error:
            raise InputError(str(error)) from None
