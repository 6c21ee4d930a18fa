"""train.toml: many machine classes, each fitted by a process of its own."""

import difflib
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Setting = int | float | str | bool | list[int | float | str]


class JobsError(ValueError):
    """A train.toml that cannot be used: one message naming the file, the place and the fault."""


class _Options(BaseModel):
    """What `fit` takes as options, by the same names."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    model: str | None = None
    sensors: list[str] | None = None
    period: float | int | None = None
    window: int | None = None
    false_alarms_per_day: float | int | None = None
    start: str | datetime | None = Field(default=None, alias="from")
    to: str | datetime | None = None
    assets: list[str] | None = None
    exclude: str | None = None
    ignore: list[str] | None = None
    running: str | None = None
    settle: str | None = None
    seed: int | None = None
    strict: bool | None = None
    unit: dict[str, str] = Field(default_factory=dict[str, str])
    set: dict[str, Setting] = Field(default_factory=dict[str, Setting])


class _Bundle(_Options):
    out: str = Field(min_length=1)
    data: list[str] = Field(min_length=1)
    rows: str | None = None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    fit: _Options = Field(default_factory=_Options)
    bundle: list[_Bundle] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Job:
    """A bundle to make, and the arguments of `fit` that make it."""

    out: Path
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Done:
    """A job that has ended, with its exit code and what it printed."""

    job: Job
    code: int
    printed: str


def read(path: Path) -> list[Job]:
    """The jobs of a train.toml; its paths are relative to the file.

    Raises:
        FileNotFoundError: if there is no such file.
        JobsError: if it is no such configuration.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        file = _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise JobsError(f"{path}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise JobsError(f"{path}: is no TOML ({error})") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = _keys(first["loc"])
            near = difflib.get_close_matches(str(first["loc"][-1]), known, 1)
            wanted = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
            raise JobsError(f"{path}: {place}: no such key; {wanted}") from None
        raise JobsError(f"{path}: {place}: {first['msg']}, found {first['input']!r:.60}") from None
    jobs = [_job(path.absolute().parent, file.fit, bundle) for bundle in file.bundle]
    outs = [job.out for job in jobs]
    if twice := [out for out in outs if outs.count(out) > 1]:
        raise JobsError(f"{path}: bundle: two of them have the out {twice[0]}")
    return jobs


def run(jobs: Sequence[Job], workers: int, extra: Sequence[str] = ()) -> Iterator[Done]:
    """Fit all bundles, so many at a time, and give each as it ends.

    Args:
        jobs: what to fit.
        workers: processes at once.
        extra: further arguments of `fit` for all.
    """

    def one(job: Job) -> Done:
        words = [sys.executable, "-m", "models.cli", "fit", *job.arguments, "--jobs", "1", *extra]
        # Both streams in one, in order: a warning belongs to the line above it.
        done = subprocess.run(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        return Done(job, done.returncode, done.stdout)

    with ThreadPoolExecutor(workers) as pool:
        waiting = [pool.submit(one, job) for job in jobs]
        try:
            for future in as_completed(waiting):
                yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _job(folder: Path, defaults: _Options, bundle: _Bundle) -> Job:
    given = {
        key: value
        for options in (defaults, bundle)
        for key, value in options.model_dump(by_alias=True, exclude_none=True).items()
    }
    settings = {**defaults.set, **bundle.set}
    out = folder / given.pop("out")
    words = [str(folder / one) for one in given.pop("data")] + ["--out", str(out)]
    units = {**defaults.unit, **bundle.unit}
    del given["set"], given["unit"]
    if "exclude" in given:
        given["exclude"] = str(folder / given["exclude"])
    for key, value in given.items():
        words += _words("--" + key.replace("_", "-"), value)
    for sensor, unit in units.items():
        words += ["--unit", f"{sensor}={unit}"]
    for key, value in settings.items():
        words += ["--set", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    return Job(out, tuple(words))


def _keys(place: Sequence[int | str]) -> list[str]:
    """The keys that are known in the table of a key."""
    table = _File if len(place) == 1 else _Options if place[0] == "fit" else _Bundle
    return sorted(field.alias or name for name, field in table.model_fields.items())


def _words(option: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [option] if value else []
    if isinstance(value, list):
        names = [str(one) for one in cast(list[Any], value)]
        if option == "--ignore":
            return [word for name in names for word in (option, name)]
        return [option, ",".join(names)]
    return [option, str(value)]
