"""A quantile of normal scores."""

import math

import numpy as np

from models.threshold.rule import LEAST, HeldOut, Proposal


def quantile(held_out: HeldOut) -> Proposal:
    """The ⌈(n + 1)(1 - q)⌉-th smallest of n normal scores.

    A new score that is exchangeable with them lies over it with a probability of at most q
    (conformal prediction: Vovk et al. 2005). q is the request over the number of scores in a day,
    and an alarm needs more than one score, so alarms are rarer than that.
    """
    scores, share = np.sort(held_out.scores), held_out.share_over
    # The product is rounded, and a rank must not rise by that.
    rank = max(1, math.ceil((len(scores) + 1) * (1 - share) - 1e-9))
    wanted = f"{len(scores)} held-out scores cannot place a share of {share:.3g} over a threshold"
    if rank > len(scores):
        return held_out.fallback(f"{wanted} (wanted {math.ceil(1 / share) - 1})")
    few = len(scores) * share < 10
    return Proposal(
        max(LEAST, float(scores[rank - 1])),
        f"a share of {share:.3g} of normal scores over it",
        {"share": share, "rank": rank},
        caution=f"{wanted} exactly (wanted {math.ceil(10 / share)})" if few else "",
        counted=held_out.settings.quantile is not None,
    )
