import math
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.adaptation import Adaptation, Start
from models.decision import Decision, Rule
from models.detector import Detector, Habits
from models.frame import FOREVER, NEVER, SECOND, Coverage, grown
from monitor import board as board_module
from monitor import pipeline as module
from monitor.alert import Alert, AlertRules
from monitor.board import Board, State
from monitor.pipeline import Outcome, Pipeline
from monitor.reading import MessageOutcome, Readings
from tests.monitor.machines import (
    EVERY_SCORE,
    TODAY,
    XY,
    Network,
    X,
    detector,
    events,
    few,
    many,
    readings,
    table,
)

RULES = AlertRules(hold=SECOND, renotify=4 * SECOND, expire=8 * SECOND)
LATENESS = 2 * SECOND
Row = tuple[int, float, Sequence[float]]


def run(
    rows: Sequence[Row],
    edges: Sequence[int] = (),
    assets: int = 17,
    rule: Rule = EVERY_SCORE,
    running: str | None = None,
) -> tuple[Pipeline, list[Outcome]]:
    """The rows, cut into steps at some places, and the end of the input."""
    names = table(*(f"p{n}" for n in range(assets)))
    network = Network()
    with_detector = detector(["x", "y"], window=3, rule=rule, network=network, running=running)
    pipeline = Pipeline("pumps", XY, names, {None: with_detector}, LATENESS, RULES)
    places = [0, *sorted(min(edge, len(rows)) for edge in edges), len(rows)]
    out = [pipeline.step(readings(rows[start:end], 2), None) for start, end in pairwise(places)]
    return pipeline, [*out, pipeline.finish()]


def alerts_of(outcomes: Sequence[Outcome]) -> list[Alert]:
    return [alert for one in outcomes for alert in one.alerts]


def windows_of(outcomes: Sequence[Outcome]) -> Counter[str]:
    total: Counter[str] = Counter(scored=sum(one.scored for one in outcomes))
    for one in outcomes:
        total.update(one.skipped)
    return +total


def day_of(rng: random.Random, asset: int, seconds: int) -> list[Row]:
    """What one asset sends: mostly once a second, with faults, holes and longer gaps."""
    rows: list[Row] = []
    second, size = 0, 0.0
    while second < seconds:
        second += rng.choice((*[1] * 20, 2, 2, 5))
        if rng.random() < 0.3:
            size = rng.choice((0.0, 0.25, 0.5, 2.0, 6.0, 1e6))
        values = rng.choice((*[(size, size)] * 6, (size, math.nan), (math.nan, size)))
        rows += [(asset, second + rng.choice((-0.4, 0.0, 0.0, 0.4)), values)] * rng.choice(
            (1, 1, 2)
        )
    return sorted(rows, key=lambda row: row[1])


@few
@given(
    st.integers(0, 2**32),
    st.lists(st.integers(0, 200), max_size=8),
    st.sampled_from([EVERY_SCORE, Rule()]),
    st.sampled_from([None, "x > 0 and y < 9"]),
)
def test_alerts_do_not_depend_on_batches_order_copies_or_other_assets(
    seed: int, edges: list[int], rule: Rule, running: str | None
) -> None:
    rng = random.Random(seed)
    mine = day_of(rng, 0, 40)
    alone, out = run(mine, rule=rule, running=running)
    wanted, wanted_windows = events(alerts_of(out)), windows_of(out)

    # Late by less than the lateness, some of them twice, in a crowd, in any steps.
    doubled = [*mine, *(row for row in mine if rng.random() < 0.5)]
    crowd = [row for asset in range(1, 17) for row in day_of(rng, asset, 10)]
    due = [(row[1] + rng.random() * 1.999, row) for row in doubled]
    shuffled = [
        row for _, row in sorted(due + [(row[1], row) for row in crowd], key=lambda d: d[0])
    ]
    together, crowded = run(shuffled, edges, rule=rule, running=running)
    told = [alert for alert in alerts_of(crowded) if alert.asset == "p0"]
    assert events(told) == wanted

    in_order = [row for _, row in sorted(due, key=lambda d: d[0])]
    only_mine, doubles = run(in_order, edges, rule=rule, running=running)
    assert events(alerts_of(doubles)) == wanted
    assert windows_of(doubles) == wanted_windows

    # Every row is accepted, late or a duplicate, and none is late that is within the lateness.
    rows = np.concatenate([one.rows for one in doubles])
    assert len(rows) == len(doubled)
    assert {*rows.tolist()} <= {MessageOutcome.ACCEPTED, MessageOutcome.DUPLICATE}
    for board in (together.board, only_mine.board):
        for name in Board.__slots__:
            np.testing.assert_array_equal(
                getattr(board, name)[0], getattr(alone.board, name)[0], err_msg=name
            )


