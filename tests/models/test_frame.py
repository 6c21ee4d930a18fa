import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.frame import (
    SECOND,
    Arrival,
    Coverage,
    Framer,
    Frames,
    Grid,
    frames_of,
    rounds,
)
from models.manifest import LONGEST_PERIOD
from models.recording import EARLIEST, LATEST
from models.running import Condition
from tests.models.sequential import Frame, Row, SequentialFramer

TODAY = 1_790_000_000 * SECOND
SENSORS = 2
periods = st.sampled_from([4, 7, 250_000_000, SECOND, SECOND + 1, 10 * SECOND - 1])
readings = st.sampled_from([1.0, 2.0, 3.0, math.nan])

# What a condition says of a frame, None where a missing value decides.
Runs = Callable[[Sequence[float | None]], bool | None]


def always(values: Sequence[float | None]) -> bool | None:
    return True


def first_over_1(values: Sequence[float | None]) -> bool | None:
    return None if values[0] is None else values[0] > 1


def first_under_3_and_second_over_1(values: Sequence[float | None]) -> bool | None:
    one = None if values[0] is None else values[0] < 3
    other = None if values[1] is None else values[1] > 1
    return False if False in (one, other) else None if None in (one, other) else True


NAMES = ("x", "y")
CONDITIONS: list[tuple[Condition | None, Runs]] = [
    (None, always),
    (Condition("x > 1", NAMES), first_over_1),
    (Condition("x < 3 and y > 1", NAMES), first_under_3_and_second_over_1),
]


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    period = draw(periods)
    running, _ = draw(st.sampled_from(CONDITIONS))
    return Grid(
        period,
        draw(st.integers(2, 6)),
        draw(st.integers(0, 3)),
        draw(st.sampled_from([0.0, 0.2, 0.25, 1.0])),
        running,
        draw(st.integers(0, 6)) * period // 2 if running else 0,
    )


