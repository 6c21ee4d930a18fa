"""Sources of a stream, as configured → compiled: topics, payload formats and sensors."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from monitor.config import SensorConfig, StreamConfig
from monitor.config_stream import SourceConfig
from monitor.errors import ConfigError, PartMissing
from monitor.keys import Keys
from monitor.payloads import DOCUMENTS, FORMATS, TIMED, Decoder, Field, Layout
from monitor.payloads.path import Place, keys_of
from monitor.payloads.stamp import clock
from monitor.reading import SensorMap, Source


def compiled(config: StreamConfig, names: tuple[str, ...]) -> tuple[Source, ...]:
    """The sources of a stream with some sensors.

    Raises:
        ConfigError: if something in it is no path.
        PartMissing: if the library of a format is not installed.
    """
    labels = config.pattern.labels
    return tuple(_source(config.name, source, names, labels) for source in config.sources)


def merged(sources: Sequence[Source]) -> SensorMap:
    """Every sensor as the first source that has it has it."""
    maps = [source.sensors for source in sources]
    first = [next((m for m in maps if m.paths[i]), maps[0]) for i in range(len(maps[0].names))]
    of = range(len(first))
    return SensorMap(
        maps[0].names,
        tuple(first[i].paths[i] for i in of),
        np.array([first[i].scale[i] for i in of]),
        np.array([first[i].offset[i] for i in of]),
        np.array([first[i].low[i] for i in of]),
        np.array([first[i].high[i] for i in of]),
        np.array([first[i].counter[i] for i in of], bool),
    )


def unread(sources: Sequence[Source]) -> Keys:
    """Nothing seen yet of the keys that payloads have beside those that sources read."""
    read = frozenset[Place]().union(*(source.read or () for source in sources))
    return Keys(read, merged(sources).paths)


def _source(
    stream: str, config: SourceConfig, names: tuple[str, ...], labels: tuple[str, ...]
) -> Source:
    sensors = _sensor_map(config, names)
    try:
        whole = _layout(config, sensors)
        decode, of_sensor = _decoders(config, whole)
    except ModuleNotFoundError as error:
        raise PartMissing(
            f'stream "{stream}" . payload: is "{config.payload}" and {error.name} is not '
            f'installed; wanted pip install "sensor-monitor[{config.payload}]"'
        ) from None
    except ValueError as error:
        raise ConfigError(f'stream "{stream}": the path {error}') from None
    read = _read(whole) if config.payload in DOCUMENTS and not config.pattern.has_sensor else None
    return Source(config.pattern, config.asset_name, sensors, decode, of_sensor, labels, read)


def _read(layout: Layout) -> frozenset[Place]:
    """Where a document is read, in its items or beside them."""
    paths = [*layout.asset, layout.time, layout.sensor, layout.value]
    paths += [] if layout.sensor else [field.path for field in layout.fields]
    places = {keys_of(path) for path in paths if path}
    item = (*keys_of(layout.samples), "[]") if layout.samples not in (None, "[]") else ("[]",)
    return frozenset(places | {(*item, *at) for at in places})


def _decoders(config: SourceConfig, whole: Layout) -> tuple[Decoder, dict[str, Decoder]]:
    """The format for all sensors; or one for each that the topic names, and one for no sensor."""
    form = FORMATS[config.payload]
    if not config.pattern.has_sensor:
        return form(whole), {}
    alone = {
        field.path: form(replace(whole, fields=(replace(field, path=config.value or field.path),)))
        for field in whole.fields
    }
    return form(replace(whole, fields=())), alone


def _layout(config: SourceConfig, sensors: SensorMap) -> Layout:
    timed = config.payload in TIMED
    unit = config.time_unit or ("ns" if timed else "s")
    given = [config.sensors.get(name, SensorConfig()) for name in sensors.names]
    in_topic = config.pattern.has_sensor
    return Layout(
        width=len(sensors.names),
        fields=tuple(
            Field(column, path, sensor.text, sensor.values)
            for column, (path, sensor) in enumerate(zip(sensors.paths, given, strict=True))
            if path
        ),
        time=("time" if timed else config.time) if config.has_time else None,
        clock=clock(unit, config.timezone),
        asset=config.asset_name.paths,
        samples=config.samples,
        sensor=None if in_topic else config.sensor,
        value=None if in_topic else config.value,
        columns=config.columns,
        delimiter=config.delimiter,
        lenient=config.lenient_json,
        arrival=not config.has_time,
    )


def _sensor_map(config: SourceConfig, names: tuple[str, ...]) -> SensorMap:
    # A topic, or a sample, that names its sensor gives a word and not a path.
    word = config.pattern.has_sensor or config.sensor or config.payload in ("senml", "sparkplug")
    chosen = [config.sensors.get(name, SensorConfig()) for name in names]
    reads = [not config.sensors or name in config.sensors for name in names]
    return SensorMap(
        names,
        tuple(
            (sensor.path or (name if word else f'"{name}"')) if here else ""
            for name, sensor, here in zip(names, chosen, reads, strict=True)
        ),
        np.array([sensor.scale for sensor in chosen]),
        np.array([sensor.offset for sensor in chosen]),
        np.array([-np.inf if sensor.min is None else sensor.min for sensor in chosen]),
        np.array([np.inf if sensor.max is None else sensor.max for sensor in chosen]),
        np.array([sensor.counter for sensor in chosen], bool),
    )
