"""What the commands share: arguments, reading data, errors with an exit code."""

import os
import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from models import bundle
from models.exclusion import read_stretches
from models.frame import SECOND
from models.recording import (
    IGNORED_BY_DEFAULT,
    NOT_SENSORS,
    Recording,
    RecordingError,
    find,
    read,
    timestamp_ns,
)
from models.selection import Range, Selection

Data = Annotated[
    list[Path], typer.Argument(help="Recordings: CSV or Parquet files, or folders of them.")
]
BundleFolder = Annotated[Path, typer.Argument(help="A bundle.")]
Rows = Annotated[
    str | None,
    typer.Option("--rows", metavar="A:B", help="Half-open range of rows; one file only."),
]
Start = Annotated[
    str | None,
    typer.Option("--from", metavar="T", help="First time: ISO 8601 with an offset, or seconds."),
]
End = Annotated[
    str | None, typer.Option("--to", metavar="T", help="Time before which the data end.")
]
Assets = Annotated[
    str | None, typer.Option("--assets", metavar="A,B", help="Assets to use; default all.")
]
Exclude = Annotated[
    Path | None,
    typer.Option(
        "--exclude",
        metavar="FILE",
        help="Times to leave out: CSV with the columns asset (empty = all), start, end, why.",
    ),
]
Ignore = Annotated[
    list[str] | None, typer.Option("--ignore", metavar="COLUMN", help="A column to leave out.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Force = Annotated[
    bool, typer.Option("--force", help="Replace what is there, keeping it as NAME.previous.")
]

NEEDS_TRAINING = 'this command trains networks: pip install "sensor-monitor[train]"'


class Stop(Exception):
    """An error to report in one message."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def check_range(option: str, value: float | None, low: float, high: float) -> None:
    """Refuse a number outside its range, NaN included."""
    # Typer's own ranges let NaN pass.
    if value is not None and not low <= value <= high:
        raise Stop(f"{option} {value:g}: wanted {low:g} to {high:g}", 2)


_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d)?")
_UNITS = {None: 1.0, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def duration_of(option: str, text: str, most: int) -> int:
    """A duration such as 30, 30s or 5m, in nanoseconds, at most `most`."""
    found = _DURATION.fullmatch(text.strip())
    seconds = float(found[1]) * _UNITS[found[2]] if found else -1
    if not 0 <= seconds <= most / SECOND:
        raise Stop(
            f"{option} {text}: wanted seconds, or 500ms, 30s, 5m, 2h, 1d, at most "
            f"{most // SECOND} s",
            2,
        )
    return round(seconds * SECOND)


def names_of(option: str, text: str | None) -> list[str] | None:
    """The names in `A,B`; None stays None."""
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if not name or names.count(name) > 1:
            raise Stop(f"{option} {text}: has {name!r} twice, or a name is empty", 2)
    return names


def selection_of(
    rows: str | None,
    start: str | None,
    end: str | None,
    assets: str | None,
    exclude: Path | None,
) -> Selection:
    """What of the data the options of a command ask for."""
    span = _time_of("--from", start), _time_of("--to", end)
    if span[0] is not None and span[1] is not None and span[0] >= span[1]:
        raise Stop(f"--from {start} --to {end}: wanted an end after the start", 2)
    return Selection(
        _rows_of(rows),
        span,
        tuple(names_of("--assets", assets) or ()),
        () if exclude is None else read_stretches(exclude),
    )


def _time_of(option: str, text: str | None) -> int | None:
    try:
        return None if text is None else timestamp_ns(text)
    except ValueError as error:
        raise Stop(f"{option} {text}: {error}", 2) from None


def _rows_of(text: str | None) -> Range:
    if text is None:
        return None, None
    first, colon, last = text.partition(":")
    try:
        span = int(first) if first else None, int(last) if last else None
    except ValueError:
        span = -1, None
    if not colon or any(edge is not None and edge < 0 for edge in span):
        raise Stop(f"--rows {text}: wanted A:B, either side may be empty", 2)
    return span


def check_bundle(out: Path, *, force: bool) -> None:
    """Refuse before the work a bundle that could not be written after it."""
    check_free(out, force=force)
    check_replaced(out, bundle.replaceable, "bundle")


def check_replaced(out: Path, replaceable: Callable[[Path], bool], kind: str) -> None:
    """Refuse to replace what is of another kind than the thing that is to be written."""
    for place in (out, out.with_name(out.name + ".previous")):
        if not replaceable(place):
            raise Stop(f"{place}: is no {kind}; nothing else is ever replaced", 73)


def check_free(out: Path, *, force: bool) -> None:
    """Refuse before the work what could not be written after it."""
    if not out.name:
        raise Stop(f"--out {out}: wanted a path that ends in a name", 2)
    if out.exists() and not force:
        raise Stop(f"{out}: exists; --force replaces it and keeps it as {out.name}.previous", 73)
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(out.parent, os.W_OK):
            raise PermissionError(f"{out.parent} is read-only for this user")


@contextmanager
def writing(out: Path) -> Generator[None]:
    """Report what the system says about a path that cannot be written."""
    try:
        yield
    except OSError as error:
        raise Stop(f"{out}: cannot be written ({error})", 73) from None


def read_data(
    data: list[Path],
    sensors: list[str] | tuple[str, ...] | None,
    ignore: list[str] | None,
    selection: Selection,
) -> list[Recording]:
    """Read the recordings named on the command line, all with the same sensors.

    A file of which nothing is used is as good as not named.
    """
    paths = find(data)
    if selection.rows != (None, None) and len(paths) > 1:
        raise Stop(f"--rows: is for one file; found {len(paths)}", 2)
    as_the_first = sensors is None
    recordings: list[Recording] = []
    names: set[str] = set()
    columns: set[str] = set()
    for path in paths:
        whole = read(path, sensors=sensors, ignore=ignore or (), rows=selection.rows)
        sensors = sensors or whole.sensors
        names |= {*whole.assets}
        columns |= {*whole.columns}
        recordings.append(whole.select(selection))
    for what, wanted, known in (
        ("--assets", selection.assets, names),
        ("--exclude", [one.asset for one in selection.excluded if one.asset], names),
        ("--ignore", ignore or (), columns),
    ):
        if missing := [name for name in wanted if name not in known]:
            found = ", ".join(sorted(known)[:12])
            raise Stop(f"{what}: {missing[0]!r} is in no recording; found {found}", 66)
    not_sensors = {*(sensors or ()), *(ignore or ()), *NOT_SENSORS, *IGNORED_BY_DEFAULT}
    if as_the_first and (left := sorted(columns - not_sensors)):
        typer.echo(
            f"warning: {paths[0]} has no column {', '.join(left[:12])}, which others have; left "
            "out of all",
            err=True,
        )
    used = [one for one in recordings if len(one.time)]
    if not used:
        chosen = "" if selection == Selection(selection.rows) else " of what was chosen"
        raise RecordingError(f"{paths[0]}: holds no rows{chosen}")
    return used


def progress_bar() -> Progress:
    """A progress bar on stderr, quiet where that is no terminal."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    )
