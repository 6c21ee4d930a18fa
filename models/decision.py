"""Scores → verdicts: smoothing, k of n and hysteresis, incremental, over many assets at once.

A threshold promises a number of false alarms for this rule and no other, so the trainer, `score`,
`replay` and the daemon all decide here.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.adaptation import Adaptation, Adapter
from models.frame import FOREVER, NEVER, Bools, Floats, Ints, grown, rounds


@dataclass(frozen=True, slots=True)
class Rule:
    """When scores become a verdict.

    Args:
        smooth: scores in the trailing mean.
        need, of: a verdict opens when `need` of the last `of` smoothed scores are over 1.0.
        clear: an open verdict clears when the smoothed score is below this.
    """

    smooth: int = 5
    need: int = 3
    of: int = 5
    clear: float = 0.8


@dataclass(frozen=True, slots=True)
class Verdicts:
    """The decision at some frames, arrays of shape (frames,).

    Args:
        score: the smoothed score, NaN where the frame is not scored.
        anomalous: whether the verdict is open, unscored frames in between included.
        pending: whether a score is over 1.0 and no verdict is open yet.
        onset: tick of the first breach that led to the open verdict, NEVER without one.
    """

    score: Floats
    anomalous: Bools
    pending: Bools
    onset: Ints


class Decision:
    """The verdicts of many assets; state arrays with one row per asset.

    Args:
        rule: when scores become a verdict.
        adaptation: how live thresholds move; None = they stay as trained.
    """

    def __init__(self, rule: Rule, adaptation: Adaptation | None = None) -> None:
        self.rule = rule
        self.adapter = adaptation and Adapter(adaptation, rule.need, rule.of)
        self._raw = np.empty((0, rule.smooth))
        self._over_at = np.empty((0, rule.of), np.int64)  # tick of each recent breach, else NEVER
        self._onset = np.empty(0, np.int64)

    def step(
        self, asset: Ints, tick: Ints, raw: Floats, reset: Bools, rows: Ints | int = 0
    ) -> Verdicts:
        """Decide on frames sorted by asset and tick.

        Args:
            asset, tick: shape (frames,).
            raw: unsmoothed score on the 1.0 scale, NaN where not scored, shape (frames,).
            reset: where a gap restarts mean and count, but not an open verdict, shape (frames,).
            rows: the calibration's row for all of them or, shape (frames,), for each.
        """
        if self.adapter:
            self.adapter.ensure(asset, rows)
        if len(asset) and asset.max() >= len(self._onset):
            rows = max(int(asset.max()) + 1, 2 * len(self._onset), 16)
            self._raw = grown(self._raw, rows, np.nan)
            self._over_at = grown(self._over_at, rows, NEVER)
            self._onset = grown(self._onset, rows, NEVER)
        score = np.full(len(asset), np.nan)
        pending = np.zeros(len(asset), bool)
        onset = np.full(len(asset), NEVER)
        for turn in rounds(asset):
            at = asset[turn]
            self._raw[at[reset[turn]]] = np.nan
            self._over_at[at[reset[turn]]] = NEVER
            if self.adapter:
                self.adapter.reset(at[reset[turn]])
            scored = turn[~np.isnan(raw[turn])]
            score[scored] = self._advance(asset[scored], tick[scored], raw[scored])
            onset[turn] = self._onset[at]
            pending[turn] = (self._onset[at] == NEVER) & (self._over_at[at] != NEVER).any(axis=1)
        return Verdicts(score, onset != NEVER, pending, onset)

    def _advance(self, at: Ints, tick: Ints, raw: Floats) -> Floats:
        rule = self.rule
        recent = np.column_stack((self._raw[at, 1:], raw))
        known = ~np.isnan(recent)
        # Added in the order of time, so that equal scores give equal bits in any batch.
        total = sum((np.where(known, recent, 0.0)[:, i] for i in range(rule.smooth)), np.zeros(1))
        plain: NDArray[np.float64] = total / known.sum(axis=1)
        score = plain / self.adapter.threshold(at) if self.adapter else plain
        over_at = np.column_stack((self._over_at[at, 1:], np.where(score > 1.0, tick, NEVER)))
        count = (over_at != NEVER).sum(axis=1)
        first = np.min(np.where(over_at == NEVER, FOREVER, over_at), axis=1)
        onset = self._onset[at]
        onset = np.where((onset == NEVER) & (count >= rule.need), first, onset)
        # Once clear, breaches are counted anew: what led to one alert does not open the next.
        cleared = (score < rule.clear) & (onset != NEVER)
        over_at[cleared] = NEVER
        self._onset[at] = np.where(cleared, NEVER, onset)
        self._raw[at] = recent
        self._over_at[at] = over_at
        if self.adapter:
            self.adapter.learn(at, tick, plain, score > 1.0, self._onset[at] != NEVER)
        return score
