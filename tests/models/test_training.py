from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from models import training
from models.detector import scale
from models.families import FAMILIES
from models.families.lstm import LstmAutoencoder
from models.families.network import Network
from models.frame import Floats
from models.plan import Settings
from models.split import Split, TrainingError, splits
from models.training import Fitted, train, train_folds, validation_loss
from tests.models.plant import normal, quiet, values

WINDOW = 8


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def nothing(done: int) -> None:
    """Progress that nobody watches."""


def trained(model: str, settings: Settings, split: Split, numbers: Floats) -> Fitted:
    return train(model, {}, normal(numbers), WINDOW, split, settings, nothing)


def halves(rows: int = 300) -> tuple[Floats, Split]:
    ends = np.arange(WINDOW - 1, rows)
    return values(rows), Split(ends[:180], ends[200:], ends[200:])


def test_early_stopping_measures_the_loss_of_scoring_time_without_teacher_or_noise() -> None:
    numbers, split = halves()
    for model in FAMILIES:
        fitted = trained(model, Settings(epochs=2), split, numbers)
        frames = scale(numbers, fitted.center[0], fitted.spread[0])
        given = torch.from_numpy(
            np.stack([frames[end - WINDOW + 1 : end + 1] for end in split.validation])
        )

        with torch.no_grad():
            free_running = (fitted.network.reconstruct(given) - given).square().mean().item()
            taught = fitted.network.loss(given, Generator()).item()

        assert fitted.validation_loss == pytest.approx(free_running, rel=1e-5)
        if isinstance(fitted.network, LstmAutoencoder):
            assert abs(taught - free_running) > 1e-4


class Scripted(Network):
    """A network whose validation losses follow a script; its one weight counts the epochs."""

    script: Sequence[float] = ()

    def __init__(self, window: int, sensors: int) -> None:
        super().__init__(window, sensors)
        self.seen = torch.nn.Parameter(torch.zeros(1))

    def initialise(self, generator: Generator) -> None:
        """Nothing to draw."""

    def train(self, mode: bool = True) -> "Scripted":
        if mode:
            with torch.no_grad():
                self.seen += 1
        return super().train(mode)

    def forward(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        assert not self.training
        loss = self.script[round(self.seen.item()) - 1]
        return windows, torch.full_like(windows, loss)

    def loss(self, windows: Tensor, generator: Generator, objective: int = 0) -> Tensor:
        return 0 * self.seen.sum()


def scripted(monkeypatch: pytest.MonkeyPatch, script: Sequence[float], patience: int) -> Fitted:
    monkeypatch.setattr(Scripted, "script", script)
    monkeypatch.setitem(FAMILIES, "scripted", Scripted)
    numbers, split = halves()
    settings = Settings(epochs=len(script), patience=patience)
    return trained("scripted", settings, split, numbers)


def test_the_best_epochs_weights_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = scripted(monkeypatch, [5, 3, 1, 2, 4], patience=9)

    assert (fitted.epochs, fitted.validation_loss) == (3, pytest.approx(1))
    assert fitted.network.state_dict()["seen"].item() == pytest.approx(3)


def test_training_stops_after_patience_epochs_without_a_better_loss(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The script's end would be the best by far; it is never reached.
    fitted = scripted(monkeypatch, [5, 3, 4, 4, 4, 0], patience=3)

    assert (fitted.epochs, fitted.validation_loss) == (2, pytest.approx(3))


def test_training_that_diverges_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrainingError, match=r"diverged.*lr"):
        scripted(monkeypatch, [float("nan")] * 3, patience=9)


def test_without_a_held_out_part_all_epochs_are_trained() -> None:
    numbers, split = halves()
    seen: list[int] = []
    alone = Split(split.train, split.train[:0], split.train[:0])

    fitted = train("stacked", {}, normal(numbers), WINDOW, alone, Settings(epochs=4), seen.append)

    assert (fitted.epochs, seen) == (4, [1, 2, 3, 4])


@pytest.mark.parametrize("model", FAMILIES)
def test_the_result_does_not_depend_on_how_many_folds_train_at_once(model: str) -> None:
    numbers = values(400)
    ends = np.arange(WINDOW - 1, 400)
    folds = splits(ends, ends, 0 * ends, WINDOW)
    arguments: Any = (model, {}, normal(numbers), WINDOW, folds, Settings(epochs=2), quiet)

    one, two = train_folds(*arguments, workers=1), train_folds(*arguments, workers=2)

    for alone, together in zip(one, two, strict=True):
        assert alone.validation_loss == together.validation_loss
        for name, weight in alone.network.state_dict().items():
            assert torch.equal(weight, together.network.state_dict()[name])


def test_the_seed_and_nothing_else_decides() -> None:
    numbers, split = halves()
    torch.manual_seed(1)
    one = trained("stacked", Settings(epochs=2, seed=1), split, numbers)
    torch.manual_seed(2)
    same = trained("stacked", Settings(epochs=2, seed=1), split, numbers)
    other = trained("stacked", Settings(epochs=2, seed=2), split, numbers)

    assert same.validation_loss == one.validation_loss
    assert other.validation_loss != one.validation_loss


def test_a_trained_network_is_better_than_an_untrained_one() -> None:
    numbers, split = halves()
    for model in ("stacked", "lstm"):
        untrained, _ = training.build(model, WINDOW, 3, {}, 0)
        fitted = trained(model, Settings(epochs=8), split, numbers)
        frames = torch.from_numpy(scale(numbers, fitted.center[0], fitted.spread[0]))

        before = validation_loss(untrained, frames, split.validation, WINDOW)

        assert fitted.validation_loss < 0.7 * before