@few
@given(
    st.integers(0, 2**32),
    st.lists(st.floats(0, 60), max_size=40),
    st.sampled_from([None, "x > 0 and y < 9"]),
)
def test_a_live_pipeline_tells_what_a_replay_tells(
    seed: int, looks: list[float], running: str | None
) -> None:
    rng = random.Random(seed)
    rows = day_of(rng, 0, 40)
    _, replayed = run(rows, running=running)
    # Each row as it arrives, and looks for silence in between.
    arrivals = [(row[1] + rng.random() * 1.999, [row]) for row in rows]
    watching = detector(["x", "y"], window=3, running=running)
    live = Pipeline("pumps", XY, table("p0"), {None: watching}, 2 * SECOND, RULES)
    out: list[Outcome] = []
    for at, arrived in sorted([*arrivals, *((look, []) for look in looks)], key=lambda a: a[0]):
        out.append(live.step(readings(arrived, 2), TODAY + round(at * SECOND)))
    out.append(live.step(readings([], 2), TODAY + 3600 * SECOND))
    assert events(alerts_of(out)) == events(alerts_of(replayed))
    assert windows_of(out) == windows_of(replayed)


def test_frames_are_scored_in_one_batch_for_each_bundle() -> None:
    network = Network()
    names = table(*(f"p{n}" for n in range(256)))
    with_detector = detector(window=4, network=network)
    pipeline = Pipeline("pumps", X, names, {None: with_detector}, 0, RULES)
    for second in range(8):
        network.batches.clear()
        out = pipeline.step(readings([(n, second, [0.5]) for n in range(256)]), None)
        # The frame of a second closes with the next second's reading.
        assert network.batches == ([256] if second >= 4 else [])
        assert out.scored == sum(network.batches)


