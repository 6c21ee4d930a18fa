"""What the configuration may say: its tables, keys, defaults and limits."""

import ipaddress
import os
import re
import socket
from collections.abc import Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from monitor.topics import MAX_NAME_BYTES, TopicPattern, is_name

# Where relative paths start while a file is being read.
config_folder: ContextVar[Path] = ContextVar("config_folder", default=Path())

_UNITS = {None: 1.0, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?", re.ASCII)
_LONGEST = 3650 * 86400.0
_STREAM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_LISTEN = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\s:\[\]/]+):([0-9]{1,5})", re.ASCII)


def duration(value: object) -> float:
    """Read a duration in seconds: a number, or a text such as ``"500ms"``, ``"5s"`` or ``"4h"``.

    Raises:
        ValueError: if it is neither, negative, or longer than ten years.
    """
    seconds = -1.0
    if isinstance(value, int | float):
        seconds = float(value)
    elif isinstance(value, str) and (found := _DURATION.fullmatch(value.strip())):
        seconds = float(found[1]) * _UNITS[found[2]]
    if not 0 <= seconds <= _LONGEST:
        raise ValueError(
            'wanted a duration: seconds such as 5 or 0.5, or "500ms", "5s", "10m", "4h", "2d" '
            "(at most 3650d)"
        )
    return seconds


def _from_folder(path: Path) -> Path:
    return config_folder.get() / path.expanduser()


def _present(path: Path) -> Path:
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    return path


Duration = Annotated[float, BeforeValidator(duration)]
WholeSeconds = Annotated[int, BeforeValidator(duration)]
ConfigPath = Annotated[Path, AfterValidator(_from_folder)]
ConfigFile = Annotated[ConfigPath, AfterValidator(_present)]


class Section(BaseModel):
    """A table of the configuration: no unknown keys, nothing changes after it is read."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_boolean_number(cls, value: object, info: ValidationInfo) -> object:
        field = cls.model_fields[info.field_name or ""]
        if isinstance(value, bool) and field.annotation is not bool:
            raise ValueError("wanted a value other than true or false")
        return value


class TlsConfig(Section):
    """``[mqtt.tls]``: its presence switches TLS on; without `ca_file` the system's CAs count."""

    ca_file: ConfigFile | None = None
    cert_file: ConfigFile | None = None
    key_file: ConfigFile | None = None

    @model_validator(mode="after")
    def _key_needs_certificate(self) -> "TlsConfig":
        if self.key_file and not self.cert_file:
            raise ValueError("key_file needs cert_file")
        return self


def _default_port(section: dict[str, Any]) -> int:
    return 8883 if section.get("tls") else 1883


