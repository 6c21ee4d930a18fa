"""What the configuration may say of streams, their sources and their sensors."""

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, cast
from zoneinfo import ZoneInfo

from pydantic import ByteSize, Field, ValidationInfo, field_validator, model_validator

from monitor.config_types import ConfigPath, Duration, Section
from monitor.payloads import FORMATS, PRESETS, TIMED
from monitor.payloads.stamp import TimeUnit
from monitor.topics import MAX_NAME_BYTES, AssetName, TopicPattern, is_word

_STREAM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
ARRIVAL: Final = "arrival"


class SensorConfig(Section):
    """Where a sensor's value stands in a message and how it becomes the sensor's own unit.

    reading = value * `scale` + `offset`; outside [`min`, `max`] it is rejected.
    """

    path: str | None = Field(default=None, min_length=1)
    """Left out: the sensor's own name, as a key of the payload or a level of the topic."""
    unit: str = ""
    scale: float = 1.0
    offset: float = 0.0
    min: float | None = None
    max: float | None = None
    text: bool = False
    """Whether a text such as "21.5" is its number."""
    values: dict[str, float] = Field(default_factory=dict[str, float])
    """Numbers of the words that mean one, such as { ON = 1, OFF = 0 }."""
    counter: bool = False
    """Whether the value only ever grows, and its rate per second is the reading."""

    @model_validator(mode="after")
    def _sound(self) -> "SensorConfig":
        if self.scale == 0:
            raise ValueError("has scale = 0, which makes every reading the same")
        if self.min is not None and self.max is not None and self.min >= self.max:
            raise ValueError(f"has min = {self.min:g} and max = {self.max:g}; wanted min < max")
        return self


