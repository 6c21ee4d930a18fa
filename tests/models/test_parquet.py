import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from models.frame import SECOND
from models.recording import LATEST, RecordingError, asset_of, find, read, timestamp_ns

T = 1_767_225_600  # 2026-01-01T00:00:00Z


def file(folder: Path, columns: dict[str, Any], name: str = "pump.parquet") -> Path:
    path = folder / name
    parquet.write_table(pyarrow.table(columns), path)
    return path


def zoned(values: Sequence[int | None], unit: str = "s", zone: str = "Europe/Berlin") -> Any:
    return pyarrow.array(values, pyarrow.timestamp(unit, zone))


def test_a_parquet_file_is_the_recording_that_the_csv_file_of_the_same_is(tmp_path: Path) -> None:
    path = file(
        tmp_path,
        {
            "asset": pyarrow.array(["p7", "p8", "p7"]).dictionary_encode(),
            "timestamp": zoned([T, T + 1, T + 2]),
            "flow": [1, None, -300],
            "heat": [2.5, float("nan"), 0.0],
            "on": [True, False, None],
            "changepoint": ["maybe", "", ""],
            "label": [0, 1, None],
        },
    )
    text = (
        "asset,timestamp,flow,heat,on,label\np7,{0}Z,1,2.5,1,0\np8,{1}Z,,,0,1\np7,{2}Z,-300,0,,\n"
    )
    stamps = [f"2026-01-01T00:00:0{second}" for second in range(3)]
    (tmp_path / "pump.csv").write_text(text.format(*stamps))

    found, wanted = read(path), read(tmp_path / "pump.csv")

    assert (found.sensors, found.assets) == (wanted.sensors, wanted.assets)
    assert (found.rows, found.has_assets, found.stamps) == ((0, 3), True, wanted.stamps)
    assert len(found.sha256) == 64
    for one, other in (
        (found.asset, wanted.asset),
        (found.time, wanted.time),
        (found.values, wanted.values),
        (found.label, wanted.label),
    ):
        np.testing.assert_array_equal(one, other)
    assert found.values.dtype == np.float64


@pytest.mark.parametrize(
    ("column", "time"),
    [
        (zoned([T]), T * SECOND),
        (zoned([1000 * T + 5], "ms", "UTC"), T * SECOND + 5_000_000),
        (zoned([10**6 * T + 5], "us", "+05:30"), T * SECOND + 5000),
        (zoned([SECOND * T + 5], "ns"), T * SECOND + 5),
        (zoned([LATEST - 1], "ns"), LATEST - 1),
        (pyarrow.array([T]), T * SECOND),
        (pyarrow.array([T], pyarrow.uint32()), T * SECOND),
        (pyarrow.array([T + 0.1]), T * SECOND + 100_000_000),
        (pyarrow.array([Decimal(f"{T}.000000001")]), T * SECOND + 1),
        (pyarrow.array(["2026-01-01T01:00:00+01:00"]), T * SECOND),
        (pyarrow.array([f"{T}"], pyarrow.large_string()), T * SECOND),
    ],
)
def test_a_time_is_read_to_the_nanosecond_whatever_its_type(
    tmp_path: Path, column: Any, time: int
) -> None:
    found = read(file(tmp_path, {"timestamp": column, "flow": [1.0]}))

    assert found.time.tolist() == [time]
    assert timestamp_ns(found.stamps[0]) == time


@given(st.integers(0, LATEST - 1), st.integers(-12 * 60, 12 * 60))
def test_a_timestamp_of_any_zone_is_the_moment_it_names(time: int, minutes: int) -> None:
    moment = datetime.fromtimestamp(time // SECOND, timezone(timedelta(minutes=minutes)))
    column = pyarrow.array([moment], pyarrow.timestamp("us", "UTC"))
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.table({"timestamp": column, "flow": [1.0]}), sink)
    from models.parquet import ParquetTable

    times, stamps = ParquetTable(Path("p"), sink.getvalue().to_pybytes()).times("timestamp")

    assert times.tolist() == [time // SECOND * SECOND]
    assert datetime.fromisoformat(stamps[0]) == moment.astimezone(UTC)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"time": [1], "flow": [1.0]}, r"schema: has no column 'timestamp', found \['time', 'fl"),
        ({"timestamp": [1], " timestamp": [1]}, "schema: column 'timestamp' stands twice"),
        ({"timestamp": [1]}, "schema: has no sensor column"),
        ({"timestamp": [1], "": [1.0]}, "schema: column 2 has no name"),
        (
            {"timestamp": pyarrow.array([1], pyarrow.timestamp("us")), "flow": [1.0]},
            r"column 'timestamp': is timestamp\[us\]; wanted it with a time zone",
        ),
        (
            {"timestamp": pyarrow.array([1.0], pyarrow.float32()), "flow": [1.0]},
            "column 'timestamp': is float; wanted a timestamp with a time zone, double or text",
        ),
        ({"timestamp": [True], "flow": [1.0]}, "column 'timestamp': is bool; wanted a timestamp"),
        (
            {"timestamp": zoned([T, None]), "flow": [1.0, 1.0]},
            "row 1, column 'timestamp': is empty",
        ),
        (
            {"timestamp": zoned([T, -1]), "flow": [1.0, 1.0]},
            "row 1, column 'timestamp': lies outside the years 1970 to 2100",
        ),
        (
            {"timestamp": zoned([2**62], "ms"), "flow": [1.0]},
            "row 0, column 'timestamp': lies outside the years 1970 to 2100",
        ),
        (
            {"timestamp": [T, 1000 * T], "flow": [1.0, 1.0]},
            f"row 1, column 'timestamp': '{T}000': wanted|row 1, .* lies outside",
        ),
        (
            {"timestamp": ["2026-01-01T00:00:00"], "flow": [1.0]},
            "row 0, column 'timestamp': '2026-01-01T00:00:00': has no offset",
        ),
        (
            {"timestamp": [1], "mode": ["on"]},
            "column 'mode': is string; wanted numbers .* left out with --ignore mode",
        ),
        ({"timestamp": [1], "pair": [[1.0, 2.0]]}, "column 'pair': is list.*; wanted numbers"),
        (
            {"timestamp": [1, 2], "flow": [1.0, float("inf")]},
            "row 1, column 'flow': infinity is no reading",
        ),
        (
            {"timestamp": [1, 2], "flow": [1.0, 1.0], "asset": ["a", None]},
            "row 1, asset: is empty",
        ),
        (
            {"timestamp": [1], "flow": [1.0], "asset": [0.5]},
            "column 'asset': is double; wanted tex",
        ),
        (
            {"timestamp": [1, 2], "flow": [1.0, 1.0], "label": [1, 2]},
            "row 1, column 'label': 2: wanted 0 or 1",
        ),
        (
            {"timestamp": [1], "flow": [1.0], "label": [float("nan")]},
            "row 0, column 'label': nan: wanted 0 or 1",
        ),
        (
            {"timestamp": [1], "flow": [1.0], "label": ["1"]},
            "column 'label': is string; wanted 0 or 1",
        ),
    ],
)
def test_a_parquet_file_that_is_no_recording_is_refused_with_the_place(
    tmp_path: Path, columns: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecordingError, match=f"pump.parquet: (?:{message})"):
        read(file(tmp_path, columns))


