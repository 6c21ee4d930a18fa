"""Recordings: files of readings at their own times, one row per asset and time."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from models.frame import Arrival, Bools, Codes, Floats, Frames, Grid, Ints, frames_of
from models.parquet import ParquetTable
from models.selection import EVERYTHING, Range, Selection
from models.tables import CsvTable, ExtraMissing, RecordingError, Table
from models.timestamps import EARLIEST, LATEST, iso, timestamp_ns, utc_ns

__all__ = [
    "EARLIEST",
    "LATEST",
    "ExtraMissing",
    "Recording",
    "RecordingError",
    "Track",
    "asset_of",
    "find",
    "iso",
    "read",
    "timestamp_ns",
    "tracks_of",
    "usual_period",
    "utc_ns",
]

NOT_SENSORS = frozenset({"timestamp", "asset", "label"})
IGNORED_BY_DEFAULT = ("changepoint",)
ENDINGS = (".csv", ".csv.gz", ".parquet")
_DAY_FILE = re.compile(r"\d{4}-\d{2}-\d{2}\.(csv|csv\.gz|parquet)")


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
        selection: what of these rows is here.
        number: of each row in the file, shape (rows,); None = all of `rows`.
        columns: all that the file has.
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
    selection: Selection = EVERYTHING
    number: Ints | None = None
    columns: tuple[str, ...] = ()

    def select(self, selection: Selection) -> "Recording":
        """The rows that are used, and the assets that have any."""
        kept, concerned = self._sift(selection)
        row = np.flatnonzero(kept)
        present = np.flatnonzero(np.bincount(self.asset[row], minlength=len(self.assets)))
        return replace(
            self,
            assets=tuple(self.assets[index] for index in present.tolist()),
            asset=np.searchsorted(present, self.asset[row]),
            time=self.time[row],
            stamps=tuple(self.stamps[index] for index in row.tolist()),
            values=self.values[row],
            label=None if self.label is None else self.label[row],
            selection=concerned,
            number=self._numbers[row],
        )

    def within(self, used: Sequence[tuple[str, Selection]]) -> Bools:
        """Which rows are among those used of some files, known by their sha256, shape (rows,)."""
        found = np.zeros(len(self.time), bool)
        for sha256, selection in used:
            if sha256 == self.sha256:
                found |= self._sift(selection)[0]
        return found

    def _sift(self, selection: Selection) -> tuple[Bools, Selection]:
        return selection.sift(self._numbers, self.time, self.asset, self.assets)

    @property
    def _numbers(self) -> Ints:
        return np.arange(*self.rows) if self.number is None else self.number


def find(data: Iterable[Path]) -> list[Path]:
    """The recordings named by files and folders.

    Raises:
        FileNotFoundError: for a path that does not exist, or a folder without recordings.
    """
    found: list[Path] = []
    for path in data:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.name.endswith(ENDINGS))
            if not inside:
                raise FileNotFoundError(f"{path}: holds no {', '.join(ENDINGS)} file")
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
    rows: Range = (None, None),
) -> Recording:
    """Read one file.

    Args:
        path: `.parquet`; every other name is that of a CSV file.
        sensors: the columns wanted, in this order; None = all that are not ignored.
        ignore: columns to leave out beside `changepoint`, `asset` and `label` among them.
        rows: half-open range of data rows.

    Raises:
        RecordingError: if the file is no recording, or lacks a sensor.
        ExtraMissing: if it is a Parquet file and pyarrow is not installed.
    """
    data = path.read_bytes()
    table = (ParquetTable if path.suffix == ".parquet" else CsvTable)(path, data, rows)
    names = _sensors(path, table, sensors, ignore)
    time, stamps = table.times("timestamp")
    values = np.column_stack([table.numbers(name) for name in names])
    if np.isinf(values).any():
        row, column = (int(index[0]) for index in np.nonzero(np.isinf(values)))
        raise RecordingError(
            f"{path}: {table.place(row)}, column {names[column]!r}: infinity is no reading"
        )
    used = set(table.header) - set(ignore)
    has_assets = "asset" in used
    owners = table.texts("asset") if has_assets else [asset_of(path)] * len(time)
    if "" in owners:
        raise RecordingError(f"{path}: {table.place(owners.index(''))}, asset: is empty")
    assets = {name: index for index, name in enumerate(dict.fromkeys(owners))}
    return Recording(
        path,
        hashlib.sha256(data).hexdigest(),
        names,
        tuple(assets) or (asset_of(path),),
        np.array([assets[name] for name in owners], np.int64),
        time,
        stamps,
        values,
        table.labels("label") if "label" in used else None,
        table.rows,
        has_assets,
        columns=tuple(table.header),
    )


def _sensors(
    path: Path, table: Table, sensors: Sequence[str] | None, ignore: Sequence[str]
) -> tuple[str, ...]:
    """The names of the value columns, in the order wanted."""
    header, place = table.header, table.place(None)
    if "timestamp" not in header:
        raise RecordingError(f"{path}: {place}: has no column 'timestamp', found {header[:12]}")
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise RecordingError(f"{path}: {place}: column {twice!r} stands twice")
    leave = NOT_SENSORS | set(ignore) | set(IGNORED_BY_DEFAULT)
    names = tuple(sensors) if sensors else tuple(name for name in header if name not in leave)
    if missing := [name for name in names if name not in header or name in NOT_SENSORS]:
        raise RecordingError(f"{path}: has no sensor {missing[0]!r}; found {header}")
    if not names:
        raise RecordingError(f"{path}: {place}: has no sensor column")
    if "" in names:
        raise RecordingError(
            f"{path}: {place}: column {header.index('') + 1} has no name; wanted the sensor's "
            '(left out with --ignore "")'
        )
    return names


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
        part: number of the part of the asset's time that a frame lies in, excluded stretches being
            between them, shape (frames,).
        late: rows that came after their tick had closed, out of order.
    """

    recording: int
    asset: str
    frames: Frames
    label: Codes
    row: Ints
    part: Ints
    late: int


