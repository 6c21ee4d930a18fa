import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import tail
from models.adaptation import MOST, Adaptation, Start, State, begin
from models.decision import Decision, Rule, Verdicts
from models.frame import Floats, Ints
from models.threshold import DAY, ThresholdSettings, threshold_of
from tests.models.scores import held_out

RULE = Rule(smooth=1, need=2, of=3)
GAP = 4
EXCESSES = tuple(0.05 * n for n in range(1, 13))


def adaptation(*, depth: int = 0, cap: float = 2.0, share: float = 1e-3) -> Adaptation:
    mean = 0.3 if depth else 0.0
    start = Start(0.5 - mean, EXCESSES, 400.0, share, mean)
    return Adaptation(GAP, cap, depth, (start, replace(start, level=0.4 - mean)))


class Plain:
    """SPOT and DSPOT in plain words, one score of one asset at a time."""

    def __init__(self, how: Adaptation, row: int, rule: Rule) -> None:
        one = how.starts[row]
        self.how, self.rule, self.level, self.share = how, rule, one.level, one.share
        self.excesses, self.frames = [*one.excesses], one.frames
        self.mean, self.past = one.mean, [one.mean] * how.depth
        self.lived, self.height = 0.0, self.level
        self.height = self.tail()
        self.trained = self.height + self.mean
        self.recent: list[float] = []
        self.peak: float | None = None
        self.over_at = self.alarm_at = -(10**9)
        self.over: list[bool] = []
        self.is_open = False

    def tail(self) -> float:
        padded = np.array([[*self.excesses, *[np.nan] * (MOST - len(self.excesses))]])
        missing = np.array([self.share * self.lived])
        law = tail.fit(padded, missing, np.array([self.height - self.level]))
        ratio = self.share * self.frames / (len(self.excesses) + missing)
        return self.level + float(tail.exceeded(np.minimum(ratio, 1.0), *law)[0])

    def threshold(self) -> float:
        now = (self.height + self.mean) / self.trained
        return min(self.how.cap, max(1 / self.how.cap, now))

    def step(self, tick: int, score: float) -> tuple[float, bool]:
        published = score / self.threshold()
        self.over = [*self.over, published > 1][-self.rule.of :]
        self.is_open |= sum(self.over) >= self.rule.need
        if self.is_open and published < self.rule.clear:
            self.is_open, self.over = False, []
        if self.peak is not None and tick - self.over_at >= GAP:
            if len(self.excesses) == MOST:
                self.excesses.pop(0)
                self.frames *= 1 - 1 / MOST
                self.lived *= 1 - 1 / MOST
            self.excesses.append(self.peak - self.level)
            self.height, self.peak = self.tail(), None
        if self.is_open:
            self.alarm_at, self.peak, self.recent = tick, None, []
        if tick - self.alarm_at < GAP:
            return published, self.is_open
        self.frames += 1
        self.lived += 1
        self.recent = [*self.recent, score - self.mean][-self.rule.of :]
        ranked = sorted(self.recent, reverse=True)
        if len(ranked) >= self.rule.need and ranked[self.rule.need - 1] > self.level:
            height = ranked[self.rule.need - 1]
            self.peak = height if self.peak is None else max(self.peak, height)
            self.over_at = tick
        if self.how.depth and published <= 1:
            self.past = [*self.past, score][-self.how.depth :]
            self.mean = math.fsum(self.past) / self.how.depth
        return published, self.is_open


def decide(decision: Decision, raw: Floats, first: int = 0, asset: int = 0) -> Verdicts:
    frames = len(raw)
    tick = first + np.arange(frames)
    return decision.step(np.full(frames, asset), tick, raw, np.zeros(frames, bool), asset)


quiet = st.floats(0.0, 0.99)
scores = st.lists(
    st.one_of(quiet, quiet, quiet, st.sampled_from([0.45, 0.6, 0.9, 1.2, 5.0])), max_size=80
)
adaptations = st.builds(
    adaptation,
    depth=st.sampled_from([0, 7]),
    cap=st.sampled_from([1.1, 2.0]),
    share=st.sampled_from([1e-4, 1e-2]),
)


