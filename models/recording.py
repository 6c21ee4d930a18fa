"""Recordings: CSV files of readings at their own times, one row per asset and time."""

import csv
import gzip
import hashlib
import io
import math
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from models.frame import SECOND, Codes, Floats, Frames, Grid, Ints, frames_of

MISSING = frozenset({"", "nan", "null", "none", "na", "n/a"})
NOT_SENSORS = frozenset({"timestamp", "asset", "label"})
IGNORED_BY_DEFAULT = ("changepoint",)
_EPOCH = re.compile(r"(-?[0-9]{1,11})(?:\.([0-9]+))?(?:[eE]\+?0+)?")
_ISO = re.compile(
    r"(\d{4}-?\d\d-?\d\d[T ]\d\d:?\d\d(?::?\d\d)?)(?:[.,](\d+))?"
    r"(Z|[+-]\d\d(?::?\d\d)?)?",
    re.ASCII,
)
_START = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_FILE = re.compile(r"\d{4}-\d{2}-\d{2}\.csv(\.gz)?")
EARLIEST, LATEST = 0, 4_102_444_800 * SECOND  # 1970 to 2100: doubled ticks stay within int64


class RecordingError(ValueError):
    """A recording that cannot be read: one message naming the file, the place and what is wrong."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One file of readings.

    Args:
        path: where it was read from.
        sha256: of the file's bytes.
        sensors: names of the value columns.
        assets: names of the assets.
        asset: index into `assets`, shape (rows,).
        time: nanoseconds since the epoch, shape (rows,).
        stamps: timestamps in the file's own spelling.
        values: NaN where empty, shape (rows, sensors).
        label: 1 = anomalous, shape (rows,); None where the file has no labels.
        rows: the half-open range of the file's data rows that was read.
        has_assets: whether the file itself names its assets.
    """

    path: Path
    sha256: str
    sensors: tuple[str, ...]
    assets: tuple[str, ...]
    asset: Ints
    time: Ints
    stamps: tuple[str, ...]
    values: Floats
    label: Codes | None
    rows: tuple[int, int]
    has_assets: bool = False

    def of(self, assets: Sequence[str]) -> "Recording":
        """The rows of some assets alone."""
        kept = tuple(name for name in self.assets if name in assets)
        index = np.array([kept.index(name) if name in kept else -1 for name in self.assets])
        row = np.flatnonzero(index[self.asset] >= 0)
        return replace(
            self,
            assets=kept,
            asset=index[self.asset[row]],
            time=self.time[row],
            stamps=tuple(self.stamps[i] for i in row.tolist()),
            values=self.values[row],
            label=None if self.label is None else self.label[row],
        )


def timestamp_ns(text: str) -> int:
    """A timestamp to integer nanoseconds since the epoch.

    Args:
        text: ISO 8601 with offset or Z, or seconds since the epoch, with any fraction.

    Raises:
        ValueError: if it is neither, has no offset, or lies outside the years 1970 to 2100.
    """
    text = text.strip()
    if number := _EPOCH.fullmatch(text):
        fraction = (number[2] or "")[:9].ljust(9, "0")
        time = int(number[1]) * SECOND + int(fraction) * (-1 if text.startswith("-") else 1)
    else:
        found = _ISO.fullmatch(text.upper())
        try:
            moment = datetime.fromisoformat(found[1] + (found[3] or "")) if found else None
        except ValueError:
            moment = None
        if found is None or moment is None:
            raise ValueError("wanted ISO 8601 with an offset or Z, or seconds since the epoch")
        if moment.tzinfo is None:
            raise ValueError("has no offset; wanted one, such as Z or +01:00")
        since = moment - _START
        # The standard library stops at microseconds.
        fraction = found[2][:9].ljust(9, "0") if found[2] else "0"
        time = (since.days * 86_400 + since.seconds) * SECOND + int(fraction)
    if not EARLIEST <= time < LATEST:
        raise ValueError("lies outside the years 1970 to 2100")
    return time


