"""EncDec-AD of one series: the family `lstm` and the paper's score of every point of a window."""

from dataclasses import dataclass

import numpy as np
import torch

from models.calibration import Fold, error_statistics, errors
from models.descent import Descent
from models.detector import mahalanobis
from models.frame import Floats, Ints
from models.plan import Settings
from models.runtime import TorchRuntime
from models.split import NormalFrames, Split, scalings
from models.training import build

HIDDEN = 40  # c


@dataclass(frozen=True, slots=True)
class Model:
    """EncDec-AD of one series.

    Args:
        series: its points.
        window: points of a window (L).
        fold: the network.
        mean, precision: of the absolute errors on all points of vN1.
        epochs: until the least loss.
        loss: mean squared error on vN1, the decoder reading its own predictions.
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
        found = np.concatenate([*errors(self.fold, self.series, ends, self.window, 0)])
        points = np.sqrt(found.reshape(-1, self.series.sensors).astype(np.float64))
        return mahalanobis(points, self.mean, self.precision)[0].reshape(found.shape[:2])

    def curve(self, ends: Ints) -> Floats:
        """The mean score of every point over the windows that hold it, NaN where none does."""
        total, count = np.zeros((2, len(self.series.values)))
        for end, scores in zip(ends, self.scores(ends), strict=True):
            total[end + 1 - self.window : end + 1] += scores
            count[end + 1 - self.window : end + 1] += 1
        return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)

    def rebuilt(self, end: int) -> Floats:
        """What the network expects of a window, in the series' units, shape (L, sensors)."""
        frames = self.series.scale(self.fold.center, self.fold.spread)
        found = self.fold.run(frames[None, end + 1 - self.window : end + 1])
        return found.expected[0] * self.fold.spread[0] + self.fold.center[0]


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
    """Train on the windows that end at `sn`; `vn1` ends the training and gives the statistics.

    Args:
        values: all points, shape (points, sensors).
        window: points of a window (L).
        sn, vn1: ends of windows.
        settings: of the training.
        hidden, teacher_forcing: of the family.
    """
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
    known = error_statistics(errors(fold, series, vn1, window, 0), "mahalanobis", window)
    assert known.mean is not None
    assert known.precision is not None
    kept = (descent.best_epoch, descent.best_loss)
    return Model(series, window, fold, known.mean, known.precision, *kept)
