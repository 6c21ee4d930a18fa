"""Day files of a recording: whole lines in order of time, whatever killed the writer before."""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

from models.frame import NEVER
from models.recording import IGNORED_BY_DEFAULT, NOT_SENSORS, iso, timestamp_ns
from monitor.errors import CannotWrite, ConfigError

TAIL = 4096  # bytes in which the last line is looked for first
# Names of assets that are no names of folders.
_FOLDERS = {".": "%2E", "..": "%2E%2E"}

Row = tuple[int, Sequence[float]]


class DayFiles:
    """The files of one stream, ``{asset}/YYYY-MM-DD.csv`` by the UTC day of a reading's time.

    A file is open only while lines are put to it.

    Args:
        folder: of the stream.
        sensors: the columns after ``timestamp``.

    Attributes:
        rows: written so far.

    Raises:
        ConfigError: if a sensor's name means something else in a recording.
    """

    def __init__(self, folder: Path, sensors: Sequence[str]) -> None:
        for name in sensors:
            if name in NOT_SENSORS or name in IGNORED_BY_DEFAULT or name != name.strip():
                raise ConfigError(
                    f'stream "{folder.name}": the sensor {name!r} cannot be a column of a '
                    "recording; wanted a name without blanks around it, other than "
                    + ", ".join(sorted({*NOT_SENSORS, *IGNORED_BY_DEFAULT}))
                )
        self.rows = 0
        self._folder = folder
        self._header = _line(["timestamp", *sensors])

    def check(self, day: str) -> None:
        """See that all files have our columns, and repair those of a day.

        Raises:
            CannotWrite: as in `newest`.
        """
        for path in sorted(self._folder.glob("*/????-??-??.csv")):
            if path.stem == day:
                self._repair(path)
            else:
                with path.open("rb") as file:
                    self._begins(path, file)

    def newest(self, asset: str, day: str) -> int:
        """The time of the last row of a file, nanoseconds; NEVER without one.

        Raises:
            CannotWrite: if the file has other columns, or is no recording.
        """
        path = self._path(asset, day)
        return self._repair(path) if path.exists() else NEVER

    def append(self, asset: str, rows: Sequence[Row]) -> None:
        """Put rows behind those of an asset, in order of time.

        Args:
            asset: its name.
            rows: (nanoseconds since the epoch, value per sensor, NaN = missing), later than any
                in their files.

        Raises:
            CannotWrite: if not all of a file's rows can be put there; then none is.
        """
        for day, mine in groupby(rows, lambda row: day_of(row[0])):
            lines = [_line([iso(time), *map(_cell, values)]) for time, values in mine]
            path = self._path(asset, day)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("ab", buffering=0) as file:
                    empty = file.tell() == 0
                    _put(file, b"".join([self._header, *lines] if empty else lines))
            except OSError as error:
                raise CannotWrite(f"{path}: {error.strerror}") from None
            self.rows += len(lines)

    def _path(self, asset: str, day: str) -> Path:
        return self._folder / _FOLDERS.get(asset, asset) / f"{day}.csv"

    def _repair(self, path: Path) -> int:
        """Cut off the line that a kill has torn; the time of the last whole row."""
        with path.open("r+b") as file:
            if not self._begins(path, file):
                file.truncate(0)
                return NEVER
            for line in _lines_from_the_end(file, len(self._header)):
                if not line.endswith(b"\n"):
                    file.truncate(file.seek(0, io.SEEK_END) - len(line))
                    continue
                stamp = line.split(b",")[0].decode(errors="replace")
                try:
                    return timestamp_ns(stamp)
                except ValueError as error:
                    raise CannotWrite(
                        f"{path}: its last line begins with {stamp[:40]!r}: {error}"
                    ) from None
        return NEVER

    def _begins(self, path: Path, file: BinaryIO) -> bool:
        """Whether a file has our first line, and not a torn one."""
        begin = file.read(len(self._header))
        if not self._header.startswith(begin):
            found = begin.split(b"\n")[0].decode(errors="replace").strip()
            raise CannotWrite(
                f"{path}: begins with {found[:200]!r}; wanted the columns "
                f"{self._header.decode().strip()}: move the file away, or record to another folder"
            )
        return begin == self._header


def day_of(time: int) -> str:
    """The UTC day of a time in nanoseconds, YYYY-MM-DD."""
    return iso(time)[:10]


def _lines_from_the_end(file: BinaryIO, begin: int) -> Iterator[bytes]:
    """The last line behind a position, and the one before it if the last is torn."""
    end = file.seek(0, io.SEEK_END)
    size = TAIL
    while end > begin:
        start = max(begin, end - size)
        file.seek(start)
        lines = file.read(end - start).splitlines(keepends=True)
        torn = not lines[-1].endswith(b"\n")
        if start > begin and len(lines) < 3:
            size *= 2
            continue
        yield from reversed(lines[-2:] if torn else lines[-1:])
        return


def _put(file: io.FileIO, data: bytes) -> None:
    """Write all of it, or none."""
    size, rest = file.tell(), memoryview(data)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError:
        file.truncate(size)
        raise


def _cell(value: float) -> str:
    return "" if math.isnan(value) else repr(value)


def _line(cells: Sequence[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()
