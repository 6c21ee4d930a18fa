import gzip
import math
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from models.frame import SECOND, Grid
from models.recording import (
    LATEST,
    RecordingError,
    asset_of,
    find,
    iso,
    read,
    timestamp_ns,
    tracks_of,
    usual_period,
)

T = 1_767_225_600 * SECOND  # 2026-01-01T00:00:00Z


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-01-01T00:00:00Z", T),
        ("2026-01-01 00:00:00Z", T),
        ("2026-01-01T00:00Z", T),
        ("20260101T000000Z", T),
        ("2026-01-01T01:00:00+01:00", T),
        ("2025-12-31T18:30:00-05:30", T),
        (" 2026-01-01T00:00:00Z ", T),
        ("2026-01-01T00:00:00.5Z", T + SECOND // 2),
        ("2026-01-01T00:00:00,5Z", T + SECOND // 2),
        ("2026-01-01T00:00:00.000001Z", T + 1000),
        ("2026-01-01T00:00:00.123456789Z", T + 123_456_789),
        ("2026-01-01T00:00:00.1234567899Z", T + 123_456_789),
        ("2026-01-01T01:00:00.123456789+01:00", T + 123_456_789),
        ("20260101T000000.25-0000", T + SECOND // 4),
        ("1767225600", T),
        ("1767225600.0", T),
        ("1767225600.000000001", T + 1),
        ("1767225600.1234567899", T + 123_456_789),
        ("1767225600.5e0", T + SECOND // 2),
        ("1767225600e+00", T),
        ("0", 0),
        ("1970-01-01T00:00:00Z", 0),
        ("2099-12-31T23:59:59.999999999Z", LATEST - 1),
        ("4102444799.999999999", LATEST - 1),
    ],
)
def test_a_timestamp_is_read_to_the_nanosecond(text: str, time: int) -> None:
    assert timestamp_ns(text) == time


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-01T00:00:00",
        "2026-01-01",
        "2026-01-01T00:00:00.5",
        "01.01.2026 00:00:00",
        "2026-01-01T24:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-01-01T00:00:60Z",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+01:00",
        "2100-01-01T00:00:00Z",
        "4102444800",
        "-1",
        "-0.5",
        "1767225600000",
        "1_767_225_600",
        "١٧٦٧٢٢٥٦٠٠",
        "٢٠٢٦-01-01T00:00:00Z",
        "1767225600.",
        "1767225600e",
        "1767225600e3",
        "inf",
        "nan",
        "0x10",
        "2026-01-01T00:00:00Z.5",
        "9" * 400,
    ],
)
def test_any_other_timestamp_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        timestamp_ns(text)


@st.composite
def nearly_usual(draw: st.DrawFn) -> str:
    """A timestamp of the commonest form with up to three characters changed, put in or left out."""
    text = [*draw(st.datetimes(datetime(1970, 1, 1), datetime(2099, 12, 31))).isoformat(), "Z"]  # noqa: DTZ001
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        text[at : at + draw(st.integers(0, 1))] = draw(st.text("0123456789.,-:TZW +", max_size=1))
    return "".join(text)


@given(nearly_usual())
@example("2024-02-29T23:59:59.Z")
def test_the_commonest_form_is_read_fast_and_not_otherwise(text: str) -> None:
    def read(text: str) -> int | None:
        try:
            return timestamp_ns(text)
        except ValueError:
            return None

    # With a space before it, a timestamp is not of that form.
    assert read(text) == read(f" {text}")


@given(st.integers(0, LATEST - 1))
def test_what_iso_writes_is_read_back_to_the_nanosecond(time: int) -> None:
    assert timestamp_ns(iso(time)) == time
    assert timestamp_ns(f"{time // SECOND}.{time % SECOND:09d}") == time


@given(
    st.datetimes(datetime(1970, 1, 2), datetime(2099, 12, 30)),  # noqa: DTZ001
    st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
def test_isoformat_of_any_zone_is_read_exactly(naive: datetime, zone: timezone) -> None:
    moment = naive.replace(tzinfo=zone)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)

    assert timestamp_ns(moment.isoformat()) == since // timedelta(microseconds=1) * 1000