class SourceConfig(Section):
    """``[[stream.source]]``: the topics of one kind, and how their payloads are read."""

    allow_shared: bool = False
    topic: str = Field(description='a topic such as "plant/{asset}/telemetry"')
    asset: str | None = None
    """How the asset is called: "{line}-{asset}", or a path in the payload."""
    payload: str = "json"
    time: str | None = Field(default=None, min_length=1)
    time_unit: TimeUnit | None = None
    timezone: str | None = None
    samples: str | None = Field(default=None, min_length=1)
    """Path of a list whose items are samples; "[]" where the payload itself is the list."""
    sensor: str | None = Field(default=None, min_length=1)
    """Path of the sensor's name, where each sample is of one sensor and has it in it."""
    value: str | None = Field(default=None, min_length=1)
    """Path of the value, where the topic or each sample names the sensor."""
    columns: tuple[str, ...] = ()
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    lenient_json: bool = False
    sensors: dict[str, SensorConfig] = Field(default_factory=dict[str, SensorConfig])

    @property
    def pattern(self) -> TopicPattern:
        """The topic, read."""
        return TopicPattern.parse(self.topic, allow_shared=self.allow_shared)

    @property
    def asset_name(self) -> AssetName:
        """How the asset's name is made."""
        form = "{asset}" if self.asset is None else self.asset
        return AssetName.parse(form, self.pattern.names)

    @property
    def has_time(self) -> bool:
        """Whether payloads carry the event time."""
        return self.time != ARRIVAL and (self.time is not None or self.payload in TIMED)

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, table: object) -> object:
        """Put the keys of a preset under those that are given."""
        if not isinstance(table, Mapping):
            return table
        keys = cast("Mapping[str, object]", table)
        name = keys.get("payload")
        if isinstance(name, str) and name in PRESETS:
            return {"payload": name, **PRESETS[name], **_without(keys, "payload")}
        return keys

    @field_validator("payload")
    @classmethod
    def _known_payload(cls, payload: str) -> str:
        if payload not in FORMATS:
            close = difflib.get_close_matches(payload.lower(), [*FORMATS, *PRESETS], n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            presets = ", ".join(name for name in PRESETS if name not in FORMATS)
            raise ValueError(f"wanted {', '.join(FORMATS)}, or a preset: {presets}{hint}")
        return payload

    @field_validator("timezone")
    @classmethod
    def _known_timezone(cls, timezone: str | None) -> str | None:
        if timezone is not None:
            try:
                ZoneInfo(timezone)
            except (KeyError, ValueError, OSError):
                raise ValueError('wanted an IANA name such as "Europe/Berlin"') from None
        return timezone

    @field_validator("columns")
    @classmethod
    def _columns_differ(cls, columns: tuple[str, ...]) -> tuple[str, ...]:
        if twice := [name for name in columns if columns.count(name) > 1]:
            raise ValueError(f"names {twice[0]!r} twice")
        return columns

    @field_validator("sensors", mode="before")
    @classmethod
    def _tables(cls, sensors: object) -> object:
        """Make every sensor a table, a text alone being its path."""
        if not isinstance(sensors, Mapping):
            return sensors
        tables: dict[str, object] = {}
        for name, value in cast("Mapping[str, object]", sensors).items():
            if name in cls.model_fields and not isinstance(value, Mapping | SensorConfig):
                raise ValueError(
                    f"holds {name}, a key of the stream itself: move it above the line "
                    f"[stream.sensors] (a sensor called so is written "
                    f'{name} = {{ path = "{name}" }})'
                )
            if not is_word(name):
                raise ValueError(
                    f"names {name[:40]!r}; wanted printable text of at most {MAX_NAME_BYTES} bytes"
                )
            if isinstance(value, str):
                tables[name] = {"path": value}
            elif isinstance(value, Mapping):
                tables[name] = cast("Mapping[str, object]", value)
            elif isinstance(value, SensorConfig):
                tables[name] = value
            else:
                raise ValueError(
                    f"has {name} = {value!r}; wanted a path in the payload such as "
                    '"ENERGY.Current", or a table with path, unit, scale, offset, min, max'
                )
        return tables

    @field_validator("topic")
    @classmethod
    def _topic_is_one(cls, topic: str, info: ValidationInfo) -> str:
        TopicPattern.parse(topic, allow_shared=info.data.get("allow_shared", False))
        return topic

    @model_validator(mode="after")
    def _payload_fits_topic(self) -> "SourceConfig":
        pattern = self.pattern
        if self.asset is None and not pattern.has_asset:
            raise ValueError(
                f'has topic = "{self.topic}", which names no {{asset}}; wanted one, such as '
                'plant/{asset}/telemetry, or asset = "id", a path in the payload'
            )
        paths = _said_of_asset(self)
        if self.payload == "number" and not pattern.has_sensor:
            raise ValueError(
                f'has payload = "number" and topic = "{self.topic}"; wanted {{sensor}} in the '
                "topic, such as plant/{asset}/{sensor}"
            )
        if self.payload == "number" and (self.time is not None or paths):
            what = "time" if self.time is not None else f"{paths[0]} for the asset's name"
            raise ValueError(f'has payload = "number", which carries no {what}')
        if self.payload in TIMED and self.time not in (None, ARRIVAL):
            raise ValueError(
                f'has payload = "{self.payload}", whose messages say their time themselves; wanted '
                f'no time key, or time = "{ARRIVAL}" where they are not to be believed'
            )
        if self.payload == "sparkplug" and (
            pattern.levels[0] != "spBv1.0" or len(pattern.levels) != 5 or not pattern.rest or paths
        ):
            raise ValueError(
                f'has payload = "sparkplug" and topic = "{self.topic}"; wanted all messages of a '
                f"node, such as {PRESETS['sparkplug'].get('topic')}, and no asset from the payload"
            )
        if self.payload in ("senml", "sparkplug") and pattern.has_sensor:
            raise ValueError(
                f'has payload = "{self.payload}", whose messages name their sensors; wanted a '
                "topic without {sensor}"
            )
        if self.payload in ("json", "msgpack", "csv", "influx"):
            self._one_value(pattern)
        if pattern.has_sensor or self.sensor or self.payload in ("senml", "sparkplug"):
            self._a_word_for_each()
        for key, payloads in _ONLY_FOR.items():
            if key in self.model_fields_set and self.payload not in payloads:
                raise ValueError(
                    f'has {key} and payload = "{self.payload}"; {key} is for {", ".join(payloads)}'
                )
        return self

    def _one_value(self, pattern: TopicPattern) -> None:
        if pattern.has_sensor and (self.value is None or self.sensor is not None):
            raise ValueError(
                f'has payload = "{self.payload}" and {{sensor}} in the topic; wanted payload = '
                '"number", or value, the path of the value, such as value = "value"'
            )
        if not pattern.has_sensor and (self.sensor is None) != (self.value is None):
            raise ValueError(
                "has one of sensor and value; wanted both, the paths of a sensor's name and of its "
                "value in each sample, or neither"
            )

    def _a_word_for_each(self) -> None:
        """Where topics or samples name their sensor, one word cannot mean two."""
        known: dict[str, str] = {}
        for name, sensor in self.sensors.items():
            word = sensor.path or name
            if word in known:
                raise ValueError(
                    f'has the sensors {known[word]} and {name}, both with path = "{word}"; wanted '
                    "a path of its own for each where a topic or sample names its sensor"
                )
            known[word] = name


# Keys that mean something with some payloads only.
_ONLY_FOR: Final = {
    "samples": ("json", "msgpack"),
    "columns": ("csv",),
    "delimiter": ("csv",),
    "lenient_json": ("json",),
    "timezone": ("json", "msgpack", "csv"),
    "time_unit": ("json", "msgpack", "csv", "influx"),
    "sensor": ("json", "msgpack", "csv", "influx", "senml"),
    "value": ("json", "msgpack", "csv", "influx", "senml"),
}


def _without(keys: Mapping[str, object], key: str) -> dict[str, object]:
    return {name: value for name, value in keys.items() if name != key}


def _said_of_asset(source: SourceConfig) -> tuple[str, ...]:
    try:
        return source.asset_name.paths
    except ValueError as error:
        raise ValueError(f'has asset = "{source.asset}"; {error}') from None


class StreamConfig(SourceConfig):
    """``[[stream]]``: a class of assets that share sources and one model.

    Its own keys of a source are those of its first.
    """

    name: str = Field(description='a name such as "pumps"')
    model: ConfigPath | None = None
    runtime: Literal["onnx", "torch"] = "onnx"
    """What runs the network: ONNX Runtime, or torch where the extra `train` is installed."""
    lateness: Duration | None = None
    max_assets: int = Field(default=10_000, ge=1)
    accept_retained: bool = False
    max_payload: ByteSize = Field(default=ByteSize(64 * 1024), ge=1, le=268_435_455)
    source: tuple[SourceConfig, ...] = ()

    @property
    def sources(self) -> tuple[SourceConfig, ...]:
        """All sources; of several that match a topic the first reads it."""
        return (self, *self.source)

    @model_validator(mode="before")
    @classmethod
    def _first_source(cls, table: object) -> object:
        """Of a stream with tables [[stream.source]] alone, make the first its own keys."""
        if not isinstance(table, Mapping):
            return table
        keys = cast("Mapping[str, Any]", table)
        sources: object = keys.get("source")
        own = [key for key in keys if key in SourceConfig.model_fields]
        if own or not sources or not isinstance(sources, list | tuple):
            return keys
        first, *rest = cast("list[object]", sources)
        if not isinstance(first, Mapping):
            return keys
        promoted = {**_without(keys, "source"), **cast("Mapping[str, object]", first)}
        return {**promoted, "source": rest}

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if not _STREAM_NAME.fullmatch(name):
            raise ValueError(
                "wanted letters, digits, '.', '_' and '-', at most 64, the first a letter or digit"
            )
        return name

    @field_validator("model")
    @classmethod
    def _only_asset_in_model(cls, model: Path | None) -> Path | None:
        if model and (wrong := [x for x in re.findall(r"\{[^}]*\}", str(model)) if x != "{asset}"]):
            raise ValueError(f"names {wrong[0]}; wanted a folder, in which {{asset}} may stand")
        return model

    @model_validator(mode="after")
    def _one_set_of_labels(self) -> "StreamConfig":
        labels = {source.topic: sorted(source.pattern.labels) for source in self.sources}
        for topic, names in labels.items():
            if names != labels[self.topic]:
                raise ValueError(
                    f"has the labels {', '.join(labels[self.topic]) or '(none)'} in {self.topic} "
                    f"and {', '.join(names) or '(none)'} in {topic}; wanted the same in each, or "
                    "{_} for a level that is no label"
                )
        return self
