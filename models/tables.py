"""Files of rows and columns: CSV, read cell by cell, every fault with its place."""

import csv
import gzip
import io
import math
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import numpy as np

from models.grid import Codes, Floats, Ints
from models.selection import Range
from models.timestamps import timestamp_ns

MISSING = frozenset({"", "nan", "null", "none", "na", "n/a"})


class RecordingError(ValueError):
    """A recording that cannot be read: one message naming the file, the place and what is wrong."""


class ExtraMissing(Exception):
    """A file that needs a library which is not installed; the message says how to install it."""


class Table(Protocol):
    """A file's columns; whatever cannot be read raises a RecordingError with its place.

    Attributes:
        header: names of the columns.
        rows: the half-open range of the file's data rows that is here.
    """

    header: list[str]
    rows: tuple[int, int]

    def place(self, row: int | None) -> str:
        """Where a row stands in the file, counted from the first here; None = the header."""
        ...

    def times(self, name: str) -> tuple[Ints, tuple[str, ...]]:
        """A column of times, nanoseconds, and in the file's own spelling."""
        ...

    def numbers(self, name: str) -> Floats:
        """A column of numbers, NaN where empty."""
        ...

    def labels(self, name: str) -> Codes:
        """A column of 0 and 1, 0 where empty."""
        ...

    def texts(self, name: str) -> list[str]:
        """A column of text, stripped."""
        ...


_TRUTH = {"true": "1", "false": "0"}


class CsvTable:
    """`.csv` or `.csv.gz`, in UTF-8, with a line of names first.

    Args:
        path: of the file, for messages.
        data: its bytes.
        rows: half-open range of data rows, either side may be open.
    """

    def __init__(self, path: Path, data: bytes, rows: Range = (None, None)) -> None:
        self._path = path
        try:
            text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
            lines = csv.reader(io.StringIO(text, newline=""))
            numbered = [(lines.line_num, line) for line in lines if line]
        except (OSError, EOFError, UnicodeDecodeError, zlib.error, csv.Error) as error:
            raise RecordingError(f"{path}: is no UTF-8 CSV file ({error})") from None
        self.header = [name.strip() for name in numbered[0][1]] if numbered else []
        first, last, _ = slice(*rows).indices(max(0, len(numbered) - 1))
        self._lines = numbered[1:][first:last]
        self.rows = first, first + len(self._lines)
        width = len(self.header)
        self._ragged = next((line for line in self._lines if len(line[1]) != width), None)

    def place(self, row: int | None) -> str:
        """The line."""
        return "line 1" if row is None else f"line {self._lines[row][0]}"

    def times(self, name: str) -> tuple[Ints, tuple[str, ...]]:
        """As `timestamp_ns` reads them."""
        cells = self._cells(name)
        times = np.empty(len(cells), np.int64)
        for row, cell in enumerate(cells):
            try:
                times[row] = timestamp_ns(cell)
            except ValueError as error:
                raise RecordingError(
                    f"{self._path}: {self.place(row)}, {name} {short(cell)}: {error}"
                ) from None
        return times, tuple(cells)

    def numbers(self, name: str) -> Floats:
        """As `float` reads them, in ASCII digits without underscores."""
        cells = self._cells(name)
        together = "".join(cells)
        if together.isascii() and "_" not in together:
            with suppress(ValueError):
                return np.fromiter(map(float, cells), np.float64, len(cells))
        numbers = np.full(len(cells), np.nan)
        for row, cell in enumerate(cells):
            try:
                numbers[row] = _number(cell)
            except ValueError:
                if cell.strip().lower() not in MISSING:
                    raise RecordingError(
                        f"{self._path}: {self.place(row)}, column {name!r}: {short(cell)} is no "
                        f"number (a column of text is left out with --ignore {name})"
                    ) from None
        return numbers

    def labels(self, name: str) -> Codes:
        """0, 1 or nothing."""
        cells = self._cells(name)
        labels = np.zeros(len(cells), np.uint8)
        for row, cell in enumerate(cells):
            try:
                label = _number(_TRUTH.get(cell.strip().lower(), cell.strip()) or "0")
            except ValueError:
                label = math.nan
            if label not in (0.0, 1.0):
                raise RecordingError(
                    f"{self._path}: {self.place(row)}, {name} {short(cell)}: wanted 0 or 1"
                )
            labels[row] = int(label)
        return labels

    def texts(self, name: str) -> list[str]:
        """Without the blanks around them."""
        return [cell.strip() for cell in self._cells(name)]

    def _cells(self, name: str) -> list[str]:
        if self._ragged is not None:
            number, line = self._ragged
            raise RecordingError(
                f"{self._path}: line {number}: has {len(line)} columns; wanted {len(self.header)}"
            )
        at = self.header.index(name)
        return [line[at] for _, line in self._lines]


def short(text: str) -> str:
    """A cell as a message quotes it."""
    return repr(text if len(text) <= 40 else text[:40] + "…")


def _number(text: str) -> float:
    # float() also reads 1_000 and the digits of every script.
    if "_" in text or not text.isascii():
        raise ValueError(text)
    return float(text)
