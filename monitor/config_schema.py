"""What the configuration may say: its tables, keys, defaults and limits."""

import ipaddress
import os
import re
import socket
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator

from monitor.config_stream import StreamConfig
from monitor.config_types import ConfigFile, ConfigPath, Duration, Section, WholeSeconds
from monitor.topics import is_name, overlap

_LISTEN = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\s:\[\]/]+):([0-9]{1,5})", re.ASCII)


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

    @property
    def own_topics(self) -> tuple[str, ...]:
        """Filters of all that we publish, and that others like us do."""
        levels = ("+/status", "+/info", "+/+/+/state", "+/+/+/alerts")
        return tuple(f"{self.alerts.prefix}/{rest}" for rest in levels)

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
        for stream in self.stream:
            for pattern in (source.pattern for source in stream.sources):
                plain = pattern.filter.removeprefix(pattern.share)
                if own := [name for name in self.own_topics if overlap(plain, name)]:
                    raise ValueError(
                        f'stream "{stream.name}" . topic = "{pattern.text}" would also match what '
                        f"we publish on {own[0]}; wanted a topic that does not, or another "
                        "alerts . prefix"
                    )
        if not is_name(self.instance):
            raise ValueError(
                f'mqtt . client_id = "{self.instance}" cannot stand in a topic; wanted text '
                "without '/', '+' and '#', or another name as alerts . instance"
            )
        return self
