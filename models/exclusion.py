"""The file of `--exclude`: stretches of time that are left out of the data, and why."""

from pathlib import Path

import numpy as np

from models.selection import Stretch
from models.tables import CsvTable, RecordingError

COLUMNS = ("asset", "start", "end", "why")


def read_stretches(path: Path) -> tuple[Stretch, ...]:
    """Read a CSV file with the columns asset (empty = all), start, end and why.

    Raises:
        FileNotFoundError: if there is no such file.
        RecordingError: naming the line and what is wrong there.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    table = CsvTable(path, path.read_bytes())
    if sorted(table.header) != sorted(COLUMNS):
        raise RecordingError(f"{path}: line 1: has the columns {table.header}; wanted {[*COLUMNS]}")
    start, starts = table.times("start")
    end, ends = table.times("end")
    if (end <= start).any():
        row = int(np.argmax(end <= start))
        raise RecordingError(
            f"{path}: {table.place(row)}: ends at {ends[row]}; wanted a time after its start, "
            f"{starts[row]}"
        )
    columns = (start.tolist(), end.tolist(), table.texts("asset"), table.texts("why"))
    return tuple(map(Stretch, *columns))
