"""The paper's threshold: best F-beta on windows of which some are labelled anomalous."""

import numpy as np

from models.split import TrainingError
from models.threshold.rule import LEAST, HeldOut, Proposal


def f_beta(held_out: HeldOut) -> Proposal:
    """The threshold whose flags have the best F-beta = (1 + b²) P R / (b² P + R).

    Malhotra et al. 2016, section 2.2. Tried is every score that occurs; of all thresholds that
    flag the same, it is the one halfway between the scores beside it.
    """
    if not sum(map(len, held_out.anomalous)):
        raise TrainingError("threshold=f-beta needs windows labelled anomalous; found none")
    strange = np.concatenate(held_out.anomalous)
    scores = np.concatenate((held_out.scores, strange))
    order = np.argsort(-scores, kind="stable")
    # The last of equal scores: all of them are flagged together.
    last = np.flatnonzero(np.r_[np.diff(scores[order]) != 0, True])
    hits = np.cumsum(order >= len(scores) - len(strange))[last]
    precision, recall = hits / (last + 1), hits / len(strange)
    weight = held_out.settings.f_beta**2
    both = weight * precision + recall
    score = np.divide(
        (1 + weight) * precision * recall, both, out=np.zeros(len(last)), where=hits > 0
    )
    best = int(np.argmax(score))
    flagged = scores[order][last]
    below = flagged[best + 1] if best + 1 < len(flagged) else 0.0
    found = {
        "f_beta": float(score[best]),
        "precision": float(precision[best]),
        "recall": float(recall[best]),
        "prevalence": len(strange) / len(scores),
    }
    return Proposal(
        max(LEAST, float(flagged[best] + below) / 2),
        f"the best F of beta {held_out.settings.f_beta:g} on labelled windows, {score[best]:.2f}; "
        "no number of false alarms",
        found,
        counted=True,
    )
