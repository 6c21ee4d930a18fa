"""What tables of the configuration are made of: durations, paths, and a table without surprises."""

import re
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ValidationInfo,
    field_validator,
)

# Where relative paths start while a file is being read.
config_folder: ContextVar[Path] = ContextVar("config_folder", default=Path())

_UNITS = {None: 1.0, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?", re.ASCII)
_LONGEST = 3650 * 86400.0


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
