import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.decision import Rule
from models.detector import Detector
from models.frame import SECOND
from monitor.alert import Alert, AlertRules, SensorEvidence, alert_id, cloudevent, significant
from monitor.channels import Channels
from monitor.pipeline import Pipeline
from tests.monitor.machines import EVERY_SCORE, TODAY, XY, X, detector, many, readings, table

QUICK = AlertRules(renotify=10**6 * SECOND, expire=10**6 * SECOND)


class Machine:
    """One asset with one sensor, whose readings are its scores; a reading a second."""

    def __init__(self, rules: AlertRules = QUICK, with_detector: Detector | None = None) -> None:
        self.detector = with_detector or detector()
        self.pipeline = Pipeline("pumps", X, table("p7"), {None: self.detector}, 0, rules)

    def take(self, scores: Sequence[float | None], start: int = 0) -> list[Alert]:
        """Alerts of some seconds, all but the last; None where there is no reading."""
        rows = [(0, start + n, [one]) for n, one in enumerate(scores) if one is not None]
        return self.pipeline.step(readings(rows), None).alerts

    def end(self) -> list[Alert]:
        return self.pipeline.finish().alerts


def life(
    scores: Sequence[float | None],
    rules: AlertRules = QUICK,
    with_detector: Detector | None = None,
) -> list[Alert]:
    machine = Machine(rules, with_detector)
    return [*machine.take(scores), *machine.end()]


