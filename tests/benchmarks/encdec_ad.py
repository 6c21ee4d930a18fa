"""EncDec-AD on the series of its paper: power demand, the Shuttle's valve, an electrocardiogram.

Malhotra et al., LSTM-based Encoder-Decoder for Multi-sensor Anomaly Detection, arXiv 1607.00148.
`scripts/bench encdec_ad --out DIR` trains the family `lstm` on each, prints what it found and draws
a picture of each into DIR. Everything is scored as the daemon would: the decoder reads its own
predictions. The data are read from ../shared/data/keogh.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import (
    fbeta_score,
    precision_recall_curve,
    precision_score,
    recall_score,
    roc_auc_score,
)

from models.calibration import Fold, error_statistics, errors
from models.descent import Descent
from models.detector import mahalanobis
from models.frame import Bools, Floats, Ints
from models.plan import Settings
from models.recording import read
from models.runtime import TorchRuntime
from models.split import NormalFrames, Split, scalings
from models.training import build

KEOGH = Path(__file__).parents[3] / "shared" / "data" / "keogh"
HIDDEN = 40  # c
BETA = 0.1


@dataclass(frozen=True, slots=True)
class Model:
    """EncDec-AD of one series.

    Args:
        series: shape (points, sensors).
        window: points of a window (L).
        fold: the network.
        mean, precision: of the absolute errors on all points of vN1.
        loss: mean squared error on vN1.
    """

    series: NormalFrames
    window: int
    fold: Fold
    mean: Floats
    precision: Floats
    epochs: int
    loss: float

    def scores(self, ends: Ints) -> Floats:
        """The score a(i) of every point of some windows, shape (windows, L)."""
        found = errors(self.fold, self.series, ends, self.window, 0)
        points = found.reshape(-1, 1, self.series.sensors)
        return mahalanobis(points, self.mean, self.precision)[0].reshape(found.shape[:2])

    def rebuilt(self, ends: Ints) -> Floats:
        """What the network expects of some windows, in the series' units (windows, L, sensors)."""
        frames = self.series.scale(self.fold.center, self.fold.spread)
        found = self.fold.run(frames[ends[:, None] + np.arange(1 - self.window, 1)])
        return found.expected * self.fold.spread[0] + self.fold.center[0]


def learn(
    values: Floats,
    window: int,
    sn: Ints,
    vn1: Ints,
    settings: Settings,
    *,
    hidden: int = HIDDEN,
    teacher_forcing: float = 1.0,
) -> Model:
    """Train on the windows that end at `sn`; `vn1` ends the training and gives the statistics."""
    torch.set_num_threads(1)
    series = NormalFrames(values, np.zeros(len(values), np.int64))
    center, spread = scalings(series, sn, window)
    frames = torch.from_numpy(series.scale(center, spread))
    parameters = {"hidden": hidden, "teacher_forcing": teacher_forcing}
    network, generator = build("lstm", window, series.sensors, parameters, settings.seed)
    descent = Descent(network, frames, sn, vn1, settings.epochs, settings, generator)
    while not descent.over:
        descent.advance()
    descent.finish()
    fold = Fold(TorchRuntime(network), center, spread, Split(sn, vn1, vn1))
    known = error_statistics([errors(fold, series, vn1, window, 0)], "mahalanobis", window)
    assert known.mean is not None
    assert known.precision is not None
    found = (descent.best_epoch, descent.best_loss)
    return Model(series, window, fold, known.mean, known.precision, *found)


# Power demand: weeks, of which those with a holiday are anomalous.

WEEK = 84  # points of two hours
POWER = Settings(epochs=400, patience=150, batch=8, lr=5e-3)


