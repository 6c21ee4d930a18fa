"""Reads the configuration: command line > environment > systemd credentials > file > default."""

import difflib
import json
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NestedSecretsSettingsSource,
    SecretsSettingsSource,
)

from monitor.config_schema import (
    AlertsConfig,
    Config,
    HttpConfig,
    MqttConfig,
    SeverityConfig,
    StateConfig,
    TlsConfig,
)
from monitor.config_stream import SensorConfig, StreamConfig
from monitor.config_types import config_folder
from monitor.errors import ConfigError

__all__ = [
    "AlertsConfig",
    "Config",
    "HttpConfig",
    "MqttConfig",
    "SensorConfig",
    "SeverityConfig",
    "StateConfig",
    "StreamConfig",
    "TlsConfig",
    "load",
]

ENV_PREFIX = "SENSOR_MONITOR_"
_COMMAND_LINE = "command line"
_ENVIRONMENT = "environment"
_CREDENTIALS = "credentials"


class _Settings(BaseSettings, Config):  # pyright: ignore[reportIncompatibleVariableOverride]
    """Config as the sources of pydantic-settings want it."""


def load(path: Path, overrides: Mapping[str, Any] | None = None) -> Config:
    """Read and check the whole configuration.

    Credentials are files in ``$CREDENTIALS_DIRECTORY`` named like the environment's variables, in
    lower case and without the prefix: ``mqtt__password``. Files of other names there are not ours.

    Args:
        path: the TOML file; relative paths, wherever they are given, start from its folder.
        overrides: what the command line says, as nested dicts like the file's tables.

    Raises:
        ConfigError: with one line for each problem.
    """
    layers: dict[str, dict[str, Any]] = {
        _COMMAND_LINE: dict(overrides or {}),
        _ENVIRONMENT: _environment(),
        _CREDENTIALS: _credentials(),
        str(path): _file(path),
    }
    folder = config_folder.set(path.absolute().parent)
    try:
        return Config.model_validate(reduce(_under, layers.values()))
    except ValidationError as error:
        problems = _problems(error)
    finally:
        config_folder.reset(folder)
    # Outside the handler: the cause would carry values that must not be shown.
    raise ConfigError("\n".join(_describe(problem, layers) for problem in problems))


def mqtt(keys: Mapping[str, Any]) -> MqttConfig:
    """The broker as a command line describes it, by the keys of `[mqtt]`.

    Raises:
        ConfigError: with one line for each problem.
    """
    try:
        return MqttConfig.model_validate(keys)
    except ValidationError as error:
        problems = _problems(error)
    layers = {_COMMAND_LINE: {"mqtt": keys}}
    for problem in problems:
        problem["loc"] = ("mqtt", *problem["loc"])
    raise ConfigError("\n".join(_describe(problem, layers) for problem in problems))


def _under(above: dict[str, Any], below: dict[str, Any]) -> dict[str, Any]:
    """Two layers in one: tables are joined, of anything else the upper layer's counts."""
    both = {**below, **above}
    for key in above.keys() & below.keys():
        if isinstance(above[key], dict) and isinstance(below[key], dict):
            both[key] = _under(above[key], below[key])
    return both


def _file(path: Path) -> dict[str, Any]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}; wanted a configuration file in TOML"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 at byte {error.start}; wanted TOML") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from error
    mqtt = tables.get("mqtt")
    if isinstance(mqtt, dict) and "password" in mqtt:
        raise ConfigError(
            f"{path}: mqtt . password: a secret does not belong in this file; wanted "
            f"password_file, {ENV_PREFIX}MQTT__PASSWORD or the credential mqtt__password"
        )
    return tables


def _environment() -> dict[str, Any]:
    known = ["__".join(key) for key in _single_keys(Config)]
    given = [name for name in os.environ if name.upper().startswith(ENV_PREFIX)]
    problems: list[str] = []
    for name in given:
        key = name[len(ENV_PREFIX) :].lower()
        if key.split("__")[0] == "stream":
            problems.append(f"{_ENVIRONMENT}: {name}: wanted in the file: lists cannot be set here")
        elif key not in known:
            hint = _suggest(key, known, lambda close: ENV_PREFIX + close.upper())
            problems.append(f"{_ENVIRONMENT}: {name}: unknown variable{hint}")
    if problems:
        raise ConfigError("\n".join(problems))
    return EnvSettingsSource(
        _Settings, case_sensitive=False, env_prefix=ENV_PREFIX, env_nested_delimiter="__"
    )()


def _credentials() -> dict[str, Any]:
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    if not folder:
        return {}
    known = ["__".join(key) for key in _single_keys(Config)]
    problems: list[str] = []
    for file in sorted(Path(folder).glob("*")):
        name = file.name.lower()
        meant_for_us = name.split("__")[0] in Config.model_fields or difflib.get_close_matches(
            name, ["mqtt__password"], cutoff=0.8
        )
        if meant_for_us and name not in known:
            hint = _suggest(name, known)
            problems.append(f"{_CREDENTIALS}: {file.name}: unknown credential{hint}")
    if problems:
        raise ConfigError("\n".join(problems))
    try:
        return NestedSecretsSettingsSource(
            SecretsSettingsSource(_Settings, secrets_dir=folder),
            secrets_dir_missing="ok",
            secrets_case_sensitive=False,
            secrets_nested_delimiter="__",
        )()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{_CREDENTIALS}: {folder}: cannot be read: {error}") from error