def tracks_of(recordings: Sequence[Recording], grid: Grid) -> list[Track]:
    """Frame each asset of each recording on its own: no window crosses from one to another.

    Nor from one side of an excluded stretch to the other, and no frame is made of a tick that has
    rows on both.
    """
    tracks: list[Track] = []
    for index, recording in enumerate(recordings):
        measured = ~np.isnan(recording.values).all(axis=1)
        for number, name in enumerate(recording.assets):
            rows = np.flatnonzero((recording.asset == number) & measured)
            tick = grid.tick(recording.time[rows])
            part, whole = recording.selection.parts(recording.time[rows], tick, name)
            rows, tick = rows[whole], tick[whole]
            part = np.searchsorted(np.unique(part[whole]), part[whole])
            frames, intake = frames_of(part, recording.time[rows], recording.values[rows], grid)
            in_time = intake.outcome != Arrival.LATE
            rows, at = rows[in_time], np.searchsorted(frames.tick, tick[in_time])
            row = np.full(len(frames), -1)
            newest_last = np.argsort(recording.time[rows], kind="stable")
            row[at[newest_last]] = rows[newest_last]
            label = np.zeros(len(frames), np.uint8)
            if recording.label is not None and len(frames):
                np.maximum.at(label, at, recording.label[rows])
                # A held frame is what the frame before it was.
                label = label[np.maximum.accumulate(np.where(row < 0, 0, np.arange(len(row))))]
            of_track = replace(frames, asset=np.full(len(frames), len(tracks)))
            late = int((~in_time).sum())
            tracks.append(Track(index, name, of_track, label, row, frames.asset, late))
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


def asset_of(path: Path) -> str:
    """The asset a file without an `asset` column is about."""
    if _DAY_FILE.fullmatch(path.name):
        return path.resolve().parent.name
    name = path.name
    for ending in (".gz", ".csv", ".parquet", ".train", ".test"):
        name = name.removesuffix(ending)
    return name