@settings(max_examples=40)
@given(adaptations, st.lists(scores, min_size=2, max_size=2))
def test_live_thresholds_are_those_of_plain_python(
    how: Adaptation, raw: Sequence[Sequence[float]]
) -> None:
    decision = Decision(RULE, how)
    for asset in (0, 1):
        plain = Plain(how, asset, RULE)
        found = decide(decision, np.array(raw[asset]), asset=asset)
        wanted = [plain.step(tick, score) for tick, score in enumerate(raw[asset])]

        np.testing.assert_allclose(found.score, [score for score, _ in wanted], rtol=1e-9)
        assert found.anomalous.tolist() == [is_open for _, is_open in wanted]


@settings(max_examples=40)
@given(adaptations, scores, st.lists(st.integers(0, 80), max_size=5), st.integers(0, 3))
def test_batches_and_company_change_no_bit(
    how: Adaptation, raw: list[float], edges: list[int], company: int
) -> None:
    places = [0, *sorted(edge % (len(raw) + 1) for edge in edges), len(raw)]
    whole, parts = Decision(RULE, how), Decision(RULE, how)
    assets = np.arange(company + 1)

    wanted = decide(whole, np.array(raw)).score
    found: list[Floats] = []
    for start, end in pairwise(places):
        tick = np.tile(np.arange(start, end), len(assets))
        verdicts = parts.step(
            np.repeat(assets, end - start),
            tick,
            np.tile(np.array(raw[start:end]), len(assets)),
            np.zeros(len(tick), bool),
        )
        found += np.split(verdicts.score, len(assets))[:1]

    np.testing.assert_array_equal(np.concatenate([*found, np.empty(0)]), wanted)


@settings(max_examples=60)
@given(adaptations, scores)
def test_a_threshold_stays_within_its_cap(how: Adaptation, raw: list[float]) -> None:
    published = decide(Decision(RULE, how), np.array(raw)).score

    known = np.array(raw) > 0
    factor = np.array(raw)[known] / published[known]
    assert (factor >= 1 / how.cap - 1e-12).all()
    assert (factor <= how.cap + 1e-12).all()


def known_of(decision: Decision) -> dict[str, list[float]]:
    assert decision.adapter
    state = decision.adapter.state
    return {name: getattr(state, name)[:1].ravel().tolist() for name in State.__slots__}


def same(one: dict[str, list[float]], other: dict[str, list[float]]) -> bool:
    return all(np.array_equal(one[key], other[key], equal_nan=True) for key in one)


@settings(max_examples=60)
@given(adaptations, scores)
def test_how_high_an_alarming_score_is_teaches_nothing(how: Adaptation, raw: list[float]) -> None:
    one, other = Decision(RULE, how), Decision(RULE, how)

    published = decide(one, np.array(raw)).score
    decide(other, np.where(published > 1, 1000.0, np.array(raw)))

    # What is seen of it is that it is over the line.
    assert same({**known_of(one), "recent": []}, {**known_of(other), "recent": []})


@settings(max_examples=60)
@given(adaptations, scores, st.lists(st.booleans(), min_size=80, max_size=80))
def test_an_unscored_frame_teaches_nothing(
    how: Adaptation, raw: list[float], missing: list[bool]
) -> None:
    scored = ~np.array(missing[: len(raw)], bool)
    holes, dropped = Decision(RULE, how), Decision(RULE, how)

    decide(holes, np.where(scored, raw, np.nan))
    at = np.flatnonzero(scored)
    dropped.step(0 * at, at, np.array(raw)[at], np.zeros(len(at), bool))

    assert same(known_of(holes), known_of(dropped)) or not len(at)


def heights(decision: Decision) -> tuple[float, float]:
    """Newest excess and number of frames."""
    known = known_of(decision)
    last = int(known["excess_turn"][0]) - 1
    return known["excess"][last], known["frames"][0]


def test_an_excess_is_the_peak_of_an_excursion_that_has_ended() -> None:
    decision = Decision(RULE, adaptation())

    decide(decision, np.array([0.1, 0.7, 0.8, 0.7, 0.1, 0.1, 0.1, 0.1]))
    assert heights(decision) == (pytest.approx(EXCESSES[-1]), 408)
    decide(decision, np.array([0.1]), first=8)
    # Of 0.7, 0.8, 0.7 the second largest counts, as an alarm would open on it.
    assert heights(decision) == (pytest.approx(0.2), 409)


