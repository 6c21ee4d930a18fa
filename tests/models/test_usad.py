import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from models.descent import gather
from models.detector import scale
from models.families.usad import Usad
from models.plan import Settings
from models.split import Split
from models.training import train
from tests.models.plant import normal, values

WINDOW = 8


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def network(window: int = WINDOW, sensors: int = 3, **options: float) -> Usad:
    made = Usad(window, sensors, **options)  # pyright: ignore[reportArgumentType]
    made.initialise(seeded())
    made.prepare(windows(200, window, sensors))
    return made


def windows(count: int, window: int = WINDOW, sensors: int = 3) -> Tensor:
    return torch.randn(count, window, sensors, generator=seeded(2)).clamp(-3, 3)


class ByHand(Usad):
    """One cell, W = 0.9, W1 = 0.8, W2 = 0.6 and W3 = 0.4."""

    def rebuild(self, windows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return (0 * windows + 0.8, 0 * windows + 0.6, 0 * windows + 0.4)


@pytest.mark.parametrize(
    ("epoch", "first", "second"),
    [
        # (W - W1)^2 = 0.01, (W - W2)^2 = 0.09, (W - W3)^2 = 0.25
        (1, 0.01, 0.09),
        (2, 0.01 / 2 + 0.25 / 2, 0.09 / 2 - 0.25 / 2),
        (5, 0.01 / 5 + 0.25 * 4 / 5, 0.09 / 5 - 0.25 * 4 / 5),
        (10, 0.01 / 10 + 0.25 * 9 / 10, 0.09 / 10 - 0.25 * 9 / 10),
    ],
)
def test_both_losses_are_the_papers_on_a_worked_example(
    epoch: int, first: float, second: float
) -> None:
    net = ByHand(1, 1, cap=100.0)
    net.epoch = epoch
    w = torch.full((1, 1, 1), 0.9, dtype=torch.float64)

    assert net.loss(w, seeded(), 0).item() == pytest.approx(first, rel=1e-12)
    assert net.loss(w, seeded(), 1).item() == pytest.approx(second, rel=1e-12)


def test_n_grows_to_its_cap() -> None:
    net = ByHand(1, 1, cap=1.25)
    net.epoch = 7
    w = torch.full((1, 1, 1), 0.9, dtype=torch.float64)

    assert net.loss(w, seeded(), 0).item() == pytest.approx(0.01 * 0.8 + 0.25 * 0.2)
    assert net.loss(w, seeded(), 1).item() == pytest.approx(0.09 * 0.8 - 0.25 * 0.2)


def test_w3_is_what_the_second_autoencoder_makes_of_what_the_first_made() -> None:
    net = network()
    given = (windows(9) - net.low) / net.range
    first, second = net.decoders

    w1, w2, w3 = net.rebuild(given)

    code = net.encode(given.flatten(1))
    torch.testing.assert_close(w1.flatten(1), first(code).sigmoid())
    torch.testing.assert_close(w2.flatten(1), second(code).sigmoid())
    torch.testing.assert_close(w3.flatten(1), second(net.encode(w1.flatten(1))).sigmoid())


def test_both_objectives_own_the_encoder_and_one_decoder_each() -> None:
    net = network()
    first, second = ({id(weight) for weight in weights} for weights in net.objectives())

    assert first & second == {id(weight) for weight in net.encoder.parameters()}
    assert first - second == {id(weight) for weight in net.decoders[0].parameters()}
    assert second - first == {id(weight) for weight in net.decoders[1].parameters()}


@pytest.mark.parametrize(
    ("window", "sensors", "wanted"),
    [
        (64, 8, [512, 256, 128, 40]),
        (64, 38, [2432, 256, 128, 40]),
        (12, 3, [36, 18, 9, 9]),
        (2, 1, [2, 1, 1, 1]),
    ],
)
def test_layers_halve_up_to_a_width_that_keeps_the_parameters_in_bounds(
    window: int, sensors: int, wanted: list[int]
) -> None:
    net = Usad(window, sensors)

    def widths(chain: torch.nn.Module) -> list[int]:
        matrices = [weight for weight in chain.parameters() if weight.ndim == 2]
        return [matrices[0].shape[1], *(len(weight) for weight in matrices)]

    assert widths(net.encoder) == wanted
    for decoder in net.decoders:
        assert widths(decoder) == wanted[::-1]


def test_windows_are_scaled_to_0_and_1_by_the_training_windows_range() -> None:
    net = Usad(2, 3)
    given = torch.tensor([[[-1.0, 5, 2], [1, 5, 4]], [[0, 5, 8], [3, 5, 2]]])

    net.prepare(given)

    assert net.low.tolist() == [-1, 5, 2]
    assert net.range.tolist() == [4, 1, 6]


def test_a_reading_out_of_range_is_clipped_for_the_encoder_and_not_for_the_error() -> None:
    net = network()
    top = net.low + net.range
    at_most, beyond = top.expand(1, WINDOW, 3), (top + net.range).expand(1, WINDOW, 3)

    expected, _ = net(at_most)
    same, error = net(beyond)

    torch.testing.assert_close(same, expected)
    assert (error >= 0.99 * net.range.square()).all()


def test_error_and_expectation_are_in_the_units_of_the_window() -> None:
    net = network(alpha=0.3)
    given = windows(6)
    w = (given - net.low) / net.range
    w1, _, w3 = net.rebuild(w)

    expected, error = net(given)

    wanted = (0.3 * (w - w1).square() + 0.7 * (w - w3).square()) * net.range.square()
    torch.testing.assert_close(expected, net.low + net.range * w1)
    torch.testing.assert_close(error, wanted)


def quiet(done: int, most: int) -> None:
    """Progress that nobody watches."""


def trained(cap: float) -> tuple[Usad, Tensor]:
    """A network trained on 200 normal rows, and scaled frames of which the last drift away."""
    numbers, ends = values(600), np.arange(WINDOW - 1, 600)
    alone = Split(ends[:200], ends[:0], ends[:0])
    settings = Settings(epochs=40, lr=1e-2, batch=64)
    options = {"cap": cap}
    fitted = train("usad", options, normal(numbers), WINDOW, alone, settings, quiet)
    numbers[450:, 1] += np.linspace(0, 8, 150)
    assert isinstance(fitted.network, Usad)
    return fitted.network, torch.from_numpy(scale(numbers, fitted.center[0], fitted.spread[0]))


def scores(net: Usad, frames: Tensor, first: int, last: int) -> Tensor:
    with torch.no_grad():
        _, error = net(gather(frames, np.arange(first, last), WINDOW))
    return error.mean((1, 2))


def test_a_drift_is_found() -> None:
    net, frames = trained(cap=1.25)

    assert scores(net, frames, 540, 600).min() > scores(net, frames, 300, 440).max()


def test_fewer_windows_alarm_the_larger_alpha_is() -> None:
    net, frames = trained(cap=2.0)
    threshold = scores(net, frames, 300, 440).max()
    alarms: list[int] = []
    for net.alpha in np.linspace(0, 1, 11).tolist():
        alarms.append(int((scores(net, frames, 300, 600) > threshold).sum()))

    assert alarms == sorted(alarms, reverse=True)
    assert alarms[0] > alarms[5] > alarms[10]
