import json
import math
import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.detector import Detector, Habits
from models.frame import FOREVER, SECOND
from monitor.alert import Alert, AlertRules, cloudevent
from monitor.board import State
from monitor.channels import Channels
from monitor.pipeline import Pipeline
from monitor.reading import Readings
from tests.monitor.machines import TODAY, X, detector, events, few, readings, table

RULES = AlertRules(renotify=10**6 * SECOND, expire=10**6 * SECOND)
NAN = math.nan
LIMITED = Channels(("x", "y"), ("bar", ""), np.array([0.0, -np.inf]), np.array([10.0, np.inf]))
Row = tuple[int, float, Sequence[float]]


def knowing(
    flat: int = 3, low: float = 0.0, high: float = 0.9, sensors: str = "x", **more: object
) -> Detector:
    """A detector whose sensors kept a value for `flat` seconds and lay between `low` and `high`."""
    m = len(sensors)
    habits = Habits(np.full(m, flat), np.full(m, low), np.full(m, high))
    return detector([*sensors], habits=habits, **more)  # pyright: ignore[reportArgumentType]


def pipeline_of(
    judge: Detector | None = None,
    assets: int = 1,
    channels: Channels = X,
    rules: AlertRules = RULES,
) -> Pipeline:
    detectors: dict[str | None, Detector] = {} if judge is None else {None: judge}
    names = table(*(f"p{n}" for n in range(assets)))
    return Pipeline("pumps", channels, names, detectors, 0, rules)


def health(alerts: Sequence[Alert]) -> list[Alert]:
    return [one for one in alerts if one.kind != "anomaly"]