def file(folder: Path, text: str, name: str = "pump.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


HEAD = "timestamp,flow,heat\n"


def test_a_recording_is_its_columns_rows_and_hash(tmp_path: Path) -> None:
    path = file(tmp_path, HEAD + "2026-01-01T00:00:00Z,1,2.5\n1767225601.5,-3e2,0\n")

    found = read(path)

    assert found.sensors == ("flow", "heat")
    assert found.assets == ("pump",)
    assert found.time.tolist() == [T, T + SECOND * 3 // 2]
    assert found.values.tolist() == [[1, 2.5], [-300, 0]]
    assert found.stamps == ("2026-01-01T00:00:00Z", "1767225601.5")
    assert (found.label, found.rows) == (None, (0, 2))
    assert len(found.sha256) == 64


@pytest.mark.parametrize("cell", ["", " ", "nan", "NaN", "null", "None", "NA", "n/a", "-nan"])
def test_an_empty_cell_is_a_missing_reading(tmp_path: Path, cell: str) -> None:
    found = read(file(tmp_path, HEAD + f"0,{cell},1\n"))

    assert np.isnan(found.values).tolist() == [[True, False]]


@pytest.mark.parametrize("cell", ["on", "1_000", "١٢", "1,5", "0x10", "1e", "--1", "12 V", "1.2.3"])
def test_text_in_a_sensors_column_is_refused_with_its_place(tmp_path: Path, cell: str) -> None:
    path = file(tmp_path, HEAD + f'0,1,1\n\n60,"{cell}",1\n')

    with pytest.raises(RecordingError, match=r"pump.csv: line 4, column 'flow': .* is no number"):
        read(path)


@pytest.mark.parametrize("cell", ["inf", "-Infinity", "1e999"])
def test_infinity_is_no_reading(tmp_path: Path, cell: str) -> None:
    with pytest.raises(RecordingError, match="line 2, column 'heat': infinity is no reading"):
        read(file(tmp_path, HEAD + f"0,1,{cell}\n"))


def test_a_column_of_text_is_left_out_when_ignored_and_changepoint_always(tmp_path: Path) -> None:
    path = file(tmp_path, "timestamp,mode,flow,changepoint\n0,idle,1,maybe\n")

    assert read(path, ignore=["mode"]).sensors == ("flow",)
    with pytest.raises(RecordingError, match="left out with --ignore mode"):
        read(path)


def test_sensors_are_taken_in_the_order_asked_for(tmp_path: Path) -> None:
    path = file(tmp_path, "heat,timestamp,mode,flow\n2,0,idle,1\n")

    found = read(path, sensors=["flow", "heat"])

    assert (found.sensors, found.values.tolist()) == (("flow", "heat"), [[1, 2]])


@pytest.mark.parametrize("name", ["speed", "timestamp", "label", "asset", ""])
def test_a_sensor_that_is_not_there_is_refused(tmp_path: Path, name: str) -> None:
    path = file(tmp_path, "timestamp,flow,label,asset\n0,1,0,p7\n")

    with pytest.raises(RecordingError, match=f"has no sensor '{name}'"):
        read(path, sensors=["flow", name])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"line 1: has no column 'timestamp', found \[\]"),
        ("\n\n", "line 1: has no column 'timestamp'"),
        ("time,flow\n0,1\n", r"line 1: has no column 'timestamp', found \['time', 'flow'\]"),
        ("timestamp\n0\n", "line 1: has no sensor column"),
        ("timestamp,label,asset\n0,0,a\n", "line 1: has no sensor column"),
        ("timestamp,flow,heat,flow\n0,1,2,3\n", "line 1: column 'flow' stands twice"),
        ("timestamp,flow, flow\n0,1,2\n", "line 1: column 'flow' stands twice"),
        (",timestamp,flow\n0,0,1\n", "line 1: column 1 has no name"),
        (HEAD + "0,1,2\n0,1\n", "line 3: has 2 columns; wanted 3"),
        (HEAD + "0,1,2,3\n", "line 2: has 4 columns; wanted 3"),
        (HEAD + "yesterday,1,2\n", "line 2, timestamp 'yesterday': wanted ISO 8601"),
        (HEAD + "2026-01-01T00:00:00,1,2\n", "line 2, .* has no offset"),
        ("timestamp,flow,label\n0,1,2\n", "line 2, label '2': wanted 0 or 1"),
        ("timestamp,flow,label\n0,1,yes\n", "line 2, label 'yes': wanted 0 or 1"),
        ("timestamp,flow,label\n0,1,nan\n", "line 2, label 'nan': wanted 0 or 1"),
        ("timestamp,flow,label\n0,1,0.5\n", "line 2, label '0.5': wanted 0 or 1"),
        ("timestamp,flow,label\n0,1,\u0661\n", "line 2, label '\u0661': wanted 0 or 1"),
        ("timestamp,flow,asset\n0,1, \n", "line 2, asset: is empty"),
        (HEAD + '0,"' + "1" * 200_000 + '",2\n', "is no UTF-8 CSV file"),
        (HEAD + "0," + "x" * 9000 + ",2\n", "line 2, column 'flow': 'x{40}…' is no number"),
        (HEAD + "x" * 9000 + ",1,2\n", "line 2, timestamp 'x{40}…': wanted ISO 8601"),
    ],
)
def test_a_file_that_is_no_recording_is_refused_with_the_place(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(RecordingError, match=f"pump.csv: {message}"):
        read(file(tmp_path, text))


def test_a_column_without_a_name_may_be_ignored(tmp_path: Path) -> None:
    path = file(tmp_path, ",timestamp,flow\n0,0,1\n")

    assert read(path, ignore=[""]).sensors == ("flow",)
    assert read(path, sensors=["flow"]).sensors == ("flow",)


def test_labels_are_0_1_or_empty(tmp_path: Path) -> None:
    path = file(tmp_path, "timestamp,flow,label\n0,1,0\n1,1,1\n2,1,\n3,1,1.0\n4,1, \n")

    label = read(path).label

    assert label is not None
    assert label.tolist() == [0, 1, 0, 1, 0]


def test_byte_order_mark_windows_line_ends_quotes_and_blank_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "pump.csv"
    text = '\ufefftimestamp,"flow",heat\r\n"0",1,2\r\n\r\n1,3,4'
    path.write_bytes(text.encode())

    assert read(path).values.tolist() == [[1, 2], [3, 4]]


def test_a_line_separator_of_unicode_does_not_end_a_line(tmp_path: Path) -> None:
    path = file(tmp_path, "timestamp,flow,note\n0,1,a\u2028b\n1,2,c\x0bd\n")

    assert read(path, ignore=["note"]).values.tolist() == [[1], [2]]


def test_a_gz_file_is_read_and_hashed_as_it_lies(tmp_path: Path) -> None:
    path = tmp_path / "pump.csv.gz"
    path.write_bytes(gzip.compress((HEAD + "0,1,2\n").encode()))

    found = read(path)

    assert (found.assets, found.values.tolist()) == (("pump",), [[1, 2]])


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("pump.csv.gz", b"timestamp,flow\n0,1\n"),
        ("pump.csv.gz", gzip.compress(b"timestamp,flow\n0,1\n" * 99)[:-20]),
        ("pump.csv.gz", gzip.compress(b"x" * 99)[:12] + b"\xff" * 30),
        ("pump.csv", b"timestamp,flow\n0,\xff\xfe\n"),
        ("pump.csv", "timestamp,flow\n0,1\n".encode("utf-16")),
    ],
)
def test_a_file_of_other_bytes_is_refused(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)

    with pytest.raises(RecordingError, match=f"{name}: is no UTF-8 CSV file"):
        read(tmp_path / name)