def iso(time: int) -> str:
    """Nanoseconds since the epoch as ISO 8601 in UTC, to the second or as fine as needed."""
    moment = datetime.fromtimestamp(time // SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f"{time % SECOND:09d}".rstrip("0")
    return f"{moment}.{fraction}Z" if fraction else f"{moment}Z"


def find(data: Iterable[Path]) -> list[Path]:
    """The recordings named by files and folders.

    Raises:
        FileNotFoundError: for a path that does not exist, or a folder without recordings.
    """
    found: list[Path] = []
    for path in data:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.name.endswith((".csv", ".csv.gz")))
            if not inside:
                raise FileNotFoundError(f"{path}: holds no .csv or .csv.gz file")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise FileNotFoundError(f"{path}: no such file or folder")
    return found


def read(
    path: Path,
    *,
    sensors: Sequence[str] | None = None,
    ignore: Sequence[str] = (),
    rows: tuple[int | None, int | None] = (None, None),
) -> Recording:
    """Read one CSV file.

    Args:
        path: `.csv` or `.csv.gz`.
        sensors: the columns wanted, in this order; None = all that are not ignored.
        ignore: columns to leave out beside `changepoint`.
        rows: half-open range of data rows.

    Raises:
        RecordingError: if the file is no recording, or lacks a sensor.
    """
    data = path.read_bytes()
    try:
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
        lines = csv.reader(io.StringIO(text, newline=""))
        numbered = [(lines.line_num, line) for line in lines if line]
    except (OSError, EOFError, UnicodeDecodeError, zlib.error, csv.Error) as error:
        raise RecordingError(f"{path}: is no UTF-8 CSV file ({error})") from None
    header = [name.strip() for name in numbered[0][1]] if numbered else []
    if "timestamp" not in header:
        raise RecordingError(f"{path}: line 1: has no column 'timestamp', found {header[:12]}")
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise RecordingError(f"{path}: line 1: column {twice!r} stands twice")
    leave = NOT_SENSORS | set(ignore) | set(IGNORED_BY_DEFAULT)
    names = tuple(sensors) if sensors else tuple(name for name in header if name not in leave)
    if missing := [name for name in names if name not in header or name in NOT_SENSORS]:
        raise RecordingError(f"{path}: has no sensor {missing[0]!r}; found {header}")
    if not names:
        raise RecordingError(f"{path}: line 1: has no sensor column")
    if "" in names:
        raise RecordingError(
            f"{path}: line 1: column {header.index('') + 1} has no name; wanted the sensor's "
            '(left out with --ignore "")'
        )
    first, last, _ = slice(*rows).indices(len(numbered) - 1)
    table = numbered[1:][first:last]

    column = {name: header.index(name) for name in header}
    at = column["timestamp"]
    wanted = [column[name] for name in names]
    values = np.full((len(table), len(names)), np.nan)
    times = np.empty(len(table), np.int64)
    label = np.zeros(len(table), np.uint8)
    default_asset = asset_of(path)
    assets: dict[str, int] = {}
    asset = np.zeros(len(table), np.int64)
    for row, (number, line) in enumerate(table):
        if len(line) != len(header):
            raise RecordingError(
                f"{path}: line {number}: has {len(line)} columns; wanted {len(header)}"
            )
        try:
            times[row] = timestamp_ns(line[at])
        except ValueError as error:
            raise RecordingError(
                f"{path}: line {number}, timestamp {_short(line[at])}: {error}"
            ) from None
        for index, source in enumerate(wanted):
            try:
                values[row, index] = _number(line[source])
            except ValueError:
                if line[source].strip().lower() not in MISSING:
                    raise RecordingError(
                        f"{path}: line {number}, column {names[index]!r}: "
                        f"{_short(line[source])} is no number "
                        f"(a column of text is left out with --ignore {names[index]})"
                    ) from None
        if "label" in column:
            label[row] = _label(path, number, line[column["label"]])
        name = line[column["asset"]].strip() if "asset" in column else default_asset
        if not name:
            raise RecordingError(f"{path}: line {number}, asset: is empty")
        asset[row] = assets.setdefault(name, len(assets))
    if np.isinf(values).any():
        row, index = (int(i[0]) for i in np.nonzero(np.isinf(values)))
        raise RecordingError(
            f"{path}: line {table[row][0]}, column {names[index]!r}: infinity is no reading"
        )
    return Recording(
        path,
        hashlib.sha256(data).hexdigest(),
        names,
        tuple(assets) or (default_asset,),
        asset,
        times,
        tuple(line[at] for _, line in table),
        values,
        label if "label" in column else None,
        (first, first + len(table)),
        "asset" in column,
    )


