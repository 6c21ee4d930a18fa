import resource
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from models.frame import SECOND, Framer, Frames
from models.recording import find, iso, read, tracks_of
from monitor import dayfiles
from monitor import recorder as module
from monitor.config import SensorConfig
from monitor.dayfiles import DayFiles, day_of
from monitor.errors import CannotWrite, ConfigError
from monitor.reading import Message, MessageOutcome
from monitor.recorder import Recorder
from monitor.stream import Stream
from tests.monitor.machines import TODAY, detector, few, message, stream

MIDNIGHT = TODAY // (86_400 * SECOND) * 86_400 * SECOND
NOON = (MIDNIGHT - TODAY) / SECOND + 43_200  # seconds from TODAY, a whole number
DAY, NEXT = day_of(MIDNIGHT), day_of(MIDNIGHT + 86_400 * SECOND)
XY = {"x": SensorConfig(path="x"), "y": SensorConfig(path="y")}


def recorded(folder: Path, of: Stream, batches: Sequence[Sequence[Message]]) -> Recorder:
    """A recorder that has taken batches, each as of its first arrival, and ended."""
    recorder = Recorder(of, DayFiles(folder / of.name, of.sensors.names))
    for batch in batches:
        recorder.take(batch, batch[0].arrival)
    recorder.finish()
    return recorder


def ignored(sensor: int, reason: str, count: int) -> None:
    pass


def lines(folder: Path, asset: str = "p1", day: str = DAY) -> list[str]:
    return (folder / "pumps" / asset / f"{day}.csv").read_text().splitlines()


@st.composite
def arrivals(draw: st.DrawFn) -> list[list[Message]]:
    """Messages of two assets, some sent twice, delayed for up to twice the lateness, in batches."""
    tenths = st.integers(0, 300)
    sent = draw(
        st.lists(
            st.tuples(
                tenths,
                st.integers(0, 60),
                st.sampled_from(["p1", "p2"]),
                st.dictionaries(st.sampled_from("xy"), st.integers(0, 3), min_size=1),
            ),
            min_size=1,
            max_size=25,
        )
    )
    twice = draw(st.lists(st.sampled_from(sent), max_size=5))
    found = [
        (at + delay, message(NOON + at / 10, values, asset))
        for at, delay, asset, values in [*sent, *twice]
    ]
    found.sort(key=lambda pair: pair[0])
    batches: list[list[Message]] = [[]]
    for tenth, one in found:
        if batches[-1] and draw(st.booleans()):
            batches.append([])
        arrival = TODAY + round((NOON + tenth / 10) * SECOND)
        batches[-1].append(Message(one.topic, one.payload, arrival, one.retained))
    return batches


