import pytest
import torch
from torch import Tensor

from models.families.usad import Usad
from tests.models.layers import seeded

WINDOW = 8


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


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