class MqttConfig(Section):
    """``[mqtt]``: the broker and how we are known to it."""

    host: str = "127.0.0.1"
    tls: TlsConfig | None = None
    port: int = Field(default_factory=_default_port, ge=1, le=65535)
    client_id: str = Field(
        default_factory=lambda: f"sensor-monitor-{socket.gethostname()}",
        min_length=1,
        max_length=1024,
    )
    protocol: Literal["5", "3.1.1"] = "5"
    keepalive: WholeSeconds = Field(default=15, ge=5, le=65535)
    session_expiry: WholeSeconds = 24 * 3600
    username: str | None = Field(default=None, min_length=1)
    password_file: ConfigFile | None = None
    password: SecretStr | None = Field(default=None, validate_default=True)
    """From the environment or a credential, else from `password_file`; never in the file itself."""
    allow_plaintext_password: bool = False

    @field_validator("host")
    @classmethod
    def _host_alone(cls, host: str) -> str:
        try:
            ipaddress.ip_address(host)
        except ValueError:
            if not host or re.search(r"[\s/@:\[\]]", host):
                raise ValueError(
                    "wanted a host name or address alone, such as broker.example or ::1"
                ) from None
        return host

    @field_validator("password")
    @classmethod
    def _read_password(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        file: Path | None = info.data.get("password_file")
        if value is None and file is not None:
            try:
                value = SecretStr(file.read_text(encoding="utf-8").rstrip("\r\n"))
            except OSError as error:
                raise ValueError(f"cannot be read from {file}: {error.strerror}") from None
            except UnicodeDecodeError:
                raise ValueError(f"cannot be read from {file}: it is not UTF-8") from None
        if value is not None and not value.get_secret_value():
            raise ValueError("is empty")
        return value

    @model_validator(mode="after")
    def _protect_password(self) -> "MqttConfig":
        if self.password is None:
            return self
        if self.username is None:
            raise ValueError("has a password and no username; wanted both")
        if not (self.tls or self.allow_plaintext_password or _is_loopback(self.host)):
            raise ValueError(
                f"the password would cross the network to {self.host} in the clear; wanted "
                "[mqtt.tls], a loopback host, or allow_plaintext_password = true"
            )
        return self


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


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


class SeverityConfig(Section):
    """``[alerts.severity]``."""

    critical: float = Field(default=3.0, ge=1)
    """The score from which an alert is critical instead of a warning."""


class AlertsConfig(Section):
    """``[alerts]``: how verdicts become alerts."""

    prefix: str = "sensor-monitor"
    instance: str | None = None
    hold: Duration = 0.0
    renotify: Annotated[Duration, Field(gt=0)] = 4 * 3600.0
    expire: Annotated[Duration, Field(gt=0)] = 24 * 3600.0
    severity: SeverityConfig = Field(default_factory=SeverityConfig)
    alert_uncalibrated: bool = False

    @field_validator("prefix")
    @classmethod
    def _plain_prefix(cls, prefix: str) -> str:
        if prefix.startswith("$") or not all(is_name(level) for level in prefix.split("/")):
            raise ValueError("wanted topic levels such as sensor-monitor, without '+', '#' and '$'")
        return prefix

    @field_validator("instance")
    @classmethod
    def _plain_instance(cls, instance: str | None) -> str | None:
        if instance is not None and not is_name(instance):
            raise ValueError("wanted one topic level: text without '/', '+' and '#'")
        return instance


class HttpConfig(Section):
    """``[http]``."""

    listen: str = "127.0.0.1:9787"
    """``host:port``; empty switches HTTP off."""

    @field_validator("listen")
    @classmethod
    def _host_and_port(cls, listen: str) -> str:
        found = _LISTEN.fullmatch(listen)
        if listen and not (found and int(found[1]) <= 65535):
            raise ValueError('wanted host:port such as "127.0.0.1:9787", or "" for no HTTP')
        return listen


def _default_state() -> Path:
    given = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given)
    home = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (home if home.is_absolute() else Path("~/.local/state").expanduser()) / "sensor-monitor"


class StateConfig(Section):
    """``[state]``."""

    directory: ConfigPath = Field(default_factory=_default_state)


_A_STREAM = "at least one [[stream]], in double brackets, with a name and a topic"


class Config(Section):
    """The whole configuration; `monitor.config.load` reads it."""

    mqtt: MqttConfig = Field(default_factory=MqttConfig)
    stream: tuple[StreamConfig, ...] = Field(description=_A_STREAM)
    alerts: AlertsConfig = Field(default_factory=AlertsConfig)
    http: HttpConfig = Field(default_factory=HttpConfig)
    state: StateConfig = Field(default_factory=StateConfig)

    @property
    def instance(self) -> str:
        """Our name in topics: `alerts.instance`, else the client id."""
        return self.alerts.instance or self.mqtt.client_id

    @field_validator("stream", mode="before")
    @classmethod
    def _many_streams(cls, stream: object) -> object:
        if not stream or not isinstance(stream, list | tuple):
            raise ValueError(f"wanted {_A_STREAM}")
        return cast("object", stream)

    @model_validator(mode="after")
    def _names_fit(self) -> "Config":
        names = [stream.name for stream in self.stream]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f'two streams are called "{twice[0]}"; wanted a name for each')
        if not is_name(self.instance):
            raise ValueError(
                f'mqtt . client_id = "{self.instance}" cannot stand in a topic; wanted text '
                "without '/', '+' and '#', or another name as alerts . instance"
            )
        return self