@few
@given(arrivals(), st.sampled_from([SECOND // 2, SECOND, 5 * SECOND]))
def test_frames_made_from_the_recording_are_the_daemons_own(
    batches: list[list[Message]], period: int
) -> None:
    one = detector(["x", "y"], window=3, period=period, max_hold=2)
    live = stream(one, lateness=3.0)
    framer = Framer(one.grid, 2, 3 * SECOND)
    parts: list[Frames] = []
    for batch in batches:
        found, _ = live.reader.read(batch, ignored)
        rows = found.asset, found.time, found.values
        parts.append(framer.step(*rows, batch[0].arrival, found.arrival)[0])
    parts.append(framer.finish())
    with TemporaryDirectory() as folder:
        recorded(Path(folder), stream(one, lateness=3.0), batches)
        tracks = tracks_of([read(path) for path in find([Path(folder)])], one.grid)
    assert {track.asset for track in tracks} == set(live.assets.names)
    for track in tracks:
        index = live.assets.find(track.asset)
        for name in ("tick", "values", "age", "coverage", "run"):
            own = np.concatenate([getattr(part, name)[part.asset == index] for part in parts])
            np.testing.assert_array_equal(getattr(track.frames, name), own, err_msg=name)


@few
@given(arrivals())
def test_every_message_has_one_outcome_and_every_reading_in_time_is_in_the_file(
    batches: list[list[Message]],
) -> None:
    of = stream(sensors=XY, lateness=7.0)  # more than any delay: nothing is late
    with TemporaryDirectory() as folder:
        recorded(Path(folder), of, batches)
        files = [read(path) for path in find([Path(folder)])]
    books, sent = of.books, [one for batch in batches for one in batch]
    assert books.received == books.outcomes.sum() == len(sent)
    reader = stream(sensors=XY).reader
    found, _ = reader.read(sent, ignored)
    for file in files:
        index = reader.assets.find(file.assets[0])
        mine = found.asset == index
        assert file.time.tolist() == sorted(set(found.time[mine].tolist()))
        for at, row in zip(file.time, file.values, strict=True):
            values = found.values[mine & (found.time == at)]
            np.testing.assert_array_equal(row, np.fmax.reduce(values, axis=0))


def test_a_file_holds_times_and_values_exactly_and_nothing_where_nothing_was_read(
    tmp_path: Path,
) -> None:
    sent = [message(NOON, {"x": 0.1 + 0.2}), message(NOON + 0.25, {"x": -1e-300, "y": 7})]
    recorded(tmp_path, stream(sensors=XY), [sent])
    start = MIDNIGHT + 43_200 * SECOND
    assert lines(tmp_path) == [
        "timestamp,x,y",
        f"{iso(start)},0.30000000000000004,",
        f"{iso(start + SECOND // 4)},-1e-300,7.0",
    ]


def test_sensors_with_topics_of_their_own_share_a_row(tmp_path: Path) -> None:
    of = stream(sensors=XY, topic="plant/{line}/{asset}/{sensor}", value="v")
    sent = [message(NOON, {"v": 1}), message(NOON, {"v": 2})]
    topics = ["plant/a/p1/x", "plant/a/p1/y"]
    recorded(
        tmp_path,
        of,
        [[Message(t, m.payload, m.arrival, False) for t, m in zip(topics, sent, strict=True)]],
    )
    assert lines(tmp_path)[1:] == [f"{iso(MIDNIGHT + 43_200 * SECOND)},1.0,2.0"]


def test_a_reading_is_in_the_file_of_its_own_utc_day(tmp_path: Path) -> None:
    before, after = NOON + 43_199.5, NOON + 43_200
    recorded(tmp_path, stream(sensors=XY), [[message(after, {"x": 2}), message(before, {"x": 1})]])
    assert lines(tmp_path)[1:] == [f"{iso(MIDNIGHT + 86_399 * SECOND + SECOND // 2)},1.0,"]
    tomorrow = MIDNIGHT + 86_400 * SECOND
    assert lines(tmp_path, day=day_of(tomorrow))[1:] == [f"{iso(tomorrow)},2.0,"]


def test_a_row_is_written_once_nothing_can_come_before_it_any_more(tmp_path: Path) -> None:
    of = stream(sensors=XY, lateness=2.0)
    recorder = Recorder(of, DayFiles(tmp_path / "pumps", of.sensors.names))
    sent = [message(NOON + second, {"x": second}) for second in range(3)]
    for one in sent:
        recorder.take([one], one.arrival)
    assert recorder.files.rows == 0
    recorder.take([], sent[-1].arrival + 4 * SECOND)  # silence closes the tick as well
    assert recorder.files.rows == 3


def test_a_restart_goes_on_in_the_days_file_and_takes_nothing_twice(tmp_path: Path) -> None:
    sent = [message(NOON + second, {"x": second}) for second in range(6)]
    recorded(tmp_path, stream(sensors=XY), [sent[:4]])
    again = recorded(tmp_path, stream(sensors=XY), [sent[2:]])
    assert [line.split(",")[1] for line in lines(tmp_path)] == ["x", *(f"{n}.0" for n in range(6))]
    assert again.stream.books.outcomes[:7].tolist() == [2, 0, 0, 0, 0, 0, 2]


@pytest.mark.parametrize("kept", ["all", "a line", "the header", "half a header", "nothing"])
def test_a_line_that_a_kill_has_torn_is_cut_off(kept: str, tmp_path: Path) -> None:
    sent = [message(NOON + second, {"x": second, "y": 1}) for second in range(4)]
    recorded(tmp_path, stream(sensors=XY), [sent])
    path = tmp_path / "pumps" / "p1" / f"{DAY}.csv"
    whole = path.read_bytes()
    header, first, *_ = whole.splitlines(keepends=True)
    path.write_bytes(
        {
            "all": whole[:-3],
            "a line": header + first + b"2",
            "the header": header + first[:9],
            "half a header": header[:5],
            "nothing": b"",
        }[kept]
    )
    recorded(tmp_path, stream(sensors=XY), [sent])
    assert path.read_bytes() == whole


def test_a_torn_line_may_be_longer_than_what_is_read_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dayfiles, "TAIL", 8)
    test_a_line_that_a_kill_has_torn_is_cut_off("all", tmp_path)


@pytest.mark.parametrize("day", [DAY, "2019-12-31"])
def test_a_folder_with_a_file_of_other_columns_is_refused(day: str, tmp_path: Path) -> None:
    recorded(tmp_path, stream(sensors=XY), [[message(NOON, {"x": 1})]])
    path = tmp_path / "pumps" / "p1" / f"{DAY}.csv"
    path.rename(path.with_stem(day))
    before = lines(tmp_path, day=day)
    with pytest.raises(CannotWrite, match=rf"{day}.*begins with 'timestamp,x.*wanted .*,x: move"):
        DayFiles(tmp_path / "pumps", ("x",)).check(DAY)
    assert lines(tmp_path, day=day) == before


@pytest.mark.parametrize("kept", ["whole", "torn", "empty"])
def test_files_of_other_days_are_only_looked_at(kept: str, tmp_path: Path) -> None:
    recorded(tmp_path, stream(sensors=XY), [[message(NOON, {"x": 1})]])
    path = tmp_path / "pumps" / "p1" / f"{DAY}.csv"
    path.write_bytes({"whole": path.read_bytes(), "torn": b"timest", "empty": b""}[kept])
    before = path.read_bytes()
    DayFiles(tmp_path / "pumps", ("x", "y")).check("2026-01-01")
    assert path.read_bytes() == before


def test_readings_of_a_day_whose_file_is_not_ours_are_late_with_one_warning(
    tmp_path: Path,
) -> None:
    recorded(tmp_path, stream(sensors=XY), [[message(NOON, {"x": 1})]])
    before, tomorrow = lines(tmp_path), NOON + 86_400
    of = stream(sensors={"x": SensorConfig(path="x")})
    with capture_logs() as said:
        recorded(
            tmp_path,
            of,
            [
                [message(NOON + 1, {"x": 1}), message(tomorrow, {"x": 2})],
                [message(NOON + 2, {"x": 1}), message(NOON + 3, {"x": 1}, "p2")],
                [message(tomorrow + 1, {"x": 3}), message(NOON + 4, {"x": 1})],
            ],
        )
    assert lines(tmp_path) == before
    assert [line.split(",")[1] for line in lines(tmp_path, day=NEXT)] == ["x", "2.0", "3.0"]
    assert of.books.outcomes[MessageOutcome.LATE] == 3
    assert of.books.rejected == {(0, "late"): 3}
    (warning,) = said
    assert "begins with 'timestamp,x" in warning["why"]


def test_of_frames_over_a_minute_only_the_latest_stragglers_are_lost(tmp_path: Path) -> None:
    of = stream(detector(["x", "y"], period=600 * SECOND), lateness=5.0)
    sent = [(0, 0, "x"), (120, 120, "x"), (100, 121, "y"), (10, 125, "y")]
    batches = [
        [replace(message(NOON + at, {sensor: 1}), arrival=TODAY + round((NOON + now) * SECOND))]
        for at, now, sensor in sent
    ]
    recorded(tmp_path, of, batches)
    assert of.books.outcomes[[MessageOutcome.ACCEPTED, MessageOutcome.LATE]].tolist() == [3, 1]


@pytest.mark.parametrize("name", ["label", "asset", "timestamp", "changepoint", " x"])
def test_a_sensor_that_a_recording_would_take_for_something_else_is_refused(
    name: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=f"sensor '{name}'"):
        DayFiles(tmp_path / "pumps", ("y", name))


@pytest.mark.parametrize("asset", [".", ".."])
def test_no_assets_name_leads_out_of_its_folder(asset: str, tmp_path: Path) -> None:
    recorded(tmp_path, stream(sensors=XY), [[message(NOON, {"x": 1}, asset)]])
    (file,) = find([tmp_path])
    assert file.resolve().parents[1] == (tmp_path / "pumps").resolve()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    files = DayFiles(tmp_path / "pumps", ("x",))
    (tmp_path / "pumps").write_bytes(b"")
    with pytest.raises(CannotWrite, match=r"pumps/p1/.*Not a directory"):
        files.append("p1", [(TODAY, (1.0,))])


def test_a_disk_that_is_full_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    files = DayFiles(tmp_path / "pumps", ("x",))
    files.append("p1", [(TODAY, (1.0,))])
    (path,) = tmp_path.rglob("*.csv")
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(CannotWrite, match="File too large"):
            files.append("p1", [(TODAY + second * SECOND, (1.0,)) for second in range(1, 100)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before


def test_what_waits_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 10)
    of = stream(sensors=XY, lateness=3600.0)
    recorder = Recorder(of, DayFiles(tmp_path / "pumps", of.sensors.names))
    sent = [message(NOON + second, {"x": second}) for second in range(100)]
    for one in sent:
        recorder.take([one], one.arrival)
    assert recorder.files.rows >= 94
    recorder.take([message(NOON, {"x": 5})], sent[-1].arrival)
    recorder.finish()
    times = read(next(tmp_path.rglob("*.csv"))).time
    assert len(times) == 100
    assert (np.diff(times) > 0).all()
    assert of.books.outcomes[:7].tolist() == [100, 0, 0, 0, 0, 0, 1]
