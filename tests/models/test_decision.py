import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.decision import Decision, Rule, Verdicts
from models.frame import NEVER

TODAY = 1_790_000_000


class Step(NamedTuple):
    asset: int
    raw: float
    reset: bool


class Verdict(NamedTuple):
    score: float | None
    anomalous: bool
    pending: bool
    onset: int | None


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    of = draw(st.integers(1, 5))
    return Rule(draw(st.integers(1, 5)), draw(st.integers(1, of)), of, 0.8)


scores = st.sampled_from([0.0, 0.3, 0.79, 0.9, 1.0, 1.1, 3.0, math.nan]) | st.floats(0, 1e6)
steps = st.lists(
    st.builds(Step, st.integers(0, 2), scores, st.sampled_from([False] * 5 + [True])), max_size=40
)


class Plain:
    """The decision on one asset, one score at a time."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.raw: list[float] = []
        self.over: list[int | None] = []
        self.onset: int | None = None

    def step(self, tick: int, raw: float, *, reset: bool) -> Verdict:
        if reset:
            self.raw, self.over = [], []
        score = None
        if not math.isnan(raw):
            self.raw = [*self.raw, raw][-self.rule.smooth :]
            total = 0.0
            for one in self.raw:
                total += one
            score = total / len(self.raw)
            self.over = [*self.over, tick if score > 1 else None][-self.rule.of :]
            breaches = [at for at in self.over if at is not None]
            if self.onset is None and len(breaches) >= self.rule.need:
                self.onset = breaches[0]
            if score < self.rule.clear and self.onset is not None:
                self.onset, self.over = None, []
        is_open = self.onset is not None
        is_pending = not is_open and any(at is not None for at in self.over)
        return Verdict(score, is_open, is_pending, self.onset)


def test_breaches_before_an_alert_cleared_do_not_open_the_next() -> None:
    raw = np.array([2.0, 2.0, 2.0, 0.0, 0.9, 2.0, 2.0, 2.0])
    tick = np.arange(len(raw))
    decision = Decision(Rule(smooth=1, need=3, of=5))
    found = decision.step(np.zeros(len(raw), np.int64), tick, raw, np.zeros(len(raw), bool))
    assert found.anomalous.tolist() == [False, False, True, False, False, False, False, True]
    assert found.onset[[2, 7]].tolist() == [0, 5]


def listed(verdicts: Verdicts) -> list[Verdict]:
    return [
        Verdict(
            None if np.isnan(verdicts.score[i]) else float(verdicts.score[i]),
            bool(verdicts.anomalous[i]),
            bool(verdicts.pending[i]),
            None if verdicts.onset[i] == NEVER else int(verdicts.onset[i]),
        )
        for i in range(len(verdicts.score))
    ]


def decide(
    rule: Rule, batches: Sequence[Sequence[tuple[int, Step]]]
) -> dict[tuple[int, int], Verdict]:
    """Verdicts by (asset, tick) of batches of ticks and steps."""
    decision = Decision(rule)
    found: dict[tuple[int, int], Verdict] = {}
    for batch in batches:
        rows = sorted(batch, key=lambda row: (row[1].asset, row[0]))
        verdicts = decision.step(
            np.array([step.asset for _, step in rows], np.int64),
            np.array([tick for tick, _ in rows], np.int64),
            np.array([step.raw for _, step in rows], np.float64),
            np.array([step.reset for _, step in rows], bool),
        )
        keys = [(step.asset, tick) for tick, step in rows]
        found |= dict(zip(keys, listed(verdicts), strict=True))
    return found


@given(rules(), steps, st.lists(st.integers(0, 40), max_size=6), st.sampled_from([0, TODAY]))
def test_verdicts_are_those_of_plain_python_bit_for_bit_in_any_batches(
    rule: Rule, given_steps: list[Step], edges: list[int], first: int
) -> None:
    rows = [(first + index, step) for index, step in enumerate(given_steps)]
    places = [0, *sorted(edge % (len(rows) + 1) for edge in edges), len(rows)]
    plain = {asset: Plain(rule) for asset in range(3)}
    wanted = {
        (step.asset, tick): plain[step.asset].step(tick, step.raw, reset=step.reset)
        for tick, step in rows
    }

    assert decide(rule, [rows]) == wanted
    assert decide(rule, [rows[start:end] for start, end in pairwise(places)]) == wanted


def verdicts_of(rule: Rule, raw: Sequence[float], resets: Sequence[int] = ()) -> list[Verdict]:
    rows = [(tick, Step(0, value, tick in resets)) for tick, value in enumerate(raw)]
    return list(decide(rule, [rows]).values())


def test_the_default_rule_smooths_over_5_and_opens_on_3_of_5() -> None:
    found = verdicts_of(Rule(), [0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0])

    assert [verdict.score for verdict in found] == [0, 0, 0, 0, 0, *[1.2] * 5, 0, 0]
    assert [verdict.anomalous for verdict in found] == [False] * 7 + [True] * 3 + [False] * 2


def test_onset_is_the_first_breach() -> None:
    found = verdicts_of(Rule(smooth=1, need=3, of=5), [0, 2, 0, 2, 0, 2, 2])

    assert [verdict.onset for verdict in found] == [None] * 5 + [1, 1]
    assert [verdict.pending for verdict in found] == [False] + [True] * 4 + [False] * 2


def test_a_score_of_exactly_the_threshold_is_no_breach() -> None:
    assert not any(v.anomalous or v.pending for v in verdicts_of(Rule(1, 1, 1), [1.0, 1.0]))


@pytest.mark.parametrize(("last", "is_open"), [(0.8, True), (0.7999, False)])
def test_a_verdict_clears_below_0_8_and_not_before(last: float, is_open: bool) -> None:
    assert verdicts_of(Rule(1, 1, 1), [5, 0.9, last])[-1].anomalous is is_open


def test_a_gap_resets_mean_and_count_but_no_open_verdict() -> None:
    rule = Rule(smooth=2, need=2, of=2)
    open_before = verdicts_of(rule, [9, 9, math.nan, 0.9], resets=[2])
    counting = verdicts_of(rule, [0, 9, 1.5, 1.5], resets=[2])

    assert [verdict.anomalous for verdict in open_before] == [False, True, True, True]
    assert open_before[-1] == Verdict(0.9, True, False, 0)
    assert [verdict.score for verdict in counting] == [0, 4.5, 1.5, 1.5]
    assert [verdict.onset for verdict in counting] == [None, None, None, 2]


def test_an_unscored_frame_keeps_verdict_mean_and_count() -> None:
    found = verdicts_of(Rule(smooth=2, need=2, of=2), [4, math.nan, 2, math.nan])

    assert [verdict.score for verdict in found] == [4, None, 3, None]
    assert [verdict.anomalous for verdict in found] == [False, False, True, True]