def test_a_column_of_another_type_is_left_out_when_ignored(tmp_path: Path) -> None:
    path = file(tmp_path, {"timestamp": [1], "mode": ["on"], "pair": [[1.0]], "flow": [2.0]})

    assert read(path, ignore=["mode", "pair"]).sensors == ("flow",)
    assert read(path, sensors=["flow"]).values.tolist() == [[2.0]]


def test_numbers_of_every_type_are_read_and_a_column_of_nothing_is_missing(tmp_path: Path) -> None:
    half = pyarrow.array(np.array([0.5], np.float16))
    columns: dict[str, Any] = {
        "timestamp": [1],
        "half": half,
        "small": pyarrow.array([200], pyarrow.uint8()),
        "large": [2**53 + 1],
        "exact": [Decimal("1.25")],
        "none": pyarrow.nulls(1),
    }

    values = read(file(tmp_path, columns)).values

    np.testing.assert_array_equal(values, [[0.5, 200, 2**53, 1.25, np.nan]])


def test_rows_are_a_half_open_range_over_all_row_groups(tmp_path: Path) -> None:
    table = pyarrow.table({"timestamp": [*range(10)], "flow": [float(n) for n in range(10)]})
    parquet.write_table(table, tmp_path / "pump.parquet", row_group_size=3)

    found = read(tmp_path / "pump.parquet", rows=(2, 8))

    assert (found.rows, found.values[:, 0].tolist()) == ((2, 8), [*range(2, 8)])
    assert read(tmp_path / "pump.parquet", rows=(8, 2)).rows == (8, 8)


@pytest.mark.parametrize("data", [b"", b"PAR1", b"timestamp,flow\n0,1\n", b"PAR1" + b"\0" * 99])
def test_a_file_of_other_bytes_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "pump.parquet").write_bytes(data)

    with pytest.raises(RecordingError, match=r"pump.parquet: is no Parquet file \(.+\)"):
        read(tmp_path / "pump.parquet")


def test_a_damaged_file_is_refused_or_read_as_one_with_other_content(tmp_path: Path) -> None:
    path = file(tmp_path, {"timestamp": [*range(50)], "flow": [0.5] * 50, "asset": ["a"] * 50})
    data = path.read_bytes()
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        try:
            assert len(read(path).time) == 50
        except RecordingError as error:
            assert str(error).startswith(f"{path}: ")  # noqa: PT017


def test_folders_hold_parquet_files_too_and_the_asset_is_named_by_file_or_folder(
    tmp_path: Path,
) -> None:
    (tmp_path / "p7").mkdir()
    for name in ("p7/2026-01-01.parquet", "p7/a.csv", "p8.test.parquet"):
        (tmp_path / name).touch()

    names = {path.name: asset_of(path) for path in find([tmp_path])}

    assert names == {"2026-01-01.parquet": "p7", "a.csv": "a", "p8.test.parquet": "p8"}


def test_without_pyarrow_a_parquet_file_is_69_with_what_to_install(tmp_path: Path) -> None:
    path = file(tmp_path, {"timestamp": [1], "flow": [1.0]})
    code = "import sys; sys.modules['pyarrow'] = None; from {} import main; main()"
    config = tmp_path / "plant.toml"
    config.write_text(
        '[[stream]]\nname = "s"\ntopic = "{asset}"\ntime = "t"\n[stream.sensors]\nflow = "flow"\n'
    )
    for program, words in (
        ("models.cli", ["fit", path, "--out", tmp_path / "b"]),
        ("monitor.cli", ["publish", path, "--config", config, "--stream", "s"]),
    ):
        command = [sys.executable, "-c", code.format(program), *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 69, done.stderr
        assert (
            'pump.parquet: to read .parquet: pip install "sensor-monitor[parquet]"' in done.stderr
        )
        assert "Traceback" not in done.stderr