def test_many_frames_of_many_assets_are_one_batch_too() -> None:
    network = Network()
    pipeline = Pipeline("s", X, table("a", "b"), {None: detector(network=network)}, 0, RULES)
    out = pipeline.step(readings([(n % 2, n // 2, [n]) for n in range(20)]), None)
    assert network.batches == [16]
    assert out.scored == 16


def test_a_batch_too_large_is_split_and_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = day_of(random.Random(1), 0, 300)
    _, wanted = run(rows)
    monkeypatch.setattr(module, "_BATCH_CELLS", 20)
    split, found = run(rows)
    network = split.groups[0].detector.runtime
    assert isinstance(network, Network)
    assert max(network.batches) < sum(network.batches)
    assert events(alerts_of(found)) == events(alerts_of(wanted)) != []


def test_an_asset_is_scored_by_its_own_bundle_or_not_at_all() -> None:
    networks = {"a": Network(), "b": Network()}
    own: dict[str | None, Detector] = {
        "a": detector(network=networks["a"], digest="of a"),
        "b": detector(network=networks["b"], digest="of b", spread=[2.0], window=3),
    }
    pipeline = Pipeline("s", X, table("c", "b", "a"), own, 0, AlertRules())
    out = pipeline.step(
        readings([(n, second, [second]) for second in range(9) for n in (0, 1, 2)]), None
    )
    assert {(one.asset, one.digest) for one in out.alerts} == {("a", "of a"), ("b", "of b")}
    assert networks["a"].batches == [7]
    assert networks["b"].batches == [6]
    assert out.rows.tolist() == [MessageOutcome.ACCEPTED] * 27
    board = pipeline.board
    assert [State(one) for one in board.state[:3]] == [
        *(State.UNCALIBRATED, State.ANOMALOUS, State.ANOMALOUS)
    ]
    np.testing.assert_equal(board.score[:3], [math.nan, 3.5, 7.0])
    assert board.value[:3].ravel().tolist() == [8.0] * 3
    assert out.scored == 13


def test_in_a_fleet_each_asset_has_its_calibration_and_a_stranger_is_shown_but_not_told_of() -> (
    None
):
    judge: dict[str | None, Detector] = {None: detector(calibrated={"a": 1.0, "b": 10.0})}
    rows = readings([(n, second, [second]) for second in range(9) for n in (0, 1, 2)])
    quiet = Pipeline("s", X, table("c", "b", "a"), judge, 0, AlertRules())
    loud = Pipeline(*("s", X, table("c", "b", "a"), judge, 0, AlertRules(alert_uncalibrated=True)))

    assert {one.asset for one in quiet.step(rows, None).alerts} == {"a"}
    assert {one.asset for one in loud.step(rows, None).alerts} == {"a", "c"}
    for pipeline, of_stranger in ((quiet, State.UNCALIBRATED), (loud, State.ANOMALOUS)):
        board = pipeline.board
        np.testing.assert_allclose(board.score[:3], [7.0, 0.7, 7.0])
        assert [State(one) for one in board.state[:3]] == [
            *(of_stranger, State.NORMAL, State.ANOMALOUS)
        ]


def test_a_stream_without_a_model_takes_readings_and_scores_none() -> None:
    pipeline = Pipeline("s", X, table("a"), {}, None, RULES)
    out = pipeline.step(readings([(0, second, [99]) for second in range(9)]), TODAY + 9 * SECOND)
    pipeline.step(readings([]), TODAY + 9999 * SECOND)
    assert out.rows.tolist() == [MessageOutcome.ACCEPTED] * 9
    assert (out.scored, out.alerts, +out.skipped) == (0, [], Counter())
    assert State(pipeline.board.state[0]) is State.UNCALIBRATED
    assert math.isnan(pipeline.board.score[0])
    assert pipeline.board.value[0, 0] == 99


def fed(*scores: float, rules: AlertRules = RULES) -> Pipeline:
    """One asset that has sent a reading a second, received at once."""
    pipeline = Pipeline("s", X, table("a"), {None: detector()}, 0, rules)
    for second, score in enumerate(scores):
        pipeline.step(readings([(0, second, [score])]), TODAY + second * SECOND)
    return pipeline


def seen(pipeline: Pipeline) -> tuple[State, float]:
    return State(pipeline.board.state[0]), float(pipeline.board.score[0])


def test_the_state_follows_the_newest_frame() -> None:
    assert seen(fed(0, 0))[0] is State.WARMING
    assert seen(fed(0, 0.25, 0)) == (State.NORMAL, 0.25)
    assert seen(fed(0, 0, 2, 0)) == (State.PENDING, 2.0)
    assert seen(fed(0, 0, 2, 2, 0)) == (State.ANOMALOUS, 2.0)
    assert seen(fed(0, 0, 2, 2, 0.875, 0)) == (State.ANOMALOUS, 0.875)
    assert seen(fed(0, 0, 2, 2, 0.5, 0)) == (State.NORMAL, 0.5)
    rule = Rule(smooth=1, need=2, of=2, clear=0.8)
    pipeline = Pipeline("s", X, table("a"), {None: detector(rule=rule)}, 0, RULES)
    pipeline.step(readings([(0, n, [n]) for n in range(4)]), None)
    assert seen(pipeline) == (State.PENDING, 2.0)


def test_an_idle_machine_has_no_score_and_one_that_has_settled_warms_up_anew() -> None:
    resting = detector(running="x > 0", settle=2)
    pipeline = Pipeline("s", X, table("a"), {None: resting}, 0, RULES)
    found: list[tuple[State, float]] = []
    for second, reading in enumerate([0.5] * 4 + [0] * 2 + [0.5] * 5):
        pipeline.step(readings([(0, second, [reading])]), TODAY + second * SECOND)
        found.append(seen(pipeline))
    # Seen a second later, when the next reading closes the frame; a window is two frames.
    states = [State.WARMING] * 4 + [State.NORMAL] + [State.IDLE] * 4 + [State.WARMING, State.NORMAL]
    assert [state for state, _ in found] == states
    assert [math.isnan(score) for _, score in found] == [one is not State.NORMAL for one in states]


def test_an_idle_machine_with_an_open_alert_stays_anomalous_without_a_score() -> None:
    pipeline = Pipeline("s", X, table("a"), {None: detector(running="x > 0")}, 0, AlertRules())
    for second, reading in enumerate([0.5, 0.5, 2, 2, 0, 0, 0]):
        pipeline.step(readings([(0, second, [reading])]), TODAY + second * SECOND)
    assert seen(pipeline)[0] is State.ANOMALOUS
    assert math.isnan(pipeline.board.score[0])
    assert pipeline.groups[0].alerts.lives[0].firing


def test_windows_that_reach_into_idleness_are_counted_as_idle() -> None:
    _, out = run([(0, n, [0.5 * (n not in (5, 6)), 0]) for n in range(12)], running="x > 0")
    # Windows of 3: two warm up, two frames are idle, two windows reach into them.
    assert windows_of(out) == Counter(scored=6, warming=2, idle=4)


def test_scores_from_before_idleness_do_not_count_after_it() -> None:
    rule = Rule(smooth=2, need=3, of=6, clear=0.8)
    resting = detector(rule=rule, running="x > 0")
    pipeline = Pipeline("s", X, table("a"), {None: resting}, 0, RULES)
    scores: list[float] = []
    for second, reading in enumerate((0.5, 0.5, 2.5, 0, 0.5, 0.5, 1.75, 0)):
        pipeline.step(readings([(0, second, [reading])]), None)
        scores.append(float(pipeline.board.score[0]))
    nan = math.nan
    np.testing.assert_equal(scores, [nan, nan, 0.5, 1.5, nan, nan, 0.5, 1.125])
    # Two breaches before, one after: not three of six.
    assert State(pipeline.board.state[0]) is State.PENDING


def test_a_window_without_a_finite_score_is_unscorable_and_never_normal() -> None:
    pipeline = fed(0, 0, 1e6, 0)
    assert seen(pipeline)[0] is State.UNSCORABLE
    assert math.isnan(pipeline.board.score[0])
    assert np.isnan(pipeline.board.share[0]).all()
    pipeline = Pipeline("s", X, table("a"), {None: detector()}, 0, RULES)
    out = pipeline.step(
        readings([(0, n, [one]) for n, one in enumerate((0, 0, 1e6, 1e6, 0))]), None
    )
    assert (out.scored, +out.skipped) == (1, Counter(unscorable=2, warming=1))


def test_one_asset_without_a_score_leaves_the_others_theirs() -> None:
    pipeline = Pipeline("s", X, table("a", "b"), {None: detector()}, 0, RULES)
    rows: list[Row] = [(n, second, [1e6 if n else 0.5]) for second in range(4) for n in (0, 1)]
    assert pipeline.step(readings(rows), None).scored == 2
    np.testing.assert_equal(pipeline.board.score[:2], [0.5, math.nan])


def test_a_backlog_of_one_asset_takes_time_in_proportion_to_its_length() -> None:
    def seconds(rows: int) -> float:
        pipeline = Pipeline("s", X, table("a"), {None: detector()}, 0, RULES)
        backlog = readings([(0, n, [0.5]) for n in range(rows)])
        began = time.process_time()
        pipeline.step(backlog, None)
        return time.process_time() - began

    assert seconds(30_000) < 20 * seconds(3000)


def test_a_silent_asset_has_no_score_and_is_no_longer_normal() -> None:
    pipeline = fed(0, 0.5, 0.5, 0.5)
    last = TODAY + 3 * SECOND
    pipeline.step(readings([]), last + 2 * SECOND)
    assert seen(pipeline) == (State.NORMAL, 0.5)  # as long as a hold would go
    pipeline.step(readings([]), last + 2 * SECOND + 1)
    assert seen(pipeline)[0] is State.NO_DATA
    for gone in (pipeline.board.score, pipeline.board.share, pipeline.board.expected):
        assert np.isnan(gone[0]).all()
    assert pipeline.board.value[0, 0] == 0.5
    for second in (60, 61, 62):
        pipeline.step(readings([(0, second, [0.25])]), TODAY + second * SECOND)
    assert seen(pipeline) == (State.NORMAL, 0.25)


def test_silence_begins_with_an_assets_last_reading_and_not_with_its_batch() -> None:
    pipeline = Pipeline("s", X, table("a"), {None: detector()}, 0, RULES)
    waited = readings([(0, second, [0.5]) for second in range(9)])
    pipeline.step(replace(waited, arrival=waited.time), TODAY)
    pipeline.step(readings([]), TODAY + 10 * SECOND)
    assert seen(pipeline) == (State.NORMAL, 0.5)
    pipeline.step(readings([]), TODAY + 10 * SECOND + 1)
    assert seen(pipeline)[0] is State.NO_DATA


def test_an_anomalous_asset_that_falls_silent_stays_anomalous_without_a_score() -> None:
    pipeline = fed(0, 0, 2, 2, 2)
    pipeline.step(readings([]), TODAY + 3600 * SECOND)
    assert seen(pipeline)[0] is State.ANOMALOUS
    assert math.isnan(pipeline.board.score[0])


@pytest.mark.parametrize("second", [3, -3600], ids=["duplicate", "late"])
def test_an_asset_whose_readings_are_all_refused_is_as_good_as_silent(second: int) -> None:
    pipeline = fed(0, 0.5, 0.5, 0.5)
    for now in range(4, 20):
        pipeline.step(readings([(0, second, [0.5])]), TODAY + now * SECOND)
    assert seen(pipeline)[0] is State.NO_DATA
    assert math.isnan(pipeline.board.score[0])


def test_while_we_do_not_listen_nobody_looks_normal_and_no_silence_is_told_of() -> None:
    pipeline = fed(0, 0.5, 0.5, 0.5)
    pipeline.listening_since = FOREVER
    assert pipeline.step(readings([]), TODAY + 4 * SECOND).alerts == []
    assert seen(pipeline) == (State.NORMAL, 0.5)
    for now in range(5, 120):
        assert pipeline.step(readings([]), TODAY + now * SECOND).alerts == []
    assert seen(pipeline)[0] is State.NO_DATA
    assert math.isnan(pipeline.board.score[0])
    pipeline.listening_since = TODAY + 120 * SECOND
    for now in range(120, 125):
        pipeline.step(readings([(0, now, [0.5])]), TODAY + now * SECOND)
    assert seen(pipeline) == (State.NORMAL, 0.5)


def test_silence_of_one_asset_is_not_that_of_another() -> None:
    pipeline = Pipeline("s", X, table("a", "b"), {None: detector()}, 0, RULES)
    for second in range(9):
        rows: list[Row] = [(n, second, [0.5]) for n in (0, 1) if not n or second < 4]
        pipeline.step(readings(rows), TODAY + second * SECOND)
    assert [State(one) for one in pipeline.board.state[:2]] == [State.NORMAL, State.NO_DATA]


def test_holes_are_counted_by_what_they_do_to_the_window() -> None:
    rows: list[Row] = [(0, n, [0, 0]) for n in range(20) if n not in (6, 10, 11, 12)]
    _, out = run(rows)
    # Window 3, holds of one tick: 2 warm up, a hold of 6, then one frame held and a gap.
    assert windows_of(out) == Counter(scored=14, warming=2, gap=2)
    _, out = run([(0, n, [0.0, math.nan if n > 3 else 0.0]) for n in range(9)])
    assert windows_of(out) == Counter(scored=3, warming=2, gap=4)


def test_scores_from_before_a_gap_do_not_count_after_it() -> None:
    rule = Rule(smooth=2, need=3, of=6, clear=0.8)
    pipeline = Pipeline("s", X, table("a"), {None: detector(rule=rule)}, 0, RULES)
    seen_at: dict[int, float] = {}
    for second, score in {0: 0, 1: 0.5, 2: 2.5, 9: 0, 10: 0.5, 11: 1.75, 12: 0}.items():
        pipeline.step(readings([(0, second, [score])]), None)
        seen_at[second] = float(pipeline.board.score[0])
    # Seen when the next reading closes the frame; the reading of 9 is the first of a new window.
    nan = math.nan
    wanted = {0: nan, 1: nan, 2: 0.5, 9: 1.5, 10: nan, 11: 0.5, 12: 1.125}
    np.testing.assert_equal(seen_at, wanted)
    # Two breaches before the gap, one after: not three of six.
    assert State(pipeline.board.state[0]) is State.PENDING


@many
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 5), st.sampled_from([1.0, 2.0, math.nan])),
        max_size=12,
    ),
    st.lists(st.integers(0, 12), max_size=3),
    st.sampled_from([0, 1]),
)
def test_the_board_shows_the_newest_reading_in_any_order_and_of_equal_stamps_the_larger(
    drawn: list[tuple[int, int, float]], edges: list[int], models: int
) -> None:
    rows: list[Row] = [(asset, time, [value, 3.0]) for asset, time, value in drawn]
    detectors: dict[str | None, Detector] = {None: detector(["x", "y"])} if models else {}
    pipeline = Pipeline("s", XY, table("a", "b", "c"), detectors, 0, RULES)
    places = [0, *sorted(min(edge, len(rows)) for edge in edges), len(rows)]
    for start, end in pairwise(places):
        pipeline.step(readings(rows[start:end], 2), None)
    for asset in range(3):
        known = [(time, value) for a, time, value in drawn if a == asset and not math.isnan(value)]
        time, value = max(known, default=(None, math.nan))
        at = NEVER if time is None else TODAY + time * SECOND
        np.testing.assert_equal(pipeline.board.read[asset, 0], at)
        np.testing.assert_equal(pipeline.board.value[asset, 0], value)