def _single_keys(model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    """Every key that holds one value, with the tables it lies in."""
    for name, field in model.model_fields.items():
        if get_origin(field.annotation) in (tuple, dict):
            continue
        table = _table_in(field.annotation)
        if table is None:
            yield (name,)
        else:
            yield from ((name, *rest) for rest in _single_keys(table))


def _table_in(annotation: Any) -> type[BaseModel] | None:
    """The model a field holds, alone, optional or in a list or dict."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_table_in, get_args(annotation))), None)


def _problems(error: ValidationError) -> list[ErrorDetails]:
    return [
        problem
        for problem in error.errors(include_url=False)
        if problem["type"] != "default_factory_not_called"  # follows from another problem
    ]


def _describe(problem: ErrorDetails, layers: Mapping[str, dict[str, Any]]) -> str:
    """Say one problem: where it comes from, the place, the value found, the value wanted."""
    kind, where, found = problem["type"], problem["loc"], problem["input"]
    if kind == "extra_forbidden":
        shown, wanted = "", _unknown_key(where)
    elif kind == "missing":
        shown, wanted = "", f"is missing; wanted {_description(where)}"
    elif kind == "value_error":
        # Of a table, the message itself says which of its values it is about.
        shown = "" if isinstance(found, dict) else _shown(found, where)
        wanted = str(problem.get("ctx", {}).get("error", ""))
    elif kind == "model_type":
        shown, wanted = _shown(found, where), "wanted a table"
    else:
        shown = _shown(found, where)
        wanted = re.sub(r"^\w+ should (be|have)\b", "wanted", problem["msg"])
        wanted = wanted.replace("a valid string", "text").replace(
            "a valid integer", "a whole number"
        )

    *_, file = layers
    origin = file
    if not isinstance(found, dict):
        origin = next((name for name, layer in layers.items() if _holds(layer, where)), file)
    if origin == _ENVIRONMENT:
        place = ENV_PREFIX + "__".join(map(str, where)).upper()
    elif origin == _CREDENTIALS:
        place = "__".join(map(str, where))
    else:
        place = _place(where[:-1] if kind == "extra_forbidden" else where, layers)
    return ": ".join(part for part in (origin, place + shown, wanted) if part)


def _holds(layer: object, where: Sequence[int | str]) -> bool:
    for key in where:
        if isinstance(layer, dict) and key in layer:
            layer = cast("dict[int | str, object]", layer)[key]
        elif (
            isinstance(layer, list) and isinstance(key, int) and key < len(cast("list[Any]", layer))
        ):
            layer = cast("list[object]", layer)[key]
        else:
            return False
    return bool(where)


def _place(where: Sequence[int | str], layers: Mapping[str, dict[str, Any]]) -> str:
    parts = [str(part) for part in where]
    if len(where) > 1 and where[0] == "stream":
        number = int(where[1])
        name: object = None
        for layer in layers.values():
            if _holds(layer, ("stream", number, "name")):
                name = layer["stream"][number]["name"]
                break
        parts[:2] = [f"stream {_quoted(name) if isinstance(name, str) else number + 1}"]
    return " . ".join(parts)


def _tables(where: Sequence[int | str]) -> list[type[BaseModel]]:
    """The tables a key lies in, outermost first."""
    tables: list[type[BaseModel]] = [Config]
    for part in where[:-1]:
        field = tables[-1].model_fields.get(str(part))
        table = _table_in(field.annotation) if field else None
        if table is not None:
            tables.append(table)
    return tables


def _unknown_key(where: Sequence[int | str]) -> str:
    key, tables = str(where[-1]), _tables(where)
    text = f"unknown key {_quoted(key)}"
    if any(key in table.model_fields for table in tables[:-1]):
        return f"{text}: it belongs to the table above; move it before the line that opens this one"
    known = [*tables[-1].model_fields]
    return text + (_suggest(key, known) or f"; wanted one of {', '.join(known)}")


def _description(where: Sequence[int | str]) -> str:
    field = _tables(where)[-1].model_fields.get(str(where[-1]))
    return (field and field.description) or "a value"


def _suggest(key: str, known: Sequence[str], spell: Callable[[str], str] = str) -> str:
    close = difflib.get_close_matches(key.lower(), known, n=1)
    return f"; did you mean {spell(close[0])}?" if close else ""


def _shown(value: object, where: Sequence[int | str]) -> str:
    """The value found, as far as it can be shown: short, and never a secret."""
    if value is None or "password" in where:
        return ""
    if isinstance(value, dict):
        return " = {...}"
    if isinstance(value, list | tuple):
        return " = [...]"
    return f" = {_quoted(value)}"


def _quoted(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    text = re.sub(r"//[^/@]*@", "//***@", text)  # a URL may carry a password
    text = text if len(text) <= 80 else text[:77] + "..."
    return text.encode("utf-8", "backslashreplace").decode()
