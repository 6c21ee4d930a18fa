from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.exclusion import read_stretches
from models.frame import SECOND, Coverage, Frames, Grid, frames_of
from models.manifest import DataSpec
from models.plan import plan
from models.recording import Recording, RecordingError, Track, tracks_of
from models.selection import Selection, Stretch
from tests.models.plant import START, fitted, recording, request, values

GRID = Grid(SECOND, 3, max_hold=2)


def at(second: float) -> int:
    return START + round(second * SECOND)


def out(start: float, end: float, asset: str = "", why: str = "") -> Stretch:
    return Stretch(at(start), at(end), asset, why)


def fleet(rows: int = 20) -> Recording:
    """Two machines, a and b, that take turns, each a row every two seconds."""
    numbers = np.arange(rows * 3, dtype=float).reshape(rows, 3)
    return replace(recording(numbers), assets=("a", "b"), asset=np.arange(rows) % 2)


def kept(of: Recording) -> list[int]:
    """Which seconds are still there."""
    return ((of.time - START) // SECOND).tolist()


def coverage(track: Track) -> dict[int, str]:
    """First letter of each frame's coverage, by second."""
    seconds = (track.frames.tick - START // SECOND).tolist()
    letters = [Coverage(code).name[0] for code in track.frames.coverage]
    return dict(zip(seconds, letters, strict=True))


@pytest.mark.parametrize(
    ("selection", "wanted"),
    [
        (Selection(), range(20)),
        (Selection(rows=(3, 5)), [3, 4]),
        (Selection(rows=(None, 2)), [0, 1]),
        (Selection(span=(at(3), at(5))), [3, 4]),
        (Selection(span=(at(17.5), None)), [18, 19]),
        (Selection(assets=("b",)), range(1, 20, 2)),
        (Selection(assets=("b", "nobody")), range(1, 20, 2)),
        (Selection(assets=("nobody",)), []),
        (Selection(excluded=(out(2, 18),)), [0, 1, 18, 19]),
        (Selection(excluded=(out(2, 18, "a"),)), [0, 1, *range(3, 18, 2), 18, 19]),
        (Selection(excluded=(out(2, 18, "nobody"),)), range(20)),
        (Selection(excluded=(out(1, 9), out(5, 18))), [0, 18, 19]),
        (Selection((2, 18), (at(4), at(99)), ("a",), (out(6, 12),)), [4, 12, 14, 16]),
    ],
)
def test_a_row_is_used_when_rows_span_assets_and_stretches_all_leave_it(
    selection: Selection, wanted: Sequence[int]
) -> None:
    found = fleet().select(selection)

    assert kept(found) == [*wanted]
    # All that belongs to a row goes with it.
    assert found.values[:, 0].tolist() == [3 * row for row in wanted]
    assert found.stamps == tuple(str(START + row * SECOND) for row in wanted)
    assert [found.assets[index] for index in found.asset] == ["ab"[row % 2] for row in wanted]
    assert set(found.assets) == {"ab"[row % 2] for row in wanted}


def test_labels_go_with_their_rows() -> None:
    label = np.arange(20, dtype=np.uint8) % 2
    marked = replace(fleet(), label=label).select(Selection(span=(at(4), at(9))))

    assert marked.label is not None
    assert marked.label.tolist() == [0, 1, 0, 1, 0]


def test_a_selection_of_a_selection_is_of_the_files_rows() -> None:
    once = fleet().select(Selection(span=(at(4), at(16))))

    assert kept(once.select(Selection(rows=(10, 12)))) == [10, 11]


def test_stretches_that_concern_a_recording_are_kept_with_the_rows_they_took() -> None:
    asked = (
        out(2, 6, why="repair"),
        out(4, 8, why="test run"),
        out(9, 12, "a"),
        out(9, 12, "nobody"),
        out(-9, 0, why="before"),
        out(20, 99, why="after"),
        out(19, 99, why="the end"),
        out(14.2, 14.8, why="between two rows"),
    )

    found = fleet().select(Selection(excluded=asked)).selection.excluded

    assert [(one.why, one.asset, one.rows) for one in found] == [
        ("repair", "", 4),
        ("test run", "", 2),
        ("", "a", 1),
        ("the end", "", 1),
        ("between two rows", "", 0),
    ]


@pytest.mark.parametrize("stretch", [out(4.7, 4.8), out(4.1, 4.2), out(4.000001, 5)])
def test_no_window_reaches_over_an_excluded_stretch_however_short(stretch: Stretch) -> None:
    whole = recording(np.ones((10, 3)))

    (track,) = tracks_of([whole.select(Selection(excluded=(stretch,)))], GRID)

    assert "".join(coverage(track).values()) == "WWCCCWWCCC"
    assert track.part.tolist() == [0] * 5 + [1] * 5


def test_rows_at_the_ends_of_a_stretch_are_used_and_a_tick_with_rows_on_both_sides_is_not() -> None:
    time = START + np.arange(40) * SECOND // 4
    whole = recording(np.arange(120.0).reshape(40, 3), time=time)

    # Frame 3 is of [2.5, 3.5): with the rows before the stretch it is made of them alone.
    (track,) = tracks_of([whole.select(Selection(excluded=(out(3.25, 5),)))], GRID)
    (torn,) = tracks_of([whole.select(Selection(excluded=(out(2.75, 3.25),)))], GRID)

    assert [*coverage(track)] == [0, 1, 2, 3, 5, 6, 7, 8, 9, 10]
    assert track.frames.values[3, 0] == 3 * 12
    assert [*coverage(torn)] == [0, 1, 2, 4, 5, 6, 7, 8, 9, 10]


def test_a_stretch_of_one_asset_breaks_no_window_of_another() -> None:
    first, second = tracks_of(
        [fleet().select(Selection(excluded=(out(8, 9, "a"),)))], Grid(2 * SECOND, 2)
    )

    assert (first.part.max(), second.part.max()) == (1, 0)
    assert len(second.frames) == 10


@given(
    st.lists(st.tuples(st.integers(-2, 42), st.integers(1, 12), st.sampled_from(["", "a", "b"]))),
    st.integers(2, 5),
    st.randoms(use_true_random=False),
)
def test_frames_are_those_of_the_parts_read_apart(
    drawn: list[tuple[int, int, str]], window: int, random: Random
) -> None:
    # Quarters of a second, so that stretches begin and end inside ticks too.
    quarters = sorted(random.randrange(40) for _ in range(30))
    of = replace(
        recording(np.arange(90.0).reshape(30, 3), time=START + np.array(quarters) * SECOND // 4),
        assets=("a", "b"),
        asset=np.array([random.randrange(2) for _ in range(30)]),
    )
    stretches = [out(start / 4, (start + length) / 4, asset) for start, length, asset in drawn]
    grid = Grid(SECOND, window, max_hold=1)

    for track in tracks_of([of.select(Selection(excluded=tuple(stretches)))], grid):
        mine = [one for one in stretches if one.asset in ("", track.asset)]
        parts: dict[int, list[int]] = {}
        for row, time in enumerate(of.time.tolist()):
            if of.assets[of.asset[row]] == track.asset and not any(
                one.start <= time < one.end for one in mine
            ):
                parts.setdefault(sum(one.end <= time for one in mine), []).append(row)
        ticks = [{int(grid.tick(of.time[row])) for row in rows} for rows in parts.values()]
        torn = {tick for one, other in combinations(ticks, 2) for tick in one & other}
        wanted: list[Frames] = []
        for rows in parts.values():
            whole = [row for row in rows if int(grid.tick(of.time[row])) not in torn]
            alone = np.zeros(len(whole), np.int64)
            wanted.append(frames_of(alone, of.time[whole], of.values[whole], grid)[0])
        for name in ("tick", "values", "age", "coverage", "run"):
            np.testing.assert_array_equal(
                getattr(track.frames, name),
                np.concatenate([getattr(frames, name) for frames in wanted]),
            )


def test_rows_out_of_order_beyond_the_lateness_are_counted_and_mark_no_frame() -> None:
    late = recording(
        np.arange(12.0).reshape(4, 3),
        time=np.array([at(0), at(10), at(3), at(11)]),
        label=np.array([0, 0, 1, 0], np.uint8),
    )

    (track,) = tracks_of([late], GRID)

    assert track.late == 1
    assert track.row[track.row >= 0].tolist() == [0, 1, 3]
    assert not track.label.any()


def test_a_plan_says_how_many_rows_and_windows_were_left_out_and_why() -> None:
    time = START + np.arange(400) * SECOND
    time[[300, 301]] -= 100 * SECOND
    selection = Selection(
        excluded=(out(50, 60, why="repair"), out(90, 95), out(80, 85, why="repair"))
    )

    the = plan([recording(values(400), time=time).select(selection)], request(window=8))

    assert the.rows_left_out == {
        "excluded (repair)": 15,
        "excluded": 5,
        "out of order by more than 2 s": 2,
    }
    # After each stretch a window has to fill; between the second and the third, none does.
    assert the.left_out["excluded"] == 7 + 5 + 7
    assert (
        fitted(
            [recording(values(400), time=time).select(selection)], request("pca", window=8)
        ).manifest.training.rows_left_out
        == the.rows_left_out
    )


def test_a_bundle_says_exactly_which_rows_it_was_trained_on() -> None:
    asked = Selection((None, None), (at(20), at(390)), ("plant",), (out(50, 60, why="repair"),))
    whole = recording(values(400))

    (data,) = fitted([whole.select(asked)], request("pca", window=8)).manifest.data

    assert data.model_dump()["excluded"] == (
        {
            "asset": "",
            "start_ns": at(50),
            "end_ns": at(60),
            "why": "repair",
            "rows": 10,
        },
    )
    again = DataSpec.model_validate_json(data.model_dump_json())
    used = whole.within([(whole.sha256, again.selection)])
    assert np.flatnonzero(used).tolist() == [*range(20, 50), *range(60, 390)]


def test_which_rows_are_among_those_used_is_told_by_hash_number_and_selection() -> None:
    half = fleet().select(Selection(assets=("a",)))

    assert not half.within([("other", Selection())]).any()
    used = half.within([("0" * 64, Selection(rows=(4, 8))), ("0" * 64, Selection((18, 20)))])
    assert kept(half.select(Selection())) == [*range(0, 20, 2)]
    assert (half.time[used] - START).tolist() == [4 * SECOND, 6 * SECOND, 18 * SECOND]


def test_an_exclude_file_is_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text(
        "start,end,why,asset\n"
        '2026-09-21T14:13:20Z,2026-09-21T14:13:30.5Z,"repair, with tests",p7\n'
        "\n"
        "1790000000,1790000001,,\n"
    )

    assert read_stretches(path) == (
        out(0, 10.5, "p7", "repair, with tests"),
        out(0, 1),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"line 1: has the columns \[\]; wanted \['asset', 'start', 'end', 'why'\]"),
        ("asset,start,end\n", "line 1: has the columns"),
        ("asset,start,end,why,who\n", "line 1: has the columns"),
        ("asset,start,end,why,why\n", "line 1: has the columns"),
        ("asset,start,end,why\na,0\n", "line 2: has 2 columns; wanted 4"),
        ("asset,start,end,why\na,soon,5,\n", "line 2, start 'soon': wanted ISO 8601"),
        ("asset,start,end,why\na,0,,\n", "line 2, end '': wanted ISO 8601"),
        (
            "asset,start,end,why\na,0,1,\na,5,5,\n",
            "line 3: ends at 5; wanted a time after its start, 5",
        ),
        ('asset,start,end,why\na,0,1,"' + "x" * 200_000 + '"\n', "is no UTF-8 CSV file"),
    ],
)
def test_what_is_no_exclude_file_is_refused_with_the_place(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "out.csv"
    path.write_text(text)

    with pytest.raises(RecordingError, match=f"out.csv: {message}"):
        read_stretches(path)