def test_what_leads_to_an_alarm_and_what_shares_frames_with_it_is_not_learnt() -> None:
    decision = Decision(RULE, adaptation())

    rising = [0.1, 0.6, 0.7, 0.8, 0.9, 3.0, 3.0]
    falling = [0.7, 0.7, 0.7, 0.1, 0.1, 0.1, 0.1, 0.1]
    found = decide(decision, np.array([*rising, *falling]))

    assert found.anomalous.tolist() == [False] * 6 + [True] + [False] * 8
    assert heights(decision) == (pytest.approx(EXCESSES[-1]), 400 + 6 + len(falling) - GAP + 1)


def test_while_a_verdict_is_open_nothing_is_learnt() -> None:
    decision = Decision(RULE, adaptation(depth=5))
    decide(decision, np.array([0.3, 3.0, 3.0]))
    before = known_of(decision)

    # Over the line where the verdict clears, though under the one where it opens.
    verdicts = decide(decision, np.full(50, 0.85), first=3)

    assert verdicts.anomalous.all()
    after = known_of(decision)
    assert after["alarm_at"] == [52]
    assert same({**before, "alarm_at": []}, {**after, "alarm_at": []})


def test_an_excess_beyond_the_newest_512_pushes_the_oldest_out_with_its_frames() -> None:
    how = adaptation()
    full = replace(how.starts[0], excesses=(0.3,) * MOST, frames=MOST * 100.0)
    decision = Decision(RULE, replace(how, starts=(full,)))

    decide(decision, np.array([0.1, 0.7, 0.7, 0.1, 0.1, 0.1, 0.1, 0.1]))

    known = known_of(decision)
    assert known["excess"][:2] == [pytest.approx(0.2), 0.3]
    assert known["frames"] == [pytest.approx((MOST * 100 + 7) * (MOST - 1) / MOST + 1)]
    assert known["lived"] == [pytest.approx(7 * (MOST - 1) / MOST + 1)]


# The beginning


def noise(frames: int, seed: int = 0, level: float = 0.0) -> Floats:
    """Smoothed exponential noise."""
    rng = np.random.default_rng(seed)
    return level + np.convolve(rng.exponential(size=frames + 9), np.ones(10) / 10, "valid")


def of(scores: Floats, *, depth: int = 0, requested: float = 5.0) -> tuple[float, Start]:
    """A `pot` threshold and the start of its adaptation."""
    rule = Rule(smooth=1)
    found = threshold_of(
        held_out([scores], rule=rule, requested=requested, settings=ThresholdSettings("pot"))
    )
    share = requested / DAY
    return found.value, begin([scores / found.value], 3, 5, 0.98, share, 64, depth)


def test_spot_begins_where_pot_ends() -> None:
    value, start = of(noise(50_000))

    state = State.of(Adaptation(64, 2.0, 0, (start,)), 5)

    assert state.trained[0] == pytest.approx(1.0, rel=1e-3)
    assert start.level == pytest.approx(np.quantile(noise(50_000), 0.98) / value)
    assert start.frames == 50_000
    assert start.mean == 0


@pytest.mark.parametrize("depth", [0, 200])
def test_living_through_the_held_out_scores_gives_the_excesses_they_are_begun_with(
    depth: int,
) -> None:
    scores = noise(6000) / 10
    start = begin([scores[:2000], scores[2000:]], 3, 5, 0.95, 1e-6, 32, depth)
    empty = replace(start, excesses=(1.0,), frames=1.0, share=1e-9)
    decision = Decision(Rule(smooth=1), Adaptation(32, 1e9, depth, (empty,)))

    frame = np.arange(6000)
    decision.step(0 * frame, frame + 1000 * (frame >= 2000), scores, frame == 2000)

    known = known_of(decision)
    lived = np.array(known["excess"][1 : int(known["excess_turn"][0])])
    np.testing.assert_allclose(lived, start.excesses[: len(lived)], rtol=1e-6, atol=1e-9)
    assert len(start.excesses) - len(lived) <= 1  # the last one may be under way
    assert len(start.excesses) > 20
    assert known["frames"] == [6001]


