from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from models import training
from models.descent import MOST_TO_VALIDATE, Descent, validation_loss
from models.detector import scale
from models.families import FAMILIES
from models.families.lstm import LstmAutoencoder
from models.families.network import Network
from models.families.pca import WindowPca
from models.families.stacked import StackedAutoencoder
from models.frame import Floats
from models.plan import Settings
from models.split import Split, TrainingError, splits
from models.training import Fitted, train, train_folds
from tests.models.plant import normal, quiet, values

WINDOW = 8


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def nothing(done: int, most: int) -> None:
    """Progress that nobody watches."""


def trained(
    model: str, settings: Settings, split: Split, numbers: Floats, **parameters: object
) -> Fitted:
    return train(model, parameters, normal(numbers), WINDOW, split, settings, nothing)


def halves(rows: int = 300) -> tuple[Floats, Split]:
    ends = np.arange(WINDOW - 1, rows)
    return values(rows), Split(ends[:180], ends[200:], ends[200:])


def test_early_stopping_measures_the_loss_of_scoring_time_without_teacher_or_noise() -> None:
    numbers, split = halves()
    for model in FAMILIES:
        teacher = {"teacher_forcing": 1.0} if model == "lstm" else {}
        fitted = trained(model, Settings(epochs=2), split, numbers, **teacher)
        frames = scale(numbers, fitted.center[0], fitted.spread[0])
        given = torch.from_numpy(
            np.stack([frames[end - WINDOW + 1 : end + 1] for end in split.validation])
        )
        losses: list[float] = []
        for part in fitted.network.parts():
            with torch.no_grad():
                losses.append(part(given)[1].mean().item() + part.offset)
                taught = part.loss(given, Generator()).item()
            if isinstance(part, LstmAutoencoder) and part.teacher_forcing:
                assert abs(taught - losses[-1]) > 1e-4

        assert fitted.validation_loss == pytest.approx(np.mean(losses), rel=1e-5)


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
    settings = Settings(epochs=len(script) - Scripted.pretraining, patience=patience)
    return trained("scripted", settings, split, numbers)


def test_the_best_epochs_weights_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = scripted(monkeypatch, [5, 3, 1, 2, 4], patience=9)

    assert (fitted.epochs, fitted.validation_loss) == ((3,), pytest.approx(1))
    assert fitted.network.state_dict()["seen"].item() == pytest.approx(3)


def test_training_stops_after_patience_epochs_without_a_better_loss(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The script's end would be the best by far; it is never reached.
    fitted = scripted(monkeypatch, [5, 3, 4, 4, 4, 0], patience=3)

    assert (fitted.epochs, fitted.validation_loss) == ((2,), pytest.approx(3))


def test_epochs_of_pretraining_come_first_and_are_never_the_best(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Scripted, "pretraining", 2)

    fitted = scripted(monkeypatch, [0, 0, 5, 3, 4], patience=1)

    assert (fitted.epochs, fitted.validation_loss) == ((2,), pytest.approx(3))
    assert fitted.network.state_dict()["seen"].item() == pytest.approx(4)
    assert fitted.network.epoch == 3


def test_training_that_diverges_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrainingError, match=r"diverged.*lr"):
        scripted(monkeypatch, [float("nan")] * 3, patience=9)


def test_an_epoch_draws_its_windows_anew_without_replacement_and_at_most_so_many() -> None:
    seen: list[list[int]] = []

    class Noting(StackedAutoencoder):
        def loss(self, windows: Tensor, generator: Generator, objective: int = 0) -> Tensor:
            seen[-1] += windows[:, -1, 0].int().tolist()
            return super().loss(windows, generator, objective)

    def drawn(frames: int, **settings: int) -> list[list[int]]:
        seen.clear()
        numbered = torch.arange(frames, dtype=torch.float32)[:, None]
        network = Noting(WINDOW, 1)
        generator = Generator().manual_seed(0)
        network.initialise(generator)
        ends = np.arange(WINDOW - 1, frames)
        descent = Descent(
            network, numbered, ends, ends[:0], 2, Settings(batch=16, **settings), generator
        )
        while not descent.over:
            seen.append([])
            descent.advance()
        return seen

    first, second = drawn(300, epoch_windows=100)
    assert len(set(first)) == len(first) == len(set(second)) == len(second) == 100
    assert set(first) != set(second)
    for every in drawn(60, epoch_windows=100):
        assert sorted(every) == list(range(WINDOW - 1, 60))


def test_the_validation_loss_of_an_epoch_is_measured_on_evenly_spaced_windows() -> None:
    given: list[int] = []

    class Counting(StackedAutoencoder):
        def forward(self, windows: Tensor) -> tuple[Tensor, ...]:
            given.extend(windows[:, -1, 0].int().tolist())
            return super().forward(windows)

    network = Counting(WINDOW, 1)
    held = np.arange(1000, 1000 + 4 * MOST_TO_VALIDATE)
    frames = torch.arange(10_000, dtype=torch.float32)[:, None]

    Descent(network, frames, held[:200], held, 1, Settings(), Generator()).advance()

    assert len(given) == MOST_TO_VALIDATE
    assert (given[0], given[-1]) == (held[0], held[-1])
    assert set(np.diff(given).tolist()) == {4, 5}


def test_a_stride_trains_on_every_nth_window_of_every_asset(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[Tensor] = []

    class Noting(WindowPca):
        def prepare(self, windows: Tensor) -> None:
            given.append(windows[:, -1, 0])
            super().prepare(windows)

    monkeypatch.setitem(FAMILIES, "noting", Noting)
    ends = np.r_[7:250, 257:500]  # two assets of 250 frames
    numbered = np.arange(500.0)[:, None]

    fitted = trained("noting", Settings(stride=4), Split(ends, ends[:0], ends[:0]), numbered)

    found = given[0].numpy() * fitted.spread[0] + fitted.center[0]
    assert found.round().tolist() == [*range(8, 250, 4), *range(260, 500, 4)]


def test_a_stride_that_leaves_too_few_windows_is_refused_in_words() -> None:
    numbers, split = halves()

    with pytest.raises(TrainingError, match=r"stride=2 leaves 90 windows .* at least 100"):
        trained("pca", Settings(stride=2), split, numbers)


def test_a_gradient_is_clipped_to_its_longest() -> None:
    numbers, split = halves()

    def moved(clip_norm: float) -> float:
        # Adam divides by the gradient's size, so only its epsilon tells a gradient of 1e-12 apart.
        settings = Settings(epochs=1, clip_norm=clip_norm)
        fitted = trained("stacked", settings, split, numbers)
        begun, _ = training.build("stacked", WINDOW, 3, {}, 0)
        pairs = zip(begun.parameters(), fitted.network.parameters(), strict=True)
        return max((one - other).abs().max().item() for one, other in pairs)

    assert moved(1e-12) < 1e-3 * moved(1.0)


def test_without_a_held_out_part_all_epochs_are_trained() -> None:
    numbers, split = halves()
    seen: list[tuple[int, int]] = []
    alone = Split(split.train, split.train[:0], split.train[:0])

    def note(*done: int) -> None:
        seen.append((done[0], done[1]))

    fitted = train(
        "stacked", {}, normal(numbers), WINDOW, alone, Settings(patience=1), note, epochs=[4]
    )

    assert (fitted.epochs, seen) == ((4,), [(1, 4), (2, 4), (3, 4), (4, 4)])


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

        before = validation_loss(untrained, frames, split.validation)

        assert fitted.validation_loss < 0.7 * before