def arrays_of(part: object) -> dict[str, np.ndarray]:
    names = getattr(part, "__slots__", None) or vars(part)
    found = {name: getattr(part, name) for name in names}
    return {name: one for name, one in found.items() if isinstance(one, np.ndarray)}


DSPOT = Adaptation(2, 2.0, 20, (Start(0.1, (0.2,) * 10, 100.0, 0.01, 0.3),))


@pytest.mark.parametrize("adaptation", [None, DSPOT])
def test_memory_of_an_asset_is_constant(adaptation: Adaptation | None) -> None:
    habits = Habits(np.array([1, 2]), np.array([0.0, 0.0]), np.array([9.0, 9.0]))
    judge = replace(detector(["x", "y"], habits=habits), adaptation=adaptation)
    pipeline = Pipeline("s", XY, table(*(f"p{n}" for n in range(32))), {None: judge}, 0, RULES)
    group = pipeline.groups[0]

    def held() -> int:
        framer = group.framer
        parts = [pipeline.board, framer, framer.ticks, group.ring, group.decision]
        parts += pipeline.health.parts
        parts += [group.decision.adapter.state] if group.decision.adapter else []
        return sum(array.nbytes for part in parts for array in arrays_of(part).values())

    promised = pipeline.bytes_per_asset
    rng = random.Random(0)
    sizes: set[int] = set()
    for start in range(0, 300, 20):
        rows: list[Row] = [
            (n, start + second, [rng.choice((0, 5)), 0]) for second in range(20) for n in range(32)
        ]
        given = replace(readings(rows), strays=readings(rows[:32]))
        pipeline.step(given, TODAY + start * SECOND)
        sizes.add(held())
        assert len(group.alerts.lives) <= 32
    # What an asset needs for health alerts comes with the first of each kind.
    assert max(sizes) <= 32 * promised
    assert len(sizes) <= 2
    assert pipeline.bytes_per_asset == promised