def test_of_many_excursions_the_newest_512_are_kept_with_their_frames() -> None:
    scores = noise(400_000) / 10

    start = begin([scores], 3, 5, 0.98, 1e-6, 32, 0)

    peaks = tail.peaks(tail.opening(scores, 3, 5), start.level, 32)
    assert len(peaks) > MOST
    assert start.excesses == tuple((peaks[-MOST:] - start.level).tolist())
    assert start.frames == pytest.approx(400_000 * MOST / len(peaks))


def test_too_few_excursions_to_adapt_from_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"^\d excursions over the 0.98 quantile .*\(wanted 10; "):
        begin([noise(1000)], 3, 5, 0.98, 1e-6, 64, 0)
    with pytest.raises(ValueError, match=r"excursions .* \(wanted 500; "):
        begin([noise(50_000)], 3, 5, 0.98, 1e-2, 64, 0)


# What it is for


def test_thresholds_begun_with_an_hour_draw_together_and_do_not_feed_on_their_false_alarms() -> (
    None
):
    machines, frames, requested = 40, 8000, 20.0
    begun = [of(noise(7200, seed), requested=requested) for seed in range(machines)]
    values = np.array([value for value, _ in begun])
    exact, _ = of(noise(1_000_000, seed=99), requested=requested)
    decision = Decision(Rule(smooth=1), Adaptation(64, 2.0, 0, tuple(one for _, one in begun)))
    asset = np.repeat(np.arange(machines), frames)
    tick = np.tile(np.arange(frames), machines)
    raw = np.concatenate([noise(frames, 1000 + seed) for seed in range(machines)]) / values[asset]

    found = decision.step(asset, tick, raw, tick < 0, asset)

    assert decision.adapter
    now = values * decision.adapter.threshold(np.arange(machines))
    assert found.anomalous.any()
    assert np.abs(np.log(now / exact)).mean() < 0.9 * np.abs(np.log(values / exact)).mean()
    assert abs(np.log(now / values).mean()) < 0.02


def drifting(rate: float, frames: int = 8000) -> Floats:
    return noise(frames, 5) + rate * np.arange(frames) / frames


@pytest.mark.parametrize(("depth", "is_open"), [(0, True), (320, False)])
def test_dspot_follows_a_slow_drift_of_the_level_and_so_hides_it(depth: int, is_open: bool) -> None:
    value, start = of(noise(50_000), depth=depth, requested=0.5)
    decision = Decision(Rule(smooth=1), Adaptation(64, 2.0, depth, (start,)))

    found = decide(decision, drifting(2.0) / value)

    assert found.anomalous[-1000:].any() == is_open


def test_beyond_its_cap_dspot_follows_nothing() -> None:
    value, start = of(noise(50_000), depth=320)
    decision = Decision(Rule(smooth=1), Adaptation(64, 1.2, 320, (start,)))

    assert decide(decision, drifting(4.0) / value).anomalous[-1]


def test_a_step_alarms_whatever_follows() -> None:
    for depth in (0, 320):
        value, start = of(noise(50_000), depth=depth)
        decision = Decision(Rule(smooth=1), Adaptation(64, 2.0, depth, (start,)))
        raw = noise(2500, 7) + 4.0 * (np.arange(2500) > 1000)

        assert decide(decision, raw / value).anomalous[1010:].all()


def test_without_adaptation_a_decision_holds_nothing_of_it() -> None:
    assert Decision(RULE).adapter is None


def test_assets_start_from_their_calibrations_row_whenever_they_come() -> None:
    decision = Decision(RULE, adaptation())
    asset: Ints = np.array([0, 40])

    decision.step(asset, asset * 0, np.array([0.1, 0.1]), asset < 0, np.array([0, 1]))
    decision.step(asset[:1] + 3, asset[:1], np.array([0.1]), asset[:1] < 0, np.array([1]))

    assert decision.adapter
    assert decision.adapter.state.level[[0, 3, 40]].tolist() == [0.5, 0.4, 0.4]