@dataclass(frozen=True, slots=True)
class Track:
    """The frames of one asset in one recording.

    Args:
        recording: index of the recording.
        asset: the asset's name.
        frames: in order of time; their `asset` is the track's own index everywhere.
        label: largest label of a frame's rows, shape (frames,).
        row: row of the recording with the newest reading of each frame, -1 without one, shape
            (frames,).
    """

    recording: int
    asset: str
    frames: Frames
    label: Codes
    row: Ints


def tracks_of(recordings: Sequence[Recording], grid: Grid) -> list[Track]:
    """Frame each asset of each recording on its own: no window crosses from one to another."""
    tracks: list[Track] = []
    for index, recording in enumerate(recordings):
        for number, name in enumerate(recording.assets):
            empty = np.isnan(recording.values).all(axis=1)
            rows = np.flatnonzero((recording.asset == number) & ~empty)
            frames = frames_of(
                np.full(len(rows), len(tracks)), recording.time[rows], recording.values[rows], grid
            )
            label = np.zeros(len(frames), np.uint8)
            row = np.full(len(frames), -1)
            if len(frames):
                # A row so late that its tick had closed may have no frame.
                tick = grid.tick(recording.time[rows])
                rows = rows[np.isin(tick, frames.tick)]
                at = np.searchsorted(frames.tick, grid.tick(recording.time[rows]))
                newest_last = np.argsort(recording.time[rows], kind="stable")
                row[at[newest_last]] = rows[newest_last]
                if recording.label is not None:
                    np.maximum.at(label, at, recording.label[rows])
                    # A held frame is what the frame before it was.
                    label = label[np.maximum.accumulate(np.where(row < 0, 0, np.arange(len(row))))]
            tracks.append(Track(index, name, frames, label, row))
    return tracks


def usual_period(recordings: Sequence[Recording]) -> int:
    """The median time between rows of an asset, nanoseconds.

    Raises:
        RecordingError: if no asset has two rows at different times.
    """
    steps = [
        np.diff(np.unique(recording.time[recording.asset == number]))
        for recording in recordings
        for number in range(len(recording.assets))
    ]
    together = np.concatenate(steps) if steps else np.empty(0)
    if not len(together):
        raise RecordingError(
            f"{recordings[0].path}: has no asset with two rows at different times; no period "
            "can be told"
        )
    return int(np.median(together))


def _number(text: str) -> float:
    # float() also reads 1_000 and the digits of every script.
    if "_" in text or not text.isascii():
        raise ValueError(text)
    return float(text)


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")


def asset_of(path: Path) -> str:
    """The asset a file without an `asset` column is about."""
    if _DAY_FILE.fullmatch(path.name):
        return path.resolve().parent.name
    name = path.name
    for ending in (".gz", ".csv", ".train", ".test"):
        name = name.removesuffix(ending)
    return name


def _label(path: Path, number: int, text: str) -> int:
    try:
        value = _number(text.strip() or "0")
    except ValueError:
        value = math.nan
    if value not in (0.0, 1.0):
        raise RecordingError(f"{path}: line {number}, label {_short(text)}: wanted 0 or 1")
    return int(value)
