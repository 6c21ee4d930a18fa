"""The threshold that Gaussian residuals lead to, without a look at the scores."""

from typing import cast

import numpy as np

from models.split import TrainingError
from models.threshold.rule import LEAST, HeldOut, Proposal


def chi_square(held_out: HeldOut) -> Proposal:
    """The chi-square quantile with as many degrees of freedom as there are sensors.

    Signed Gaussian residuals have a Mahalanobis score of exactly this distribution; absolute ones
    do not, and exceed it 5 to 20 times more often. The promise is one of raw scores: their trailing
    mean, which the decision looks at, lies over it less often still.
    """
    from scipy import stats

    if held_out.score != "mahalanobis-signed":
        raise TrainingError(
            f"threshold=chi-square is right for score=mahalanobis-signed only; found "
            f"{held_out.score}"
        )
    share = held_out.share_over
    value = cast(np.float64, stats.chi2.isf(share, held_out.sensors))
    return Proposal(
        max(LEAST, float(value)),
        f"a share of {share:.3g} of raw scores over it while residuals are Gaussian",
        {"share": share, "degrees": held_out.sensors},
        counted=held_out.settings.quantile is not None,
    )
