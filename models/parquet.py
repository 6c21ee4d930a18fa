"""Parquet files as tables; the only file that imports pyarrow, and only to read one."""

from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from models.grid import SECOND, Codes, Floats, Ints
from models.selection import Range
from models.tables import ExtraMissing, RecordingError, short
from models.timestamps import EARLIEST, LATEST, iso, timestamp_ns

_NANOSECONDS = {"s": SECOND, "ms": 1_000_000, "us": 1000, "ns": 1}


class ParquetTable:
    """`.parquet`: typed columns; arguments as of `models.tables.CsvTable`."""

    def __init__(self, path: Path, data: bytes, rows: Range = (None, None)) -> None:
        try:
            arrow: Any = import_module("pyarrow")
            parquet: Any = import_module("pyarrow.parquet")
        except ModuleNotFoundError:
            raise ExtraMissing(
                f'{path}: to read .parquet: pip install "sensor-monitor[parquet]"'
            ) from None
        self._path = path
        self._types: Any = arrow.types
        try:
            table: Any = parquet.ParquetFile(arrow.BufferReader(data)).read()
            table.validate(full=True)
            self.header = [name.strip() for name in table.column_names]
        except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
            reason = str(error).partition("\n")[0]
            raise RecordingError(f"{path}: is no Parquet file ({reason})") from None
        first, last, _ = slice(*rows).indices(table.num_rows)
        self._table: Any = table.slice(first, max(0, last - first))
        self.rows = first, first + self._table.num_rows

    def place(self, row: int | None) -> str:
        """The number of the row, as `--rows` counts."""
        return "schema" if row is None else f"row {self.rows[0] + row}"

    def times(self, name: str) -> tuple[Ints, tuple[str, ...]]:
        """Timestamps with a zone; or numbers and text, as `timestamp_ns` reads them."""
        column, types = self._column(name), self._types
        if column.null_count:
            self._refuse(name, int(np.argmax(column.is_null().to_numpy())), "is empty")
        if types.is_timestamp(column.type):
            if column.type.tz is None:
                self._refuse(name, None, f"is {column.type}; wanted it with a time zone")
            size = _NANOSECONDS[column.type.unit]
            raw: Ints = column.cast("int64").to_numpy()
            outside = (raw < EARLIEST // size) | (raw >= LATEST // size)
            if outside.any():
                self._refuse(name, int(np.argmax(outside)), "lies outside the years 1970 to 2100")
            return raw * size, tuple(map(iso, (raw * size).tolist()))
        exact = (types.is_integer, types.is_float64, types.is_decimal, types.is_unicode)
        if not any(kind(column.type) for kind in (*exact, types.is_large_unicode)):
            self._refuse(
                name, None, f"is {column.type}; wanted a timestamp with a time zone, double or text"
            )
        stamps = tuple(str(cell) for cell in column.to_pylist())
        times = np.empty(len(stamps), np.int64)
        for row, stamp in enumerate(stamps):
            try:
                times[row] = timestamp_ns(stamp)
            except ValueError as error:
                self._refuse(name, row, f"{short(stamp)}: {error}")
        return times, stamps

    def numbers(self, name: str) -> Floats:
        """Whatever is a number or true and false."""
        column = self._column(name)
        if not self._is_number(column.type):
            wanted = f"wanted numbers (a column of others is left out with --ignore {name})"
            self._refuse(name, None, f"is {column.type}; {wanted}")
        return np.array(column.cast("float64", safe=False).to_numpy(), np.float64)

    def labels(self, name: str) -> Codes:
        """0, 1 or nothing."""
        column = self._column(name)
        if not self._is_number(column.type):
            self._refuse(name, None, f"is {column.type}; wanted 0 or 1")
        numbers: Floats = column.cast("float64", safe=False).fill_null(0.0).to_numpy()
        wrong = ~np.isin(numbers, (0.0, 1.0))
        if wrong.any():
            row = int(np.argmax(wrong))
            self._refuse(name, row, f"{numbers[row]:g}: wanted 0 or 1")
        return numbers.astype(np.uint8)

    def texts(self, name: str) -> list[str]:
        """Text, categories or whole numbers, without the blanks around them."""
        column, types = self._column(name), self._types
        kind = column.type.value_type if types.is_dictionary(column.type) else column.type
        if not any(
            is_kind(kind)
            for is_kind in (types.is_unicode, types.is_large_unicode, types.is_integer)
        ):
            self._refuse(name, None, f"is {column.type}; wanted text")
        return [(cell or "").strip() for cell in column.cast("string").to_pylist()]

    def _column(self, name: str) -> Any:
        return self._table.column(self.header.index(name))

    def _is_number(self, kind: Any) -> bool:
        types = self._types
        known = (types.is_integer, types.is_floating, types.is_decimal, types.is_boolean)
        return any(is_kind(kind) for is_kind in (*known, types.is_null))

    def _refuse(self, name: str, row: int | None, what: str) -> NoReturn:
        place = "" if row is None else f"{self.place(row)}, "
        raise RecordingError(f"{self._path}: {place}column {name!r}: {what}")