@st.composite
def arrivals(draw: st.DrawFn, grid: Grid, assets: int = 3, disorder: int = 10) -> list[Row]:
    """Rows in their order of arrival, times mostly ascending, many of them equal."""
    quarter = max(1, grid.period // 4)
    start = draw(st.sampled_from([100 * grid.period, TODAY]))
    rows: list[Row] = []
    for _ in range(draw(st.integers(1, 30))):
        start += draw(st.sampled_from([0, 1, 2, 3, 4, 9, 30])) * quarter
        time = start - draw(st.integers(0, disorder)) * quarter
        values = draw(st.tuples(readings, readings).filter(lambda v: not all(map(math.isnan, v))))
        rows.append(Row(draw(st.integers(0, assets - 1)), time, values))
    return rows


def arrays(rows: Sequence[Row]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return (
        np.array([row.asset for row in rows], np.int64),
        np.array([row.time for row in rows], np.int64),
        np.array([row.values for row in rows], np.float64).reshape(-1, SENSORS),
    )


def listed(parts: Sequence[Frames]) -> list[Frame]:
    """Frames of several steps by asset and tick; each step must go on where the last one ended."""
    found = [
        Frame(
            int(part.asset[i]),
            int(part.tick[i]),
            tuple(None if np.isnan(value) else float(value) for value in part.values[i]),
            tuple(int(age) for age in part.age[i]),
            Coverage(part.coverage[i]),
            int(part.run[i]),
        )
        for part in parts
        for i in range(len(part))
    ]
    for asset in {frame.asset for frame in found}:
        ticks = [frame.tick for frame in found if frame.asset == asset]
        assert all(one < other for one, other in pairwise(ticks))
    return sorted(found, key=lambda frame: (frame.asset, frame.tick))


def without_age_of_gaps(frames: Sequence[Frame]) -> list[Frame]:
    return [
        frame._replace(
            age=tuple(
                -1 if value is None else age
                for value, age in zip(frame.values, frame.age, strict=True)
            )
        )
        for frame in frames
    ]


def stepped(
    framer: Framer,
    batches: Sequence[Sequence[Row]],
    nows: Sequence[int | None] | None = None,
    arrivals: Sequence[Sequence[int]] | None = None,
) -> tuple[list[Frame], list[str]]:
    """Frames and outcomes of rows given in batches."""
    parts: list[Frames] = []
    outcomes: list[str] = []
    for n, batch in enumerate(batches):
        arrival = np.array(arrivals[n], np.int64) if arrivals else None
        frames, intake = framer.step(*arrays(batch), nows[n] if nows else None, arrival)
        parts.append(frames)
        outcomes += [Arrival(code).name.lower() for code in intake.outcome]
    parts.append(framer.finish())
    return listed(parts), outcomes


def cut(rows: Sequence[Row], edges: Sequence[int]) -> list[Sequence[Row]]:
    places = [0, *sorted(edge % (len(rows) + 1) for edge in edges), len(rows)]
    return [rows[start:end] for start, end in pairwise(places)]


@given(st.data(), grids(), st.integers(0, 6))
def test_frames_and_outcomes_are_those_of_a_sequential_reader(
    data: st.DataObject, grid: Grid, half_periods: int
) -> None:
    rows = data.draw(arrivals(grid))
    lateness = half_periods * grid.period // 2
    reader = SequentialFramer(grid, lateness, dict(CONDITIONS)[grid.running])
    wanted = [reader.take(row) for row in rows]
    reader.finish()

    frames, outcomes = stepped(Framer(grid, SENSORS, lateness), [rows])

    assert outcomes == wanted
    assert without_age_of_gaps(frames) == without_age_of_gaps(reader.frames(SENSORS))


@given(st.data(), grids(), st.integers(0, 6))
def test_any_split_of_the_arrivals_into_batches_gives_the_same_frames_and_outcomes(
    data: st.DataObject, grid: Grid, half_periods: int
) -> None:
    rows = data.draw(arrivals(grid))
    edges = data.draw(st.lists(st.integers(0, 40), max_size=6))
    lateness = half_periods * grid.period // 2

    assert stepped(Framer(grid, SENSORS, lateness), cut(rows, edges)) == stepped(
        Framer(grid, SENSORS, lateness), [rows]
    )


@given(st.data(), grids(), st.integers(1, 6))
def test_order_within_lateness_and_repetition_change_no_frame(
    data: st.DataObject, grid: Grid, half_periods: int
) -> None:
    lateness = half_periods * grid.period // 2
    rows = sorted(data.draw(arrivals(grid)), key=lambda row: row.time)
    repeated = rows + data.draw(st.lists(st.sampled_from(rows), max_size=10))
    delays = st.integers(0, lateness - 1)
    delayed = [(row.time + data.draw(delays), row) for row in repeated]
    shuffled = [row for _, row in sorted(delayed, key=lambda pair: pair[0])]

    in_order, _ = stepped(Framer(grid, SENSORS, lateness), [rows])
    disordered, outcomes = stepped(Framer(grid, SENSORS, lateness), [shuffled])

    assert disordered == in_order
    assert "late" not in outcomes


@given(st.data(), grids(), st.integers(0, 6))
def test_with_a_clock_frames_close_as_a_sequential_reader_with_that_clock_closes_them(
    data: st.DataObject, grid: Grid, half_periods: int
) -> None:
    lateness = half_periods * grid.period // 2
    rows = data.draw(arrivals(grid))
    batches = cut(rows, data.draw(st.lists(st.integers(0, 40), max_size=12)))
    quarters = st.integers(0, 12)
    now, nows, arrived = TODAY, list[int | None](), list[list[int]]()
    for batch in batches:
        now += data.draw(quarters) * max(1, grid.period // 4)
        nows.append(now)
        arrived.append([])
        for _ in batch:  # the first of a batch may stand for seconds
            arrived[-1].append(now)
            now += data.draw(st.integers(0, 4)) * max(1, grid.period // 4)
    reader = SequentialFramer(grid, lateness, dict(CONDITIONS)[grid.running])
    wanted: list[str] = []
    for batch, at, when in zip(batches, nows, arrived, strict=True):
        reader.advance(at or 0)
        wanted += [reader.take(*one) for one in zip(batch, when, strict=True)]
    reader.finish()

    frames, outcomes = stepped(Framer(grid, SENSORS, lateness), batches, nows, arrived)

    assert outcomes == wanted
    assert without_age_of_gaps(frames) == without_age_of_gaps(reader.frames(SENSORS))


@given(st.data(), grids())
def test_in_a_recording_of_one_asset_the_rows_own_time_as_clock_changes_nothing(
    data: st.DataObject, grid: Grid
) -> None:
    rows = data.draw(arrivals(grid, assets=1))
    newest = np.maximum.accumulate([row.time for row in rows]).tolist()

    assert stepped(Framer(grid, SENSORS), [[row] for row in rows], newest) == stepped(
        Framer(grid, SENSORS), [rows]
    )


@given(st.integers(EARLIEST, LATEST), st.integers(1, LONGEST_PERIOD))
def test_a_tick_is_half_open_for_even_and_odd_periods(time: int, period: int) -> None:
    grid = Grid(period, 2)

    tick = int(grid.tick(np.array([time]))[0])
    ended = int(grid.last_ended(np.array([time]))[0])

    assert (2 * tick - 1) * period <= 2 * time < (2 * tick + 1) * period
    assert (2 * ended + 1) * period <= 2 * time < (2 * ended + 3) * period


def simple(ticks: Sequence[int], grid: Grid) -> Frames:
    """Frames of one asset with one reading of one sensor at the middle of some ticks."""
    time = np.array(ticks) * grid.period
    values = np.array(ticks, float)[:, None]
    return frames_of(np.zeros(len(ticks), np.int64), time, values, grid)[0]


def test_a_value_is_held_for_max_hold_ticks_and_a_longer_hole_is_a_gap() -> None:
    grid = Grid(SECOND, 2, max_hold=3)

    bridged, broken = simple([10, 14, 15], grid), simple([10, 15, 16], grid)

    assert bridged.tick.tolist() == [10, 11, 12, 13, 14, 15]
    assert bridged.values[:, 0].tolist() == [10, 10, 10, 10, 14, 15]
    assert bridged.age[:, 0].tolist() == [0, 1, 2, 3, 0, 0]
    assert bridged.run.tolist() == [1, 2, 3, 4, 5, 6]
    assert broken.tick.tolist() == [10, 11, 12, 13, 15, 16]
    assert broken.run.tolist() == [1, 2, 3, 4, 1, 2]
    assert [Coverage(code).name for code in broken.coverage[-2:]] == ["GAP", "COMPLETE"]


def test_one_silent_sensor_is_held_and_then_a_gap_while_the_others_go_on() -> None:
    grid = Grid(SECOND, 2, max_hold=2)
    values = np.array([[1, 1], [2, math.nan], [3, math.nan], [4, math.nan], [5, 9]])

    frames, _ = frames_of(np.zeros(5, np.int64), np.arange(5) * SECOND, values, grid)

    np.testing.assert_array_equal(frames.values[:, 1], [1, 1, 1, math.nan, 9])
    assert frames.run.tolist() == [1, 2, 3, 0, 1]
    assert frames.coverage[3] == Coverage.GAP


@pytest.mark.parametrize(("max_held", "wanted"), [(0.2, "COMPLETE"), (0.19, "HELD")])
def test_a_window_may_hold_its_share_of_cells_longer_than_one_tick_and_no_more(
    max_held: float, wanted: str
) -> None:
    # Of the last 10 frames, 4 are held: two of them for one tick, which is jitter.
    frames = simple([0, 1, 2, 3, 6, 7, 10], Grid(SECOND, 10, 3, max_held))

    assert frames.age[-10:, 0].tolist() == [0, 0, 0, 1, 2, 0, 0, 1, 2, 0]
    assert Coverage(frames.coverage[-1]).name == wanted


def test_a_1_hz_recording_that_misses_every_20th_second_has_complete_windows() -> None:
    seconds = [second for second in range(400) if second % 20]

    frames = simple(seconds, Grid(SECOND, 64))

    assert len(frames) == 399
    assert (frames.coverage[:63] == Coverage.WARMING).all()
    assert (frames.coverage[63:] == Coverage.COMPLETE).all()


def test_the_newest_reading_of_a_tick_wins_and_of_equal_stamps_the_larger_value() -> None:
    grid = Grid(SECOND, 2)
    time = np.array([5.1, 5.3, 5.2, 5.3, 5.3]) * SECOND
    values = np.array([[9.0], [2.0], [8.0], [4.0], [3.0]])

    for order in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [3, 0, 4, 2, 1]):
        frames, _ = frames_of(
            np.zeros(5, np.int64), time.astype(np.int64)[order], values[order], grid
        )
        assert frames.values.tolist() == [[4.0]]


def test_a_tick_takes_stragglers_until_a_reading_stands_lateness_past_its_end() -> None:
    end = 5 * SECOND + SECOND // 2
    zero, one = np.zeros(1, np.int64), np.ones((1, 1))

    def late(newest: int) -> bool:
        framer = Framer(Grid(SECOND, 2), 1, lateness=2 * SECOND)
        framer.step(zero, np.array([newest]), one)
        _, intake = framer.step(zero, np.array([end - 1]), one)
        return bool(intake.outcome[0] == Arrival.LATE and intake.late.tolist() == [1])

    assert not late(end + 2 * SECOND - 1)
    assert late(end + 2 * SECOND)


def watched(
    readings: Sequence[float | tuple[float, float] | None], condition: str, settle: float = 0
) -> tuple[str, list[bool], list[int]]:
    """Coverages' first letters, idleness and run, with a row a second and windows of 2."""
    found = [(second, one) for second, one in enumerate(readings) if one is not None]
    seconds = [second for second, _ in found]
    values = np.array([np.atleast_1d(one) for _, one in found], np.float64)
    running = Condition(condition, NAMES[: values.shape[1]])
    grid = Grid(SECOND, 2, max_hold=1, running=running, settle=round(settle * SECOND))
    frames, _ = frames_of(np.zeros(len(values), np.int64), np.array(seconds) * SECOND, values, grid)
    letters = "".join(Coverage(code).name[0] for code in frames.coverage)
    return letters, frames.idle.tolist(), frames.run.tolist()


def test_no_window_reaches_into_a_frame_in_which_the_machine_does_not_run() -> None:
    coverage, idle, run = watched([9, 9, 9, 0, 0, 9, 9, 9], "x > 1")

    assert coverage == "WCCIIICC"
    assert [at for at, one in enumerate(idle) if one] == [3, 4]
    assert run == [1, 2, 3, 0, 0, 1, 2, 3]


@pytest.mark.parametrize(
    ("settle", "first"), [(0, 3), (0.1, 4), (1, 4), (1.5, 5), (2, 5), (2.1, 6)]
)
def test_a_frame_counts_once_the_machine_has_been_seen_running_for_the_settling_time(
    settle: float, first: int
) -> None:
    coverage, idle, run = watched([9, 0, 0, 9, 9, 9, 9, 9, 9], "x > 1", settle)

    assert (run.index(1, 1), idle.index(False, 1)) == (first, first)
    assert coverage.index("C", 1) == first + 1
    assert set(coverage[1 : first + 1]) == {"I"}


def test_what_settles_after_a_gap_or_at_the_beginning_is_not_idle() -> None:
    coverage, idle, run = watched([9, 9, 9, 9, None, None, 9, 9, 9, 9, 9], "x > 1", settle=2)

    # One second of the hole is held; the frame after it begins anew.
    assert coverage == "WWWCCGGGCC"
    assert run == [0, 0, 1, 2, 3, 0, 0, 1, 2, 3]
    assert not any(idle)


def test_what_is_known_not_to_run_is_idle_and_where_a_missing_value_decides_is_a_gap() -> None:
    nan = math.nan

    off, _, _ = watched([(9, 1), (9, 1), (9, 1), (0, nan), (0, nan), (0, nan)], "x > 1 and y == 1")
    blind, idle, _ = watched([(9, 1), (9, 1), (9, 1), (9, nan), (9, nan)], "x > 1 and y == 1")

    assert off == "WCCIII"
    assert blind == "WCCCG"  # a second is held
    assert not any(idle)


def test_a_held_value_holds_the_condition_too() -> None:
    assert watched([9, 9, 0, None, 0, 9, None, 9], "x > 1")[0] == "WCIIIICC"


def test_of_several_breaks_the_newest_is_the_reason() -> None:
    assert watched([9, 9, 0, None, None, 9, 9], "x > 1")[0] == "WCIIGC"
    assert watched([9, 9, None, None, 0, 9, 9], "x > 1")[0] == "WCCIIC"
    assert watched([0, 9, 9], "x > 1")[0] == "IIC"


def test_mean_and_count_of_the_decision_start_again_after_all_that_is_no_single_run() -> None:
    coverage = np.array(list(Coverage), np.uint8)
    column = np.zeros(len(coverage), np.int64)

    frames = Frames(column, column, np.empty((5, 0)), np.empty((5, 0), np.int64), coverage, column)

    broken = [one.name for one, flag in zip(Coverage, frames.broken, strict=True) if flag]
    assert broken == ["WARMING", "GAP", "IDLE"]


NOTHING = np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 1))


def test_a_frame_closes_lateness_of_now_after_the_first_reading_past_its_end() -> None:
    framer = Framer(Grid(SECOND, 2), 1, lateness=3 * SECOND)
    zero = np.zeros(1, np.int64)
    framer.step(zero, np.array([10 * SECOND]), np.ones((1, 1)), now=TODAY)
    framer.step(zero, np.array([11 * SECOND]), np.ones((1, 1)), now=TODAY + SECOND)
    framer.step(zero, np.array([11 * SECOND + 5]), np.ones((1, 1)), now=TODAY + 2 * SECOND)

    before, _ = framer.step(*NOTHING, now=TODAY + 4 * SECOND - 1)
    at, _ = framer.step(*NOTHING, now=TODAY + 4 * SECOND)

    assert (before.tick.tolist(), at.tick.tolist()) == ([], [10])


def test_in_a_batch_that_has_waited_each_reading_counts_as_of_its_own_arrival() -> None:
    framer = Framer(Grid(SECOND, 2), 1, lateness=3 * SECOND)
    time = np.array([10 * SECOND, 11 * SECOND, 11 * SECOND + 5])
    arrival = np.array([TODAY, TODAY + SECOND, TODAY + 2 * SECOND])
    framer.step(np.zeros(3, np.int64), time, np.ones((3, 1)), TODAY, arrival)

    closed = {
        now: framer.step(*NOTHING, now=TODAY + now)[0].tick.tolist()
        for now in (4 * SECOND - 1, 4 * SECOND, 6 * SECOND - 1, 6 * SECOND)
    }

    assert [*closed.values()] == [[], [10], [], [11]]


def test_a_straggler_does_not_keep_its_tick_open_for_longer() -> None:
    framer = Framer(Grid(SECOND, 2), 1, lateness=10 * SECOND)
    zero = np.zeros(1, np.int64)
    for time, now in ((4, 4), (6, 6), (5, 9), (3, 11)):
        framer.step(zero, np.array([time * SECOND]), np.ones((1, 1)), now=TODAY + now * SECOND)

    closed = {
        now: framer.step(*NOTHING, now=TODAY + now * SECOND)[0].tick.tolist()
        for now in (13, 14, 15, 16, 21, 22)
    }

    assert closed == {13: [], 14: [3], 15: [], 16: [4, 5], 21: [], 22: [6]}


def test_silence_closes_all_frames_of_an_asset_after_a_period_and_lateness_of_now() -> None:
    framer = Framer(Grid(SECOND, 2), 1, lateness=2 * SECOND)
    asset, time = np.array([0, 1]), np.array([10 * SECOND, 10 * SECOND])
    framer.step(asset, time, np.ones((2, 1)), now=TODAY)
    framer.step(asset[1:], time[1:] + 1, np.ones((1, 1)), now=TODAY + 1)

    before, _ = framer.step(*NOTHING, now=TODAY + 3 * SECOND - 1)
    first, _ = framer.step(*NOTHING, now=TODAY + 3 * SECOND)
    second, _ = framer.step(*NOTHING, now=TODAY + 3 * SECOND + 1)

    assert (len(before), first.asset.tolist(), second.asset.tolist()) == (0, [0], [1])


def test_a_repeated_row_is_a_duplicate_and_one_with_something_new_is_not() -> None:
    framer = Framer(Grid(SECOND, 2), 2)
    time = np.full(4, 10 * SECOND)
    values = np.array([[1, math.nan], [1, math.nan], [1, 2], [0, 2]])

    _, intake = framer.step(np.zeros(4, np.int64), time, values)

    names = [Arrival(code).name for code in intake.outcome]
    assert names == ["ACCEPTED", "DUPLICATE", "ACCEPTED", "ACCEPTED"]
    assert intake.duplicate.tolist() == [2, 1]


def test_a_stamp_far_in_the_future_brings_no_flood_of_frames() -> None:
    frames = simple([1, 2, 10**9], Grid(SECOND, 4, max_hold=3))

    assert frames.tick.tolist() == [1, 2, 3, 4, 5, 10**9]
    assert frames.coverage[-1] == Coverage.GAP


def test_memory_per_asset_is_constant() -> None:
    framer = Framer(Grid(SECOND, 8), 3)

    def held() -> int:
        parts = (*vars(framer).values(), *vars(framer.ticks).values())
        return sum(part.nbytes for part in parts if isinstance(part, np.ndarray))

    def feed(start: int, stop: int) -> None:
        for second in range(start, stop):
            framer.step(np.arange(4), np.full(4, second * SECOND), np.ones((4, 3)))

    feed(0, 20)
    size = held()
    feed(20, 500)
    assert held() == size


@given(st.lists(st.integers(0, 5)).map(sorted))
def test_rounds_hold_each_asset_once_and_all_rows_in_order(assets: list[int]) -> None:
    turns = [turn.tolist() for turn in rounds(np.array(assets, np.int64))]

    assert sorted(row for turn in turns for row in turn) == list(range(len(assets)))
    for turn in turns:
        assert len({assets[row] for row in turn}) == len(turn)
    for asset in set(assets):
        rows = [row for turn in turns for row in turn if assets[row] == asset]
        assert rows == sorted(rows)
