"""A series of weeks, of which those with a holiday are anomalous: the paper's power demand."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.metrics import (
    fbeta_score,
    precision_recall_curve,
    precision_score,
    recall_score,
    roc_auc_score,
)

from models.frame import Bools, Floats, Ints
from models.plan import Settings
from models.recording import read
from tests.benchmarks.encdec.model import Model

WEEK = 84  # points of two hours
# Of the one-cycle schedule this is the highest rate; 400 epochs take about half a minute.
SETTINGS = Settings(epochs=400, patience=150, batch=8, lr=5e-3)
BETA = 0.1


@dataclass(frozen=True, slots=True)
class Weeks:
    """Which weeks serve for what, arrays of their numbers; named as in the paper.

    Args:
        sn: weights and scaling.
        vn1: early stopping and error statistics.
        vn2, va: normal and anomalous, for the threshold.
        tn, ta: the same, for the judgement.
    """

    sn: Ints
    vn1: Ints
    vn2: Ints
    tn: Ints
    va: Ints
    ta: Ints


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was found of the anomalous weeks, each anomalous in all its points.

    Args:
        threshold: the score from which on F is largest on vN2 and vA.
        precision, recall, f: of the points of tN and tA; F with beta 0.1.
        ratio: of their true to their false positive rate, None without a false positive.
        auc: of whole weeks by their mean score, vN2 and tN against vA and tA.
    """

    threshold: float
    precision: float
    recall: float
    f: float
    ratio: float | None
    auc: float


def power_demand(folder: Path) -> tuple[Floats, Bools]:
    """Two-hour means of the 51 whole weeks of 1997 (points, 1), and which are of a holiday."""
    recording = read(folder / "power_demand.csv.gz")
    assert recording.label is not None
    rows = slice(5 * 96, (5 + 51 * 7) * 96)  # from Monday 6 January on
    label: Bools = recording.label[rows].reshape(-1, 8).max(axis=1) > 0
    return recording.values[rows].reshape(-1, 8, 1).mean(axis=1), label


def drawn(label: Bools, length: int, seed: int) -> Weeks:
    """Weeks in an order of chance: 24 : 8 : 6 : 7 of 45 normal, 3 : 3 of 6 others."""
    chance = np.random.default_rng(seed)
    anomalous = label.reshape(-1, length).any(axis=1)
    normal, other = (chance.permutation(np.flatnonzero(flags)) for flags in (~anomalous, anomalous))
    return Weeks(*np.split(normal, (24, 32, 38)), *np.split(other, (3,)))


def last(weeks: Ints, length: int) -> Ints:
    """The last point of each week."""
    return (weeks + 1) * length - 1


def judge(model: Model, weeks: Weeks) -> Judgement:
    """Set the threshold on vN2 and vA, judge on tN and tA."""
    vn2, va, tn, ta = (
        model.scores(last(part, model.window)) for part in (weeks.vn2, weeks.va, weeks.tn, weeks.ta)
    )
    threshold = best_threshold(vn2, va)
    alarm = np.concatenate((tn, ta)).ravel() >= threshold
    label = np.repeat([0, 1], (tn.size, ta.size))
    false = float((tn >= threshold).mean())
    anomalous = np.repeat([0, 1], (len(vn2) + len(tn), len(va) + len(ta)))
    means = np.concatenate([part.mean(axis=1) for part in (vn2, tn, va, ta)])
    return Judgement(
        threshold,
        float(precision_score(label, alarm)),
        float(recall_score(label, alarm)),
        float(fbeta_score(label, alarm, beta=BETA)),
        float((ta >= threshold).mean()) / false if false else None,
        float(roc_auc_score(anomalous, means)),
    )


def best_threshold(normal: Floats, anomalous: Floats) -> float:
    """Of all their scores the one from which on F is largest; no grid has it."""
    score = np.concatenate((normal.ravel(), anomalous.ravel()))
    label = np.repeat([0, 1], (normal.size, anomalous.size))
    precision, recall, at = precision_recall_curve(label, score)
    below = BETA**2 * precision + recall
    f = np.divide((1 + BETA**2) * precision * recall, below, out=below * 0, where=below > 0)
    return float(at[np.argmax(f[:-1])])