def steps(alerts: Sequence[Alert]) -> list[tuple[str, str, int]]:
    """Kind, step and second of the day of health alerts."""
    return [(one.kind, one.step, (one.time - TODAY) // SECOND) for one in health(alerts)]


def names_of(alert: Alert) -> list[str]:
    return [one.name for one in alert.sensors]


# No data


class Listening:
    """A pipeline that looks every second; what assets send is received at once."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.alerts: list[Alert] = []

    def until(
        self, start: int, end: int, every: int = 1, values: Sequence[float] | None = (0.5,)
    ) -> list[Alert]:
        """Assets send `values` each `every` seconds of [start, end); None = nobody sends."""
        return self.among(start, end, range(len(self.pipeline.assets.names)), every, values)

    def among(
        self,
        start: int,
        end: int,
        assets: Sequence[int],
        every: int = 1,
        values: Sequence[float] | None = (0.5,),
    ) -> list[Alert]:
        told: list[Alert] = []
        for second in range(start, end):
            rows: list[Row] = []
            if values is not None and second % every == 0:
                rows = [(n, second + 0.01 * n, values) for n in assets]
            width = self.pipeline.board.read.shape[1]
            given = readings(rows, width)
            told += self.pipeline.step(given, TODAY + second * SECOND).alerts
        return health(told)


def test_an_asset_silent_for_over_a_minute_is_one_alert_until_it_is_heard_again() -> None:
    plant = Listening(pipeline_of(detector()))
    assert plant.until(0, 10) == []
    (opened,) = plant.until(10, 200, values=None)
    assert steps([opened]) == [("no-data", "opened", 70)]  # last heard at 9
    assert (opened.onset - TODAY, names_of(opened)) == (9 * SECOND, ["x"])
    assert opened.summary == (
        "pumps/p0: no sensor has sent a usable reading since 2026-09-21T14:13:29Z; "
        "a reading usually comes every 1 s."
    )
    (resolved,) = plant.until(200, 210)
    assert (resolved.step, resolved.reason, resolved.time) == (
        *("resolved", "normal"),
        TODAY + 200 * SECOND,
    )
    assert resolved.summary == "pumps/p0: x: readings come again after 3 min 11 s."
    assert resolved.alert_id == opened.alert_id


def test_who_usually_sends_seldom_has_more_patience() -> None:
    plant = Listening(pipeline_of(detector()))
    assert plant.until(0, 301, every=60) == []
    (opened,) = plant.until(301, 1000, values=None)
    assert (opened.time - TODAY) // SECOND == 300 + 5 * 60 + 1


def test_an_outage_that_was_told_of_is_no_new_habit() -> None:
    plant = Listening(pipeline_of(detector()))
    assert plant.until(0, 301, every=60) == []
    assert len(plant.until(301, 9000, values=None, every=60)) == 1
    assert [alert.step for alert in plant.until(9000, 9601, every=60)] == ["resolved"]
    (opened,) = plant.until(9601, 18_000, values=None)
    # Patience is five of its pauses, 300 s, and at most twice that after an outage.
    assert 9600 + 300 < (opened.time - TODAY) // SECOND <= 9600 + 600


def test_however_often_it_goes_a_sensor_that_came_each_second_is_missed_after_a_minute() -> None:
    plant, second = Listening(pipeline_of(detector())), 0
    for _ in range(6):
        assert not any(alert.step == "opened" for alert in plant.until(second, second + 20))
        (opened,) = plant.until(second + 20, second + 420, values=None)
        assert (opened.time - TODAY) // SECOND == second + 19 + 61
        second += 420


def test_a_stall_of_ours_changes_nobodys_patience() -> None:
    pipeline = pipeline_of(detector())
    plant = Listening(pipeline)
    plant.until(0, 30)
    late = readings([(0, second, (0.5,)) for second in range(30, 120)], 1)
    arrival = TODAY + np.arange(30, 120) * SECOND
    pipeline.step(replace(late, arrival=arrival), TODAY + 30 * SECOND)
    plant.until(120, 130)
    (opened,) = plant.until(130, 300, values=None)
    assert (opened.time - TODAY) // SECOND == 129 + 61


def test_without_a_model_nobody_is_missed_who_was_heard_but_once() -> None:
    plant = Listening(pipeline_of())
    assert plant.until(0, 1) + plant.until(1, 5000, values=None) == []
    assert State(plant.pipeline.board.state[0]) is State.UNCALIBRATED
    plant = Listening(pipeline_of())
    plant.until(0, 2)
    (opened,) = plant.until(2, 5000, values=None)
    assert (opened.time - TODAY) // SECOND == 62
    assert State(plant.pipeline.board.state[0]) is State.NO_DATA
    plant.until(5000, 5001)
    assert State(plant.pipeline.board.state[0]) is State.UNCALIBRATED


def test_a_sensor_silent_while_the_others_come_is_named_alone() -> None:
    plant = Listening(pipeline_of(detector(["x", "y"]), channels=Channels.plain("x", "y")))
    assert plant.until(0, 10, values=(0.5, 0.5)) == []
    (opened,) = plant.until(10, 100, values=(0.5, NAN))
    assert steps([opened]) == [("no-data", "opened", 70)]
    assert names_of(opened) == ["y"]
    assert opened.summary == (
        "pumps/p0: y has been silent since 2026-09-21T14:13:29Z, while others come; "
        "a reading usually comes every 1 s."
    )
    # The window lacks a sensor, and says so.
    assert State(plant.pipeline.board.state[0]) is State.NO_DATA
    (updated,) = plant.until(100, 200, values=None)
    assert (updated.step, names_of(updated)) == ("updated", ["x", "y"])
    assert plant.until(200, 210, values=(0.5, NAN)) == []
    (resolved,) = plant.until(210, 220, values=(0.5, 0.5))
    assert resolved.step == "resolved"
    assert State(plant.pipeline.board.state[0]) is State.NORMAL


def test_a_sensor_of_the_model_that_never_comes_is_named() -> None:
    plant = Listening(pipeline_of(detector(["x", "y"]), channels=Channels.plain("x", "y")))
    (opened,) = plant.until(0, 100, values=(0.5, NAN))
    assert (names_of(opened), opened.time) == (["y"], TODAY + 61 * SECOND)


def test_while_we_do_not_listen_or_look_nobody_is_silent() -> None:
    plant = Listening(pipeline_of(detector()))
    plant.until(0, 10)
    plant.pipeline.listening_since = FOREVER
    assert plant.until(10, 500, values=None) == []
    plant.pipeline.listening_since = TODAY + 500 * SECOND
    assert plant.until(500, 560, values=None) == []
    (opened,) = plant.until(560, 570, values=None)
    assert (opened.time, opened.onset) == (TODAY + 561 * SECOND, TODAY + 9 * SECOND)
    plant = Listening(pipeline_of(detector()))
    plant.until(0, 10)
    assert plant.until(5000, 5060, values=None) == []


@pytest.mark.parametrize("assets", [1, 3], ids=["of an asset", "of the stream"])
def test_our_own_reconnect_ends_no_silence(assets: int) -> None:
    plant = Listening(pipeline_of(detector(), assets))
    plant.until(0, 10)
    assert len(plant.until(10, 100, values=None)) == 1
    plant.pipeline.listening_since = FOREVER
    assert plant.until(100, 200, values=None) == []
    plant.pipeline.listening_since = TODAY + 200 * SECOND
    assert plant.until(200, 400, values=None) == []
    assert [one.reason for one in plant.until(400, 410)] == ["normal"]


def test_an_asset_that_is_not_scored_has_no_data_until_it_is_heard_whatever_we_do() -> None:
    plant = Listening(pipeline_of())
    plant.until(0, 10)
    plant.until(10, 100, values=None)
    plant.pipeline.listening_since = TODAY + 100 * SECOND
    plant.until(100, 110, values=None)
    assert State(plant.pipeline.board.state[0]) is State.NO_DATA


def test_more_than_half_of_a_stream_silent_at_once_is_one_alert_of_no_asset() -> None:
    plant = Listening(pipeline_of(detector(), 7))
    plant.until(0, 10)
    (opened,) = plant.among(10, 300, [0, 1, 2])
    assert (opened.asset, opened.kind, opened.step) == (None, "no-data", "opened")
    assert opened.summary == (
        "pumps: 4 of 7 assets have been silent since 2026-09-21T14:13:29Z (p3, p4, p5, p6): "
        "look for what they have in common."
    )
    event = json.loads(cloudevent(opened, "edge-1"))
    assert (event["source"], event["data"]["asset"]) == ("/edge-1/pumps", None)
    assert opened.place == "pumps/"  # whoever listens to +/+/alerts hears of it
    # Two come back; those that do not are told of, each after its own patience.
    told = plant.among(300, 600, [0, 1, 2, 3, 4])
    assert [(one.asset, one.step, (one.time - TODAY) // SECOND) for one in told] == [
        (None, "resolved", 300),
        ("p5", "opened", 361),
        ("p6", "opened", 361),
    ]


def test_half_of_a_stream_is_not_more_than_half() -> None:
    plant = Listening(pipeline_of(detector(), 4))
    plant.until(0, 10)
    assert [one.asset for one in plant.among(10, 100, [0, 1])] == ["p2", "p3"]


def test_those_long_silent_do_not_make_the_stream_so() -> None:
    plant = Listening(pipeline_of(detector(), 6))
    plant.until(0, 10)
    told: list[Alert] = []
    for count in range(5, 0, -1):
        told += plant.among(1000 - 100 * count, 1100 - 100 * count, range(count))
    assert [one.asset for one in told] == ["p5", "p4", "p3", "p2", "p1"]


def test_a_single_asset_is_no_stream() -> None:
    plant = Listening(pipeline_of(detector()))
    plant.until(0, 10)
    assert [one.asset for one in plant.until(10, 100, values=None)] == ["p0"]


def test_silence_is_told_again_and_expires() -> None:
    rules = AlertRules(renotify=100 * SECOND, expire=250 * SECOND)
    plant = Listening(pipeline_of(detector(), rules=rules))
    plant.until(0, 10)
    told = plant.until(10, 1000, values=None)
    assert [(one.step, (one.time - TODAY) // SECOND) for one in told] == [
        ("opened", 70),
        ("updated", 170),
        ("resolved", 259),
    ]
    assert told[-1].reason == "expired"
    assert plant.until(1000, 1010) == []


# Stuck


def replayed(rows: Sequence[Row], judge: Detector, edges: Sequence[int] = ()) -> list[Alert]:
    sensors = len(judge.sensors)
    pipeline = pipeline_of(judge, 2, Channels.plain(*judge.sensors))
    places = [0, *sorted(min(edge, len(rows)) for edge in edges), len(rows)]
    told: list[Alert] = []
    for start, end in pairwise(places):
        told += pipeline.step(readings(rows[start:end], sensors), None).alerts
    return health([*told, *pipeline.finish().alerts])


def walk(length: int, seed: int = 0) -> list[float]:
    """Numbers between 0 and 0.9, no two of them in a row alike."""
    rng = random.Random(seed)
    level, out = 0.5, list[float]()
    for _ in range(length):
        level = min(0.89, max(0.01, level + rng.uniform(-0.02, 0.02)))
        out.append(level)
    return out


def test_a_sensor_that_keeps_a_value_for_ten_times_its_longest_is_stuck() -> None:
    values = [*walk(20), *[0.5] * 300, *walk(20)]
    judge = knowing(flat=9)
    opened, resolved = replayed([(0, n, [v]) for n, v in enumerate(values)], judge)
    assert steps([opened, resolved]) == [("stuck", "opened", 110), ("stuck", "resolved", 320)]
    assert opened.onset == TODAY + 20 * SECOND
    assert opened.summary == (
        "pumps/p0: x has read exactly 0.5 since 2026-09-21T14:13:40Z, and never kept one value "
        "for more than 9 s in training."
    )
    assert (opened.sensors[0].actual, opened.digest) == (0.5, "d1gest")
    assert resolved.summary == "pumps/p0: x moves again after 5 min 0 s."


def test_a_sensor_is_not_stuck_for_less_than_a_minute() -> None:
    values = [*walk(20), *[0.5] * 60, *walk(20)]
    assert replayed([(0, n, [v]) for n, v in enumerate(values)], knowing(flat=1)) == []


@pytest.mark.parametrize("judge", [knowing(flat=0), detector()], ids=["constant", "no habits"])
def test_what_was_constant_in_training_or_is_not_known_is_never_stuck(judge: Detector) -> None:
    assert replayed([(0, n, [0.5]) for n in range(2000)], judge) == []


def test_an_idle_machine_is_not_stuck() -> None:
    judge = knowing(flat=1, sensors="xy", running="y > 0")
    idle: list[Row] = [(0, n, [0.5, 0 if n > 30 else 1]) for n in range(500)]
    assert replayed(idle, judge) == []


def test_two_stuck_sensors_are_one_alert_that_grows() -> None:
    free = walk(400)
    rows: list[Row] = [(0, n, [0.5, 0.25 if n > 100 else free[n]]) for n in range(400)]
    told = replayed(rows, knowing(sensors="xy"))
    assert [(one.step, names_of(one)) for one in told] == [
        ("opened", ["x"]),
        ("updated", ["x", "y"]),
    ]


# Out of range


def outside(
    rows: Sequence[Row], edges: Sequence[int] = (), judge: Detector | None = None
) -> list[Alert]:
    """Rows of x and y of one asset, x being rejected over 10."""
    pipeline = pipeline_of(judge, 1, LIMITED)
    places = [0, *sorted(min(edge, len(rows)) for edge in edges), len(rows)]
    told: list[Alert] = []
    for start, end in pairwise(places):
        whole = readings(rows[start:end], 2)
        bad = np.where(whole.values > np.array([10, np.inf]), whole.values, NAN)
        good = np.where(np.isnan(bad), whole.values, NAN)
        parts = [
            Readings(whole.asset[keep], whole.time[keep], v[keep], at[keep])
            for v in (good, bad)
            for keep in [~np.isnan(v).all(axis=1)]
            for at in [np.arange(start, end)]
        ]
        told += pipeline.step(replace(parts[0], strays=parts[1]), None).alerts
    return health([*told, *pipeline.finish().alerts])


def test_readings_rejected_for_a_minute_are_an_alert_until_one_is_not() -> None:
    values = [*[5] * 10, *[99] * 90, *[5] * 10]
    opened, resolved = outside([(0, n, [v, 1]) for n, v in enumerate(values)])
    assert steps([opened, resolved]) == [
        ("out-of-range", "opened", 70),
        ("out-of-range", "resolved", 100),
    ]
    assert opened.onset == TODAY + 10 * SECOND
    assert opened.summary == (
        "pumps/p0: x reads outside 0 to 10 bar since 2026-09-21T14:13:30Z, last 99 bar."
    )
    assert (opened.sensors[0].actual, opened.sensors[0].unit, opened.model) == (99, "bar", None)
    assert resolved.summary == "pumps/p0: x reads within its range again after 1 min 30 s."


def test_spikes_and_a_few_rejected_readings_far_apart_are_no_alert() -> None:
    assert outside([(0, n, [99 if n % 50 else 5, 1]) for n in range(500)]) == []
    assert outside([(0, 60 * n, [99 if n % 5 else 5, 1]) for n in range(50)]) == []


def test_a_sensor_whose_asset_sends_nothing_else_is_out_of_range_too() -> None:
    assert len(outside([(0, n, [99 if n else 5, NAN]) for n in range(100)])) == 1


def test_a_rejected_value_that_another_unit_explains_says_so() -> None:
    rows: list[Row] = [(0, n, [0.5 if n < 30 else 500, 0.3]) for n in range(100)]
    (opened,) = outside(rows, judge=knowing(flat=0, sensors="xy"))
    assert opened.summary.endswith("last 500 bar, as if its unit had changed (×1000).")


@pytest.mark.parametrize(
    ("low", "high", "level", "read", "change"),
    [
        (0, 1, 0.5, 5, "×10"),
        (0, 1, 0.5, 50, "×100"),
        (0, 1, 0.5, 500, "×1000"),
        (3, 8, 5, 0.5, "÷10"),
        (3, 8, 5, 0.05, "÷100"),
        (3, 8, 5, 0.005, "÷1000"),
        (15, 30, 20, 68, "×1.8 + 32, as from °C to °F"),
        (60, 80, 68, 20, "less 32 and ÷1.8, as from °F to °C"),
    ],
)
def test_a_lasting_jump_out_of_the_usual_range_to_another_unit_says_which(
    low: float, high: float, level: float, read: float, change: str
) -> None:
    rng = random.Random(0)
    rows: list[Row] = [
        (0, n, [(level if n < 60 or n >= 160 else read) * rng.uniform(0.98, 1.02)])
        for n in range(170)
    ]
    judge = knowing(flat=0, low=low, high=high, spread=[level / 50])
    opened, resolved = replayed(rows, judge)
    assert steps([opened, resolved]) == [
        ("out-of-range", "opened", 120),
        ("out-of-range", "resolved", 160),
    ]
    assert opened.summary.endswith(f": as if its unit had changed ({change}).")
    assert opened.sensors[0].expected == pytest.approx(level, rel=0.05)


@pytest.mark.parametrize(
    "values",
    [
        [*[0.5] * 60, *[7.0] * 200],  # no change of unit makes 7 of 0.5
        [*[0.5] * 60, *(0.5 + n / 20 for n in range(90)), *[5.0] * 200],  # crept there
        [*[0.5] * 60, *[5.0] * 30, *[0.5] * 60],  # came back
        [*[0.05] * 60, *[0.5] * 200],  # a level that is usual too
    ],
)
def test_what_no_change_of_unit_explains_is_left_to_the_model(values: list[float]) -> None:
    assert replayed([(0, n, [v]) for n, v in enumerate(values)], knowing(flat=0)) == []


def test_a_jump_that_two_changes_of_unit_explain_is_called_neither() -> None:
    rows: list[Row] = [(0, n, [4.0 if n < 60 else 39.5]) for n in range(200)]
    assert replayed(rows, knowing(flat=0, low=0, high=5)) == []


# For all


faulty = st.lists(
    st.tuples(
        st.integers(1, 150),
        st.sampled_from(["walk", "flat", "high", "spike", "gap", "unit", "kilo"]),
        st.integers(0, 9),
    ),
    max_size=8,
)


def story(parts: list[tuple[int, str, int]]) -> list[Row]:
    rows: list[Row] = []
    second = 0
    for length, kind, seed in parts:
        free = walk(length, seed)
        for n in range(length):
            x = {"flat": 0.5, "high": 99.0, "unit": 5.0, "kilo": 500.0}.get(kind, free[n])
            x = 99.0 if kind == "spike" and n % 7 == 3 else x
            if kind != "gap":
                rows.append((0, second, [x, free[n] if seed % 2 else NAN]))
            second += 1
    return rows


@few
@given(faulty, st.lists(st.integers(0, 600), max_size=8))
def test_no_split_of_the_input_changes_what_is_told(
    parts: list[tuple[int, str, int]], edges: list[int]
) -> None:
    rows, judge = story(parts), knowing(sensors="xy")
    assert events(outside(rows, edges, judge)) == events(outside(rows, (), judge))


@few
@given(st.integers(0, 2**32), st.integers(0, 400))
def test_a_healthy_walk_is_told_of_in_no_way(seed: int, edge: int) -> None:
    free = walk(400, seed)
    rng = random.Random(seed)
    rows: list[Row] = [(0, n, [free[n], free[-n]]) for n in range(400) if rng.random() > 0.05]
    assert outside(rows, [edge], knowing(flat=1, sensors="xy")) == []