def steps(alerts: Sequence[Alert]) -> list[tuple[str, int, str | None]]:
    """Step, second of the day and reason of alerts."""
    return [(one.step, (one.time - TODAY) // SECOND, one.reason) for one in alerts]


def test_an_alert_opens_at_a_breach_and_resolves_on_normal_scores() -> None:
    assert steps(life([0, 0, 0, 2, 2, 0.9, 2, 0.5, 0])) == [
        ("opened", 3, None),
        ("resolved", 7, "normal"),
    ]


def test_without_a_breach_there_is_no_alert() -> None:
    assert life([0, 0.5, 1, 1.0, 0.99, 1]) == []


def test_an_alert_begins_with_the_first_breach_that_led_to_it() -> None:
    rule = Rule(smooth=1, need=3, of=5, clear=0.8)
    opened, resolved = life([0, 0, 2, 0.9, 2, 2, 2, 0], QUICK, detector(rule=rule))
    assert (opened.onset, opened.time) == (TODAY + 2 * SECOND, TODAY + 5 * SECOND)
    assert (resolved.onset, resolved.time) == (opened.onset, TODAY + 7 * SECOND)


def test_a_later_fault_is_another_alert() -> None:
    first, _, second, _ = life([0, 0, 2, 0, 0, 2, 0])
    assert (first.step, second.step) == ("opened", "opened")
    assert first.alert_id != second.alert_id


def test_steps_of_an_alert_share_its_id_and_are_numbered() -> None:
    alerts = life([0, 0, 2, 4, 0])
    assert [one.step for one in alerts] == ["opened", "updated", "resolved"]
    assert len({one.alert_id for one in alerts}) == 1
    assert [one.number for one in alerts] == [0, 1, 2]
    ids = [json.loads(cloudevent(one, "edge-1"))["id"] for one in alerts]
    assert ids == [f"{alerts[0].alert_id}-{n}" for n in range(3)]


def test_an_alert_that_grows_critical_is_told_once_more() -> None:
    alerts = life([0, 0, 2, 2.9, 3, 5, 2, 3, 0.9, 0])
    assert [(one.step, one.severity) for one in alerts] == [
        ("opened", "warning"),
        ("updated", "critical"),
        ("resolved", "critical"),
    ]
    assert [one.score for one in alerts] == [2.0, 3.0, 3.0]
    assert [one.peak_score for one in alerts] == [2.0, 3.0, 5.0]


def test_an_alert_may_open_critical_and_is_then_not_told_to_grow() -> None:
    alerts = life([0, 0, 7, 9, 0])
    assert [(one.step, one.severity) for one in alerts] == [
        ("opened", "critical"),
        ("resolved", "critical"),
    ]


def test_a_firing_alert_is_told_again_after_a_while_of_event_time() -> None:
    rules = replace(QUICK, renotify=3 * SECOND)
    assert steps(life([0, 0, *[2] * 8, 0], rules)) == [
        ("opened", 2, None),
        ("updated", 5, None),
        ("updated", 8, None),
        ("resolved", 10, "normal"),
    ]


def test_growing_critical_restarts_the_while() -> None:
    rules = replace(QUICK, renotify=3 * SECOND)
    assert [at for _, at, _ in steps(life([0, 0, 2, 2, 4, 4, 4, 4, 4], rules))] == [2, 4, 7]


def test_a_verdict_is_held_for_a_while_of_event_time_before_it_is_told() -> None:
    rules = replace(QUICK, hold=3 * SECOND)
    assert steps(life([0, 0, 2, 0.9, 2, 2, 2, 0], rules)) == [
        ("opened", 5, None),
        ("resolved", 7, "normal"),
    ]


def test_a_verdict_that_clears_within_the_hold_is_never_told() -> None:
    rules = replace(QUICK, hold=3 * SECOND)
    assert life([0, 0, 2, 2, 2, 0, 2, 2, 2, 0], rules) == []


def test_the_worst_of_the_hold_counts_for_the_severity() -> None:
    (opened,) = life([0, 0, 5, 2, 2], replace(QUICK, hold=2 * SECOND))
    assert (opened.severity, opened.score, opened.peak_score) == ("critical", 2.0, 5.0)


def test_an_alert_never_opens_on_a_frame_without_a_score() -> None:
    rules = replace(QUICK, hold=3 * SECOND)
    # The gap comes within the hold; the next scored frame is the second of the fresh window.
    assert steps(life([0, 0, 2, 2, None, None, None, 2, 2], rules)) == [("opened", 8, None)]


def test_an_alert_stays_open_over_a_gap_until_a_scored_window_is_normal() -> None:
    assert steps(life([0, 0, 2, None, None, None, None, 0, 0])) == [
        ("opened", 2, None),
        ("resolved", 8, "normal"),
    ]
    never_whole = [0, 0, 0, 2, *[None, None, None, 0] * 5]
    assert steps(life(never_whole, QUICK, detector(window=3))) == [("opened", 3, None)]


def test_an_alert_stays_open_while_there_is_no_finite_score() -> None:
    assert steps(life([0, 0, 2, 1e6, 1e6, 2, 0])) == [
        ("opened", 2, None),
        ("resolved", 6, "normal"),
    ]


# Idle below 0: the score is the reading's size.
def idle_detector() -> Detector:
    return detector(running="x >= 0")


def test_an_alert_stays_open_while_the_machine_is_idle_until_a_scored_window_is_normal() -> None:
    scores = [0, 0, 2, *[-1] * 9, 0, 0]
    assert steps(life(scores, QUICK, idle_detector())) == [
        ("opened", 2, None),
        ("resolved", 13, "normal"),
    ]
    assert steps(life([0, 0, 2, *[-1] * 9, 2, 2, 0], QUICK, idle_detector())) == [
        ("opened", 2, None),
        ("resolved", 14, "normal"),
    ]


def test_an_open_alert_without_a_score_is_told_again_with_the_reason_until_it_expires() -> None:
    rules = replace(QUICK, renotify=3 * SECOND, expire=7 * SECOND)
    alerts = life([0, 0, 2, 2, *[-1] * 9], rules, idle_detector())
    assert steps(alerts) == [
        ("opened", 2, None),
        ("updated", 5, None),
        ("updated", 8, None),
        ("resolved", 11, "expired"),
    ]
    why = "not scored: the machine is idle or has just started"
    assert [one.quality for one in alerts] == ["good", why, why, why]
    assert alerts[1].summary == f"pumps/p7: the alert of 2026-09-21T14:13:22Z stays open, {why}."
    assert [one.sensors for one in alerts[1:]] == [alerts[0].sensors] * 3


def test_an_alert_that_is_scored_again_no_longer_says_why_it_was_not() -> None:
    rules = replace(QUICK, renotify=3 * SECOND)
    alerts = life([0, 0, 2, -1, -1, -1, 2, 2, 2, 0], rules, idle_detector())
    assert [(one.step, one.quality[:10]) for one in alerts] == [
        ("opened", "good"),
        ("updated", "not scored"),
        ("updated", "good"),
        ("resolved", "good"),
    ]
    (_, told, resolved) = life([0, 0, 2, -1, -1, -1, 0, 0], rules, idle_detector())
    assert (told.quality[:10], resolved.quality) == ("not scored", "good")


def test_silence_resolves_nothing() -> None:
    machine = Machine(replace(QUICK, expire=SECOND))
    (opened,) = machine.take([0, 0, 2, 2])
    assert opened.step == "opened"
    for hours in range(1, 100):
        assert machine.pipeline.step(readings([]), TODAY + hours * 3600 * SECOND).alerts == []
    assert machine.pipeline.groups[0].alerts.lives[0].firing


def test_without_a_scored_frame_for_long_an_alert_expires() -> None:
    rules = replace(QUICK, expire=5 * SECOND)
    unscored = [1e6] * 8
    assert steps(life([0, 0, 2, *unscored, 0], rules)) == [
        ("opened", 2, None),
        ("resolved", 8, "expired"),
    ]
    assert steps(life([0, 0, 2, *unscored[:5], 2, *unscored[:5], 0], rules)) == [
        ("opened", 2, None),
        ("resolved", 14, "normal"),
    ]


def test_a_machine_that_goes_on_after_its_alert_expired_is_told_of_anew() -> None:
    rules = replace(QUICK, expire=2 * SECOND)
    alerts = life([0, 0, 2, 1e6, 1e6, 1e6, 2, 5, 0, 2], rules)
    assert steps(alerts) == [
        ("opened", 2, None),
        ("resolved", 5, "expired"),
        ("opened", 6, None),
        ("updated", 7, None),
        ("resolved", 8, "normal"),
        ("opened", 9, None),
    ]
    assert len({alerts[0].alert_id, alerts[2].alert_id, alerts[5].alert_id}) == 3


def test_an_alert_that_was_never_told_does_not_expire() -> None:
    rules = replace(QUICK, hold=SECOND, expire=2 * SECOND)
    assert life([0, 0, 2, *[1e6] * 9], rules) == []


one_score = st.sampled_from([0.0, 0.0, 0.85, 1.5, 1.5, 4.0, 1e6, None])


@many
@given(
    st.lists(one_score, max_size=40),
    st.lists(st.integers(0, 40), max_size=6),
    st.sampled_from([EVERY_SCORE, Rule(2, 2, 3, 0.8)]),
    st.builds(
        AlertRules,
        critical=st.just(3.0),
        hold=st.integers(0, 3).map(lambda n: n * SECOND),
        renotify=st.integers(1, 5).map(lambda n: n * SECOND),
        expire=st.integers(1, 5).map(lambda n: n * SECOND),
    ),
)
def test_many_frames_in_one_step_tell_what_they_tell_one_by_one(
    scores: list[float | None], edges: list[int], rule: Rule, rules: AlertRules
) -> None:
    whole = life(scores, rules, detector(rule=rule))
    places = [0, *sorted(min(edge, len(scores)) for edge in edges), len(scores)]
    for cuts in (places, range(len(scores) + 1)):
        machine = Machine(rules, detector(rule=rule))
        parts = [machine.take(scores[start:end], start) for start, end in pairwise(cuts)]
        assert [*(one for part in parts for one in part), *machine.end()] == whole


@many
@given(st.lists(one_score, max_size=60), st.integers(0, 3), st.integers(1, 5), st.integers(1, 5))
def test_the_steps_of_a_life_follow_each_other(
    scores: list[float | None], hold: int, renotify: int, expire: int
) -> None:
    rules = AlertRules(3.0, hold * SECOND, renotify * SECOND, expire * SECOND)
    alerts = life(scores, rules)
    by_id: dict[str, list[Alert]] = {}
    for one in alerts:
        by_id.setdefault(one.alert_id, []).append(one)
    assert [one for of in by_id.values() for one in of] == alerts
    for of in by_id.values():
        kinds = [one.step for one in of]
        assert kinds[0] == "opened"
        assert kinds[1:] in (
            ["updated"] * (len(of) - 1),
            ["updated"] * (len(of) - 2) + ["resolved"],
        )
        assert [one.number for one in of] == list(range(len(of)))
        assert all(one.time < other.time for one, other in pairwise(of))
        assert all((one.peak_score or 0) <= (other.peak_score or 0) for one, other in pairwise(of))
        assert of[0].time - of[0].onset >= rules.hold


def test_an_alerts_id_names_stream_asset_kind_and_onset_and_nothing_else() -> None:
    known = alert_id("pumps", "p7", "anomaly", TODAY)
    assert known == "c281db56f05956aa5c3e5dd4cd0077c7"
    others = {
        alert_id("pump", "sp7", "anomaly", TODAY),
        alert_id("pumps", "p8", "anomaly", TODAY),
        alert_id("pumps", "p7", "stuck", TODAY),
        alert_id("pumps", "p7", "anomaly", TODAY + 1),
    }
    assert len(others | {known}) == 5


def test_an_alerts_id_does_not_depend_on_the_model() -> None:
    scores = [0, 0, 2, 4, 0]
    one, other = (life(scores, QUICK, detector(digest=digest)) for digest in ("old", "new"))
    assert [alert.alert_id for alert in one] == [alert.alert_id for alert in other]
    assert [alert.digest for alert in other] == ["new"] * 3


def test_a_machine_seen_again_tells_the_same_bytes() -> None:
    scores = [0, 0, 2, 4, None, None, 0, 0]
    one, other = ([cloudevent(alert, "edge-1") for alert in life(scores)] for _ in range(2))
    assert one == other
    assert len(one) == 3


def test_a_fault_seen_again_from_the_middle_has_the_same_id() -> None:
    machine = Machine()
    (again,) = machine.take([0, 2, 2, 2], start=1)
    assert again.alert_id == life([0, 0, 2, 2])[0].alert_id


EVIDENCE = (
    SensorEvidence("bearing", "mm/s", 0.71828, 1.2, 9.85),
    SensorEvidence("current", "A", 0.2, 3.0, 2.5),
    SensorEvidence("Öl", "", 0.08172, 40.0, 41.0),
)
OPENED = Alert(
    alert_id="0123456789abcdef0123456789abcdef",
    step="opened",
    number=0,
    stream="pumps",
    asset="p7",
    labels=(("line", "a"), ("site", "Köln")),
    kind="anomaly",
    severity="warning",
    score=1.234567,
    peak_score=1.5,
    time=TODAY + 90 * SECOND,
    onset=TODAY + SECOND // 4,
    sensors=EVIDENCE,
    quality="good",
    model="pumps",
    digest="d1gest",
)
RESOLVED = replace(
    OPENED,
    step="resolved",
    number=3,
    time=TODAY + 3700 * SECOND,
    peak_score=7.77777,
    reason="normal",
)


def test_an_opened_alert_is_these_bytes() -> None:
    assert (
        cloudevent(OPENED, "edge-1")
        == (
            '{"specversion":"1.0","id":"0123456789abcdef0123456789abcdef-0",'
            '"source":"/edge-1/pumps/p7","subject":"anomaly","type":"io.sensor-monitor.alert.opened",'
            '"time":"2026-09-21T14:14:50Z","datacontenttype":"application/json",'
            '"dataschema":"urn:sensor-monitor:alert:1","data":{'
            '"alert_id":"0123456789abcdef0123456789abcdef","stream":"pumps","asset":"p7",'
            '"labels":{"line":"a","site":"Köln"},"kind":"anomaly","severity":"warning","score":1.235,'
            '"onset":"2026-09-21T14:13:20.25Z","summary":"pumps/p7 has behaved unlike normal since '
            "2026-09-21T14:13:20.25Z: bearing reads 9.85 mm/s, expected 1.2 mm/s (72% of the "
            'deviation); current reads 2.5 A, expected 3 A (20% of the deviation).",'
            '"quality":"good","sensors":['
            '{"name":"bearing","unit":"mm/s","share":0.7183,"expected":1.2,"actual":9.85},'
            '{"name":"current","unit":"A","share":0.2,"expected":3.0,"actual":2.5},'
            '{"name":"Öl","unit":"","share":0.08172,"expected":40.0,"actual":41.0}],'
            '"model":{"name":"pumps","digest":"d1gest"}}}'
        ).encode()
    )


def test_a_resolved_alert_adds_why_when_and_how_bad() -> None:
    opened, resolved = (json.loads(cloudevent(one, "edge-1")) for one in (OPENED, RESOLVED))
    assert resolved["type"] == "io.sensor-monitor.alert.resolved"
    assert resolved["time"] == resolved["data"]["ended"] == "2026-09-21T15:15:00Z"
    assert resolved["data"]["reason"] == "normal"
    assert resolved["data"]["peak_score"] == 7.778
    assert resolved["data"].keys() - opened["data"].keys() == {"reason", "ended", "peak_score"}


def test_a_cloudevent_says_where_it_comes_from_as_a_uri_reference() -> None:
    event = json.loads(cloudevent(replace(OPENED, asset="Pumpe 7 (Öl)?#%"), "Kante 1"))
    assert event["source"] == "/Kante%201/pumps/Pumpe%207%20%28%C3%96l%29%3F%23%25"
    assert event["data"]["asset"] == "Pumpe 7 (Öl)?#%"


SINCE = "2026-09-21T14:13:20"


@pytest.mark.parametrize(
    ("alert", "summary"),
    [
        (
            replace(OPENED, sensors=EVIDENCE[:1]),
            (
                f"pumps/p7 has behaved unlike normal since {SINCE}.25Z: "
                "bearing reads 9.85 mm/s, expected 1.2 mm/s (72% of the deviation)."
            ),
        ),
        (
            replace(OPENED, step="updated", onset=TODAY, sensors=EVIDENCE[2:]),
            (
                f"pumps/p7 still behaves unlike normal since {SINCE}Z: "
                "Öl reads 41, expected 40 (8% of the deviation)."
            ),
        ),
        (
            RESOLVED,
            "pumps/p7 is back to normal after 1 h 1 min; its worst score was 7.78 (1 is the line).",
        ),
        (
            replace(RESOLVED, reason="expired", time=OPENED.onset + 90_061 * SECOND),
            f"pumps/p7: the alert of {SINCE}.25Z ended after 1 d 1 h (expired).",
        ),
        (
            replace(RESOLVED, time=OPENED.onset + 75 * SECOND, peak_score=1.0),
            "pumps/p7 is back to normal after 1 min 15 s; its worst score was 1 (1 is the line).",
        ),
        (
            replace(RESOLVED, time=OPENED.onset + 59 * SECOND),
            "pumps/p7 is back to normal after 59 s; its worst score was 7.78 (1 is the line).",
        ),
    ],
)
def test_a_summary_is_a_sentence_for_a_person(alert: Alert, summary: str) -> None:
    assert alert.summary == summary


@pytest.mark.parametrize(
    ("value", "rounded"),
    [(1.23456, 1.235), (123456.7, 123500.0), (0.000123456, 0.0001235), (1.0, 1.0), (0.0, 0.0)],
)
def test_scores_and_shares_have_four_significant_digits(value: float, rounded: float) -> None:
    assert significant(value) == rounded


@pytest.mark.parametrize(
    ("spread", "value", "shown"),
    [
        (1000.0, 5678.9, 5679.0),
        (100.0, 567.89, 568.0),
        (99.0, 567.89, 567.9),
        (1.0, 5.6789, 5.68),
        (0.37, 2.3456789, 2.346),
        (0.001, 0.0056789, 0.00568),
        (1e-9, 5.6789e-9, 5.68e-9),
        (1.0, -0.0004, 0.0),
    ],
)
def test_readings_are_rounded_by_their_normal_spread(
    spread: float, value: float, shown: float
) -> None:
    with_detector = detector(["x", "y"], spread=[spread, 1.0])
    pipeline = Pipeline("pumps", XY, table("p7"), {None: with_detector}, 0, QUICK)
    rows = readings([(0, 0, [0, 0]), (0, 1, [value, 9]), (0, 2, [0, 0])])
    sensors = {one.name: one for one in pipeline.step(rows, None).alerts[0].sensors}
    assert repr(sensors["x"].actual) == repr(shown)
    assert repr(sensors["x"].expected) == repr(shown)


def test_sensors_are_named_strongest_first_and_at_most_ten() -> None:
    names = [f"s{n}" for n in range(12)]
    with_detector = detector(names, units=["mm/s", None, *["A"] * 10])
    pipeline = Pipeline(
        "pumps", Channels.plain(*names), table("p7"), {None: with_detector}, 0, QUICK
    )
    sizes = [5, 1, 9, 0, 2, 7, 7, 3, 0, 4, 8, 6]
    rows = readings([(0, 0, [0] * 12), (0, 1, sizes), (0, 2, [0] * 12)])
    (opened,) = pipeline.step(rows, None).alerts
    assert [one.name for one in opened.sensors] == [
        *("s2", "s10", "s5", "s6", "s11", "s0", "s9", "s7", "s4", "s1")
    ]
    assert [one.actual for one in opened.sensors] == sorted(sizes, reverse=True)[:10]
    assert [one.unit for one in opened.sensors if one.name in ("s0", "s1", "s2")] == [
        *("A", "mm/s", "")
    ]
    np.testing.assert_allclose(sum(one.share or 0 for one in opened.sensors), 1.0)


def test_held_sensors_are_named_in_the_quality() -> None:
    with_detector = detector(["x", "y", "z"])
    pipeline = Pipeline(
        "pumps", Channels.plain("x", "y", "z"), table("p7"), {None: with_detector}, 0, QUICK
    )
    none = float("nan")
    rows = readings(
        [(0, 0, [0, 0, 0]), (0, 1, [9, none, none]), (0, 2, [0, 0, 0]), (0, 3, [9, 9, 9])]
    )
    alerts = [*pipeline.step(rows, None).alerts, *pipeline.finish().alerts]
    assert [one.quality for one in alerts if one.step == "opened"] == ["held: y, z", "good"]


def test_a_resolved_alert_keeps_the_evidence_it_was_told_with() -> None:
    opened, resolved = life([0, 0, 2, 0])
    assert resolved.sensors == opened.sensors
    assert resolved.score == opened.score
