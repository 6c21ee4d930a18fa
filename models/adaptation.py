"""Thresholds that follow a machine: SPOT and DSPOT (Siffer et al. 2017), over many assets at once.

The published score is the smoothed one over (threshold now / threshold as trained), so 1.0 stays
the line. Now and then are both a Pareto tail's, so a trained threshold of any rule moves in
proportion; one of `pot` is SPOT's own.

Two things differ from the paper, because window scores smear: an excess is the peak of an excursion
and enters once that has ended, and nothing whose window shares a frame with an alarm's enters.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from models import tail
from models.frame import NEVER, Bools, Floats, Ints, grown

Adaptive = Literal["none", "spot", "dspot"]

# Newest excesses that make the tail; older ones are forgotten.
MOST = 512


@dataclass(frozen=True, slots=True)
class Start:
    """Where a live threshold starts, on the scale where the trained one is 1.0.

    Args:
        level: where the tail begins, above the mean.
        excesses: of held-out peaks over the level, oldest first, at most MOST.
        frames: scores among which they were found.
        share: events per score that are wanted.
        mean: where the moving mean starts; 0 without one.
    """

    level: float
    excesses: tuple[float, ...]
    frames: float
    share: float
    mean: float = 0.0


@dataclass(frozen=True, slots=True)
class Adaptation:
    """How live thresholds move.

    Args:
        gap: frames of a window; excursions less than that apart are one.
        cap: a threshold stays between the trained one over and times this.
        depth: scores in the moving mean; 0 = none, which is SPOT.
        starts: one per row of a calibration.
    """

    gap: int
    cap: float
    depth: int
    starts: tuple[Start, ...]


def begin(
    series: Sequence[Floats],
    need: int,
    of: int,
    quantile: float,
    share: float,
    gap: int,
    depth: int,
) -> Start:
    """Start with held-out normal scores, as if they had been lived through without an alarm.

    Args:
        series: smoothed scores on the 1.0 scale, one array per unbroken stretch.
        need, of: as in `decision.Rule`.
        quantile: share of scores that are not over the level.
        share: as in `Start`.
        gap, depth: as in `Adaptation`.

    Raises:
        ValueError: if there are too few excursions, or fewer than are asked for.
    """
    scores = np.concatenate(series)
    mean = float(scores.mean()) if depth else 0.0
    if depth:
        total = np.cumsum(np.concatenate(([0.0], np.full(depth, mean), scores)))
        scores = scores - (total[depth:-1] - total[: -depth - 1]) / depth
    level = float(np.quantile(scores, quantile))
    stretches = np.split(scores, np.cumsum([len(stretch) for stretch in series])[:-1])
    openings = [tail.opening(stretch, need, of) for stretch in stretches]
    excess = np.concatenate([tail.peaks(one, level, gap) for one in openings]) - level
    wanted = max(tail.LEAST_PEAKS, share * len(scores))
    if len(excess) < wanted:
        raise ValueError(
            f"{len(excess)} excursions over the {quantile:g} quantile of held-out scores are too "
            f"few to adapt from (wanted {wanted:.3g}; record longer, or lower --set level)"
        )
    kept = excess[-MOST:]
    frames = len(scores) * len(kept) / len(excess)
    return Start(level, tuple(kept.tolist()), frames, share, mean)


@dataclass(slots=True)
class State:
    """What is known of some assets, arrays with one row for each.

    Args:
        is_begun: whether the row holds an asset.
        share: events per score that are wanted.
        level: where the tail begins, above the mean.
        excess: newest excesses, NaN where there is none yet, shape (rows, MOST).
        excess_turn: where in them the next one goes.
        frames: scores among which they were found.
        lived: those of them that could have been alarms.
        tail: the threshold, above the mean.
        past: newest scores, for the moving mean, shape (rows, depth).
        past_turn: where in them the next one goes.
        mean: the moving mean.
        trained: what tail and mean together began with.
        recent: newest scores above the mean, -inf where there is none, shape (rows, of).
        peak: of the excursion under way, -inf without one.
        over_at: tick of its newest frame.
        alarm_at: tick of the newest alarming frame, NEVER without one.
    """

    is_begun: Bools
    share: Floats
    level: Floats
    excess: Floats
    excess_turn: Ints
    frames: Floats
    lived: Floats
    tail: Floats
    past: Floats
    past_turn: Ints
    mean: Floats
    trained: Floats
    recent: Floats
    peak: Floats
    over_at: Ints
    alarm_at: Ints

    @classmethod
    def of(cls, adaptation: Adaptation, of: int) -> "State":
        """How assets begin: a row for each start."""
        starts = adaptation.starts
        rows = len(starts)
        excess = np.full((rows, MOST), np.nan)
        for row, one in enumerate(starts):
            excess[row, : len(one.excesses)] = one.excesses
        share = np.array([one.share for one in starts])
        level = np.array([one.level for one in starts])
        frames = np.array([one.frames for one in starts])
        mean = np.array([one.mean for one in starts])
        height = _height(share, level, excess, frames, np.zeros(rows), level)
        return cls(
            is_begun=np.ones(rows, bool),
            share=share,
            level=level,
            excess=excess,
            excess_turn=np.array([len(one.excesses) % MOST for one in starts]),
            frames=frames,
            lived=np.zeros(rows),
            tail=height,
            past=np.repeat(mean[:, None], adaptation.depth, axis=1),
            past_turn=np.zeros(rows, np.int64),
            mean=mean,
            trained=height + mean,
            recent=np.full((rows, of), -np.inf),
            peak=np.full(rows, -np.inf),
            over_at=np.full(rows, NEVER),
            alarm_at=np.full(rows, NEVER),
        )


class Adapter:
    """The live thresholds of many assets.

    Args:
        adaptation: how they move.
        need, of: as in `decision.Rule`.
    """

    def __init__(self, adaptation: Adaptation, need: int, of: int) -> None:
        self._how, self._need = adaptation, need
        self._starts = State.of(adaptation, of)
        self.state = State(*(getattr(self._starts, name)[:0] for name in State.__slots__))

    def ensure(self, asset: Ints, rows: Ints | int) -> None:
        """Make room for some assets; those that are new start from their calibration's row."""
        state, known = self.state, len(self.state.is_begun)
        if len(asset) and asset.max() >= known:
            room = max(int(asset.max()) + 1, 2 * known, 16)
            for name in State.__slots__:
                setattr(state, name, grown(getattr(state, name), room, 0))
        fresh = ~state.is_begun[asset]
        if fresh.any():
            row = np.broadcast_to(rows, asset.shape)[fresh]
            for name in State.__slots__:
                getattr(state, name)[asset[fresh]] = getattr(self._starts, name)[row]

    def threshold(self, at: Ints) -> Floats:
        """The thresholds now, where the trained one is 1.0, shape (assets,)."""
        state, cap = self.state, self._how.cap
        return np.clip((state.tail[at] + state.mean[at]) / state.trained[at], 1 / cap, cap)

    def reset(self, at: Ints) -> None:
        """A gap: the decision counts anew."""
        self.state.recent[at] = -np.inf

    def learn(self, at: Ints, tick: Ints, score: Floats, is_over: Bools, is_open: Bools) -> None:
        """Take a score of each of some assets.

        Args:
            at, tick: shape (assets,).
            score: smoothed, where the trained threshold is 1.0, shape (assets,).
            is_over, is_open: whether it is over the threshold, and a verdict open, shape (assets,).
        """
        state = self.state
        self._end_excursions(at, tick)
        alarming = at[is_open]
        state.alarm_at[alarming] = tick[is_open]
        # What led to an alarm is part of it.
        state.peak[alarming] = -np.inf
        state.recent[alarming] = -np.inf
        calm = tick - state.alarm_at[at] >= self._how.gap
        at, tick, score, is_over = at[calm], tick[calm], score[calm], is_over[calm]
        # Without a verdict fewer than `need` are over the threshold, so the height never is.
        recent = np.column_stack((state.recent[at, 1:], score - state.mean[at]))
        height = np.sort(recent, axis=1)[:, -self._need]
        over = height > state.level[at]
        state.recent[at] = recent
        state.frames[at] += 1
        state.lived[at] += 1
        state.peak[at[over]] = np.maximum(state.peak[at[over]], height[over])
        state.over_at[at[over]] = tick[over]
        if self._how.depth:
            self._move_mean(at[~is_over], score[~is_over])

    def _move_mean(self, at: Ints, score: Floats) -> None:
        state = self.state
        state.past[at, state.past_turn[at]] = score
        state.past_turn[at] = (state.past_turn[at] + 1) % self._how.depth
        state.mean[at] = state.past[at].mean(axis=1)

    def _end_excursions(self, at: Ints, tick: Ints) -> None:
        """Enter the peaks of excursions that are over, and fit the tails anew."""
        state = self.state
        at = at[(state.peak[at] > -np.inf) & (tick - state.over_at[at] >= self._how.gap)]
        if not len(at):
            return
        turn = state.excess_turn[at]
        # An excess that is forgotten takes its frames along.
        kept = np.where(np.isnan(state.excess[at, turn]), 1.0, 1 - 1 / MOST)
        state.frames[at] *= kept
        state.lived[at] *= kept
        state.excess[at, turn] = state.peak[at] - state.level[at]
        state.excess_turn[at] = (turn + 1) % MOST
        state.peak[at] = -np.inf
        state.tail[at] = _height(
            state.share[at],
            state.level[at],
            state.excess[at],
            state.frames[at],
            state.lived[at],
            state.tail[at],
        )


def _height(
    share: Floats, level: Floats, excess: Floats, frames: Floats, lived: Floats, tail_now: Floats
) -> Floats:
    """The height that excursions reach in a share of all frames; at least the level.

    Excursions that become alarms do not enter, so as many as are to be expected are missing above
    the height so far. Without them the tail would get shorter with every false alarm, and these
    more and more.
    """
    missing = share * lived
    ratio = share * frames / ((~np.isnan(excess)).sum(axis=1) + missing)
    law = tail.fit(excess, missing, tail_now - level)
    return level + tail.exceeded(np.minimum(ratio, 1.0), *law)