@dataclass(frozen=True, slots=True)
class Weeks:
    """Which weeks serve for what, arrays of their numbers; named as in the paper.

    Args:
        sn: weights and scaling. vn1: early stopping, error statistics.
        vn2, va: threshold. tn, ta: the judgement.
    """

    sn: Ints
    vn1: Ints
    vn2: Ints
    tn: Ints
    va: Ints
    ta: Ints


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was found of the anomalous weeks; a week with an anomaly is anomalous in all points.

    Args:
        precision, recall, f: of the points of tN and tA; F with beta 0.1.
        ratio: TPR / FPR of them, infinite without a false alarm.
        auc_mean, auc_max: of whole weeks by mean or highest score, vN2 and tN against vA and tA.
    """

    seed: int
    epochs: int
    loss: float
    precision: float
    recall: float
    f: float
    ratio: float
    auc_mean: float
    auc_max: float
    threshold: float
    seconds: float = 0.0


def power_demand() -> tuple[Floats, Bools]:
    """Two-hour means of the 51 whole weeks of 1997 (points, 1), and which have a holiday."""
    recording = read(KEOGH / "power_demand.csv.gz")
    assert recording.label is not None
    rows = slice(5 * 96, (5 + 51 * 7) * 96)  # from Monday 6 January on
    anomalous = recording.label[rows].reshape(51, -1).any(axis=1)
    return recording.values[rows].reshape(-1, 8, 1).mean(axis=1), anomalous


def drawn(anomalous: Bools, seed: int) -> Weeks:
    """The weeks in an order of chance, 24 : 8 : 6 : 7 of the normal and 3 : 3 of the others."""
    chance = np.random.default_rng(seed)
    normal, other = (chance.permutation(np.flatnonzero(flags)) for flags in (~anomalous, anomalous))
    return Weeks(*np.split(normal, (24, 32, 38)), *np.split(other, (3,)))


def last(weeks: Ints, length: int) -> Ints:
    """The last point of each week."""
    return (weeks + 1) * length - 1


def judge(model: Model, weeks: Weeks, seed: int) -> Judgement:
    """Set the threshold on vN2 and vA, judge on tN and tA."""
    vn2, va, tn, ta = (
        model.scores(last(part, model.window)) for part in (weeks.vn2, weeks.va, weeks.tn, weeks.ta)
    )
    threshold = best_threshold(vn2, va)
    alarm = np.concatenate((tn, ta)).ravel() >= threshold
    label = np.repeat([False, True], (tn.size, ta.size))
    false = (tn >= threshold).mean()
    anomalous = np.repeat([False, True], (len(vn2) + len(tn), len(va) + len(ta)))
    together = np.concatenate((vn2, tn, va, ta))
    return Judgement(
        seed,
        model.epochs,
        model.loss,
        precision_score(label, alarm, zero_division=0.0),
        recall_score(label, alarm),
        fbeta_score(label, alarm, beta=BETA, zero_division=0.0),
        (ta >= threshold).mean() / false if false else np.inf,
        roc_auc_score(anomalous, together.mean(axis=1)),
        roc_auc_score(anomalous, together.max(axis=1)),
        threshold,
    )


def best_threshold(normal: Floats, anomalous: Floats) -> float:
    """Of all their scores the one from which on F is largest."""
    score = np.concatenate((normal.ravel(), anomalous.ravel()))
    label = np.repeat([False, True], (normal.size, anomalous.size))
    precision, recall, at = precision_recall_curve(label, score)
    below = BETA**2 * precision + recall
    f = np.divide((1 + BETA**2) * precision * recall, below, out=below * 0, where=below > 0)
    return float(at[np.argmax(f[:-1])])


# The valve and the heart: one event in a recording, no vN2 and no vA.


@dataclass(frozen=True, slots=True)
class Case:
    """A recording with one event.

    Args:
        name: of the recording.
        values, label: the recording first, then what else is trained on; label of the recording.
        window: points of a window (L).
        sn, vn1: ends of windows.
        judged: ends of the windows that are judged, over the whole recording.
        settings: of the training.
    """

    name: str
    values: Floats
    label: Bools
    window: int
    sn: Ints
    vn1: Ints
    judged: Ints
    settings: Settings


def valve(name: str, other: str) -> Case:
    """A Shuttle valve's recording, by a network that was trained on another one's normal windows.

    Windows of 1500 rows every 500, 1.5 cycles, by means of 3; those to train on also up to 20
    points earlier and later.
    """
    (mine, label), (others, leave) = thirds(name), thirds(other)
    starts = np.round(np.arange(0, 3501, 500) / 3).astype(np.int64)
    shifted = (starts[:, None] + np.arange(-20, 21, 2)).ravel()
    ends = shifted[(shifted >= 0) & (shifted + 500 <= len(others))] + 499
    judged = np.minimum(starts + 499, len(mine) - 1)
    return Case(
        name,
        np.concatenate((mine, others)),
        label,
        500,
        without(leave, ends, 500) + len(mine),
        without(label, judged, 500),
        judged,
        Settings(epochs=300, patience=300, batch=16, lr=5e-3),
    )


def thirds(name: str) -> tuple[Floats, Bools]:
    """Means of 3 rows of a valve's recording (points, 1), and which hold an anomalous row."""
    recording = read(KEOGH / f"shuttle_marotta_{name}.csv.gz", rows=(0, 4998))
    assert recording.label is not None
    label: Bools = recording.label.reshape(-1, 3).max(axis=1) > 0
    return recording.values.reshape(-1, 3, 1).mean(axis=1), label


def without(label: Bools, ends: Ints, window: int) -> Ints:
    """The windows in which no point is anomalous."""
    before = np.cumsum(np.r_[0, label])
    return ends[before[ends + 1] == before[ends + 1 - window]]


def heart() -> Case:
    """An electrocardiogram of two leads: the first 36 s are judged, the rest is normal."""
    recording = read(KEOGH / "ecg_qtdbsel102.csv.gz")
    assert recording.label is not None
    window, first, second = 208, 9000, 34200
    return Case(
        "qtdbsel102",
        recording.values,
        recording.label[:first] > 0,
        window,
        np.arange(first + window - 1, second, window // 4),
        np.arange(second + window - 1, len(recording.values), window),
        np.arange(window - 1, first, window // 4),
        Settings(epochs=150, patience=150, batch=16, lr=5e-3),
    )
def main() -> None: ...


if __name__ == "__main__":
    main()