@pytest.mark.parametrize(
    ("path", "asset"),
    [
        ("pumps/p7.csv", "p7"),
        ("pumps/p7.csv.gz", "p7"),
        ("pumps/p7.train.csv", "p7"),
        ("pumps/p7.test.csv.gz", "p7"),
        ("pumps/line.1.csv", "line.1"),
        ("pumps/2026-01-01.csv", "pumps"),
        ("pumps/2026-01-01.csv.gz", "pumps"),
        ("pumps/2026-01.csv", "2026-01"),
        ("pumps/p7", "p7"),
    ],
)
def test_the_asset_is_named_by_file_or_folder(path: str, asset: str) -> None:
    assert asset_of(Path(path)) == asset


def test_a_column_of_assets_names_them(tmp_path: Path) -> None:
    path = file(tmp_path, "timestamp,asset,flow\n0,p7,1\n0, p8 ,2\n1,p7,3\n")

    found = read(path)

    assert (found.assets, found.asset.tolist()) == (("p7", "p8"), [0, 1, 0])


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        ((None, None), (0, 6)),
        ((2, None), (2, 6)),
        ((None, 3), (0, 3)),
        ((2, 4), (2, 4)),
        ((4, 99), (4, 6)),
        ((5, 2), (5, 5)),
    ],
)
def test_rows_are_a_half_open_range_of_data_rows(
    tmp_path: Path, rows: tuple[int | None, int | None], wanted: tuple[int, int]
) -> None:
    path = file(tmp_path, HEAD + "".join(f"{n},{n},{n}\n" for n in range(6)))

    found = read(path, rows=rows)

    assert found.rows == wanted
    assert found.values[:, 0].tolist() == list(range(*wanted))


