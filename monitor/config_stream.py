"""What the configuration may say of streams and their sensors."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, cast

from pydantic import ByteSize, Field, field_validator, model_validator

from monitor.config_types import ConfigPath, Duration, Section
from monitor.topics import MAX_NAME_BYTES, TopicPattern

_STREAM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


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

    @model_validator(mode="after")
    def _sound(self) -> "SensorConfig":
        if self.scale == 0:
            raise ValueError("has scale = 0, which makes every reading the same")
        if self.min is not None and self.max is not None and self.min >= self.max:
            raise ValueError(f"has min = {self.min:g} and max = {self.max:g}; wanted min < max")
        return self


class StreamConfig(Section):
    """``[[stream]]``: a class of assets that share one source and one model."""

    name: str = Field(description='a name such as "pumps"')
    model: ConfigPath | None = None
    runtime: Literal["onnx", "torch"] = "onnx"
    """What runs the network: ONNX Runtime, or torch where the extra `train` is installed."""
    topic: str = Field(description='a topic such as "plant/{asset}/telemetry"')
    payload: Literal["json", "number"] = "json"
    time: str | None = Field(default=None, min_length=1)
    lateness: Duration | None = None
    sensors: dict[str, SensorConfig] = Field(default_factory=dict[str, SensorConfig])
    max_assets: int = Field(default=10_000, ge=1)
    accept_retained: bool = False
    max_payload: ByteSize = Field(default=ByteSize(64 * 1024), ge=1, le=268_435_455)

    @property
    def pattern(self) -> TopicPattern:
        """The topic, read."""
        return TopicPattern.parse(self.topic)

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

    @field_validator("topic")
    @classmethod
    def _topic_names_asset(cls, topic: str) -> str:
        if not TopicPattern.parse(topic).has_asset:
            raise ValueError("names no {asset}; wanted one, such as plant/{asset}/telemetry")
        return topic

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
            if not name.isprintable() or not 0 < len(name.encode()) <= MAX_NAME_BYTES:
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

    @model_validator(mode="after")
    def _payload_fits_topic(self) -> "StreamConfig":
        if self.payload == "number" and not self.pattern.has_sensor:
            raise ValueError(
                f'has payload = "number" and topic = "{self.topic}"; wanted {{sensor}} in the '
                "topic, such as plant/{asset}/{sensor}"
            )
        if self.payload == "json" and self.pattern.has_sensor:
            raise ValueError(
                f'has payload = "json" and topic = "{self.topic}"; wanted payload = "number" '
                "where each sensor has its own topic"
            )
        if self.payload == "number" and self.time is not None:
            raise ValueError('has payload = "number", which carries no time; wanted no time key')
        return self
