"""Mean and standard deviations of normal scores: what people know, and what the paper did once."""

from models.threshold.rule import LEAST, HeldOut, Proposal


def mean_sigma(held_out: HeldOut) -> Proposal:
    """Mean + k standard deviations.

    Errors are skewed: at k = 3, between 0.9 and 2.2 % of single scores lie over it, where 0.13 % of
    Gaussian ones would.
    """
    return _sigmas(held_out, held_out.settings.sigmas)


def paper_ecg(held_out: HeldOut) -> Proposal:
    """Mean + one standard deviation: Malhotra et al. 2016, for the one record without anomalies.

    It flags 7 to 14 % of single normal scores, and is here to reproduce the paper.
    """
    return _sigmas(held_out, 1.0)


def _sigmas(held_out: HeldOut, sigmas: float) -> Proposal:
    scores = held_out.scores
    mean, sigma = float(scores.mean()), float(scores.std())
    return Proposal(
        max(LEAST, mean + sigmas * sigma),
        "no number of false alarms",
        {"mean": mean, "sigma": sigma, "sigmas": sigmas},
        counted=True,
    )