def test_folders_are_searched_for_recordings_in_order(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("b/2.csv", "b/1.csv.gz", "a.csv", "notes.txt"):
        (tmp_path / name).touch()

    assert find([tmp_path]) == [tmp_path / "a.csv", tmp_path / "b/1.csv.gz", tmp_path / "b/2.csv"]
    with pytest.raises(FileNotFoundError, match=r"nowhere: no such file or folder"):
        find([tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"empty: holds no \.csv"):
        find([tmp_path / "empty"])


def test_the_usual_period_is_the_median_step_of_an_asset(tmp_path: Path) -> None:
    path = file(
        tmp_path, "timestamp,asset,flow\n0,a,1\n1,b,1\n10,a,1\n11,b,1\n20,a,1\n20,a,2\n95,b,1\n"
    )

    assert usual_period([read(path)]) == 10 * SECOND
    with pytest.raises(RecordingError, match="no period"):
        usual_period([read(path, rows=(0, 2))])


def test_tracks_know_the_row_and_label_of_each_frame(tmp_path: Path) -> None:
    path = file(
        tmp_path,
        "timestamp,asset,flow,label\n"
        "10,a,1,0\n10,b,9,0\n11.2,a,2,1\n11.1,a,3,0\n12,a,,1\n14,a,4,0\n15,b,8,1\n",
    )

    first, second = tracks_of([read(path)], Grid(SECOND, 2, max_hold=3))

    assert (first.asset, second.asset) == ("a", "b")
    assert first.frames.tick.tolist() == [10, 11, 12, 13, 14]
    assert first.frames.values[:, 0].tolist() == [1, 2, 2, 2, 4]
    assert first.row.tolist() == [0, 2, -1, -1, 5]
    # The frame's label is the largest of its rows; a held frame is what the one before it was.
    assert first.label.tolist() == [0, 1, 1, 1, 0]
    assert second.row.tolist() == [1, -1, -1, -1, 6]
    assert second.label.tolist() == [0, 0, 0, 0, 1]


def test_a_row_too_late_for_its_tick_marks_no_other_frame(tmp_path: Path) -> None:
    path = file(tmp_path, "timestamp,flow,label\n10,1,0\n30,2,0\n31,3,0\n20,9,1\n11,9,1\n")

    (track,) = tracks_of([read(path)], Grid(SECOND, 2, max_hold=1))

    assert track.frames.tick.tolist() == [10, 11, 30, 31]
    assert track.row.tolist()[2:] == [1, 2]
    assert track.label.tolist()[2:] == [0, 0]


def test_no_frame_is_made_of_rows_without_a_reading(tmp_path: Path) -> None:
    (track,) = tracks_of([read(file(tmp_path, HEAD + "0,,\n1,,\n"))], Grid(SECOND, 2))

    assert len(track.frames) == len(track.label) == len(track.row) == 0


def test_a_missing_cell_is_held_like_a_missing_row(tmp_path: Path) -> None:
    (track,) = tracks_of([read(file(tmp_path, HEAD + "0,1,5\n1,2,\n2,3,7\n"))], Grid(SECOND, 2))

    assert track.frames.values.tolist() == [[1, 5], [2, 5], [3, 7]]
    assert not math.isnan(track.frames.values.sum())
