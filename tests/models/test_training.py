from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator, Tensor

from models import training
from models.detector import scale
from models.families import FAMILIES
from models.families.lstm import LstmAutoencoder
from models.families.network import Network
from models.frame import Floats, Ints
from models.training import (
    LEAST_HELD_OUT,
    LEAST_TRAINING,
    Fitted,
    Settings,
    Split,
    TrainingError,
    covered,
    scaling,
    splits,
    train,
    train_folds,
    validation_loss,
)
from tests.models.plant import quiet, values

WINDOW = 8


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def nothing(done: int) -> None:
    """Progress that nobody watches."""


@st.composite
def ends_of_tracks(draw: st.DrawFn) -> tuple[Ints, Ints, int]:
    """Ends, ticks and length of the complete windows of some tracks with gaps in them."""
    window = draw(st.integers(2, 40))
    ends: list[Ints] = []
    ticks: list[Ints] = []
    start = 0
    for _ in range(draw(st.integers(1, 4))):
        length = draw(st.integers(window, 900) | st.just(7000))
        first_tick = draw(st.sampled_from([0, 300, 1_790_000_000]))
        inside = np.arange(window - 1, length)
        for gap in draw(st.lists(st.integers(0, length), max_size=3)):
            inside = inside[(inside < gap) | (inside >= gap + window)]
        ends.append(start + inside)
        ticks.append(first_tick + inside)
        start += length
    return np.concatenate(ends), np.concatenate(ticks), window


@given(ends_of_tracks().filter(lambda tracks: len(tracks[0])))
def test_train_and_held_out_windows_share_no_frame_and_are_split_in_order_of_time(
    tracks: tuple[Ints, Ints, int],
) -> None:
    ends, ticks, window = tracks
    tick_of = dict(zip(ends.tolist(), ticks.tolist(), strict=True))

    def moments(part: Ints) -> set[int]:
        return {tick_of[end] - back for end in part.tolist() for back in range(window)}

    try:
        found = splits(ends, ticks, window)
    except TrainingError:
        return
    for split in found:
        assert len(split.train) >= LEAST_TRAINING
        assert min(len(split.validation), len(split.calibration)) >= LEAST_HELD_OUT
        assert not moments(split.train) & moments(split.validation)
        assert not moments(split.train) & moments(split.calibration)
        held = [tick_of[end] for end in split.calibration.tolist()]
        assert held == sorted(held)
    if len(found) > 1:
        every = np.concatenate([split.calibration for split in found])
        assert sorted(every.tolist()) == sorted(ends.tolist())
        assert all(split.validation is split.calibration for split in found)
    else:
        (split,) = found
        assert not moments(split.validation) & moments(split.calibration)
        times = [
            [tick_of[end] for end in part.tolist()]
            for part in (split.train, split.validation, split.calibration)
        ]
        assert max(times[0]) < min(times[1])
        assert max(times[1]) < min(times[2])


@pytest.mark.parametrize("windows", [1, 3, 29, 100, 150])
def test_too_few_windows_are_refused_with_what_was_found_and_wanted(windows: int) -> None:
    ends = np.arange(windows) + WINDOW

    with pytest.raises(
        TrainingError, match=rf"{windows} windows of 8 frames leave .* at least 100"
    ):
        splits(ends, ends, WINDOW)


def test_a_window_as_long_as_the_held_out_part_is_refused_in_words() -> None:
    ends = np.arange(6000) + 5000

    with pytest.raises(TrainingError, match="0 to hold out"):
        splits(ends, ends, 2000)


def test_scaling_sees_the_training_frames_alone() -> None:
    numbers = np.full((100, 1), 1e9)
    numbers[20:41, 0] = np.linspace(-1, 1, 21)

    center, spread = scaling(numbers, np.arange(27, 41), 8)

    assert center[0] == pytest.approx(0, abs=1e-12)
    assert spread[0] == pytest.approx(numbers[20:41].std())
    assert covered(np.arange(27, 41), 8, 100).nonzero()[0].tolist() == list(range(20, 41))


def test_the_spread_has_a_floor_of_1_percent_of_the_range_and_of_a_constants_value() -> None:
    numbers = np.zeros((10_001, 4))
    numbers[5000, 0] = 100.0  # deviates once
    numbers[:, 1] = -50.0
    numbers[:, 3] = np.nextafter(7.0, 8.0)

    _, spread = scaling(numbers, np.array([10_000]), 10_001)

    np.testing.assert_allclose(spread, [1.0, 0.5, 1.0, 0.07])


def test_values_that_cannot_be_squared_are_refused_in_words() -> None:
    numbers = values(50)
    numbers[20, 1] = 1e200

    with pytest.raises(TrainingError, match=r"1e\+200"):
        scaling(numbers, np.arange(WINDOW, 50), WINDOW)


def trained(model: str, settings: Settings, split: Split, numbers: Floats) -> Fitted:
    return train(model, {}, numbers, WINDOW, split, settings, nothing)


def halves(rows: int = 300) -> tuple[Floats, Split]:
    ends = np.arange(WINDOW - 1, rows)
    return values(rows), Split(ends[:180], ends[200:], ends[200:])


def test_early_stopping_measures_the_loss_of_scoring_time_without_teacher_or_noise() -> None:
    numbers, split = halves()
    for model in FAMILIES:
        fitted = trained(model, Settings(epochs=2), split, numbers)
        frames = scale(numbers, fitted.center, fitted.spread)
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

    fitted = train("stacked", {}, numbers, WINDOW, alone, Settings(epochs=4), seen.append)

    assert (fitted.epochs, seen) == (4, [1, 2, 3, 4])


@pytest.mark.parametrize("model", FAMILIES)
def test_the_result_does_not_depend_on_how_many_folds_train_at_once(model: str) -> None:
    numbers = values(400)
    ends = np.arange(WINDOW - 1, 400)
    folds = splits(ends, ends, WINDOW)
    arguments: Any = (model, {}, numbers, WINDOW, folds, Settings(epochs=2), quiet)

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
        frames = torch.from_numpy(scale(numbers, fitted.center, fitted.spread))

        before = validation_loss(untrained, frames, split.validation, WINDOW)

        assert fitted.validation_loss < 0.7 * before