def test_a_live_threshold_moves_the_published_score_as_it_does_offline() -> None:
    judge = replace(detector(window=1), adaptation=DSPOT)
    numbers = np.random.default_rng(0).exponential(0.3, 300)
    pipeline = Pipeline("s", X, table("p0"), {None: judge}, 0, RULES)

    live: list[float] = []
    for second, number in enumerate(numbers):
        pipeline.step(readings([(0, second, [number])]), TODAY + (second + 1) * SECOND)
        live.append(float(pipeline.board.score[0]))

    frame = np.arange(300)
    decision = Decision(judge.rule, DSPOT)
    offline = decision.step(0 * frame, frame, numbers, frame < 0).score
    fixed = Decision(judge.rule).step(0 * frame, frame, numbers, frame < 0).score
    np.testing.assert_allclose(live[1:], offline[:-1], rtol=1e-6)
    assert np.abs(offline / fixed - 1).max() > 0.1


def test_whoever_reads_along_finds_a_row_for_every_state(monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board.empty(2)
    seen_rows: list[tuple[int, int]] = []

    def watched(array: np.ndarray, rows: int, fill: float) -> np.ndarray:
        lengths = [len(getattr(board, name)) for name in Board.__slots__]
        seen_rows.append((len(board.state), min(lengths)))
        return grown(array, rows, fill)

    monkeypatch.setattr(board_module, "grown", watched)
    board.ensure(1)
    board.ensure(17)
    assert len(seen_rows) == 2 * len(fields(Board))
    assert all(states <= least for states, least in seen_rows)
    assert {len(getattr(board, name)) for name in Board.__slots__} == {32}
    assert board.read[20, 0] == board.time[20] == NEVER
    assert board.coverage[20] == Coverage.WARMING


def test_a_step_without_readings_before_any_asset_is_nothing() -> None:
    pipeline = Pipeline("s", X, table(), {None: detector()}, 0, RULES)
    empty: Readings = readings([])
    for now in (None, TODAY):
        out = pipeline.step(replace(empty), now)
        assert (out.rows.tolist(), out.alerts, out.scored, +out.skipped) == ([], [], 0, Counter())
    assert pipeline.finish().alerts == []
