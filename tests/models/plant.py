"""A small machine for tests: three sensors that move together, with noise."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from models.bundle import load, verify, write
from models.fitting import fit
from models.frame import SECOND, Codes, Floats, Ints
from models.packing import Fit
from models.plan import Request, Settings, plan
from models.recalibration import Renewal, recalibrate
from models.recording import Recording
from models.split import NormalFrames

START = 1_790_000_000 * SECOND
NAMES = ("current", "flow", "heat")


def values(rows: int, seed: int = 0) -> Floats:
    """Normal operation, shape (rows, 3)."""
    rng = np.random.default_rng(seed)
    load = np.sin(np.arange(rows) / 9) + 0.3 * np.sin(np.arange(rows) / 2.3)
    return np.outer(load, [1, 2, 0.5]) + [10, 0, 300] + rng.normal(size=(rows, 3)) * [0.1, 0.2, 0.1]


def normal(numbers: Floats) -> NormalFrames:
    """Frames of one machine whose calibration is for all."""
    return NormalFrames(numbers, np.zeros(len(numbers), np.int64))


def recording(
    numbers: Floats,
    *,
    names: Sequence[str] = NAMES,
    label: Codes | None = None,
    time: Ints | None = None,
) -> Recording:
    """A recording of one asset at 1 Hz."""
    rows = len(numbers)
    time = START + np.arange(rows) * SECOND if time is None else time
    return Recording(
        Path("plant.csv"),
        "0" * 64,
        tuple(names),
        ("plant",),
        np.zeros(rows, np.int64),
        time,
        tuple(str(one) for one in time),
        numbers,
        label,
        (0, rows),
    )


def request(model: str = "pca", *, epochs: int = 3, **changes: object) -> Request:
    """A request that is done in a moment."""
    return Request(model=model, training=Settings(epochs=epochs), **changes)  # pyright: ignore[reportArgumentType]


def fitted(recordings: Sequence[Recording], asked: Request) -> Fit:
    """A finished fit, at a fixed time."""
    the = plan(recordings, asked)
    return fit(recordings, asked, the, "plant", START, quiet)


def quiet(stage: str, done: int, most: int) -> None:
    """Progress that nobody watches."""


def written(folder: Path, done: Fit | Renewal) -> Path:
    """The bundle of a fit or a renewal in a folder."""
    write(folder, done.manifest, done.files, force=False)
    return folder


def recalibrated(
    folder: Path, recordings: Sequence[Recording], *, by_asset: bool = False
) -> Renewal:
    """A bundle calibrated at a fixed time on recordings that are of other files than it is."""
    detector, (manifest, files) = load(folder), verify(folder)
    others = [replace(one, sha256="1" * 64) for one in recordings]
    return recalibrate(manifest, files, detector, others, "new", START, by_asset=by_asset)


def write_csv(
    path: Path, numbers: Floats, *, label: Sequence[int] | None = None, start: int = 1_790_000_000
) -> Path:
    """A recording as a file, one row a second."""
    columns = ["timestamp", *NAMES, *([] if label is None else ["label"])]
    lines = [",".join(columns)]
    for row, numbers_of in enumerate(numbers.tolist()):
        cells = [str(start + row), *(f"{number:.6g}" for number in numbers_of)]
        lines.append(",".join([*cells, *([] if label is None else [str(label[row])])]))
    path.write_text("\n".join(lines) + "\n")
    return path
