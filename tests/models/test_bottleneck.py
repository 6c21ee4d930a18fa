"""What keeps conv and transformer from copying their windows."""

import inspect

import numpy as np
import pytest
import torch
from torch import Tensor

from models.detector import scale
from models.families.conv import ConvAutoencoder
from models.families.transformer import TransformerAutoencoder
from models.split import Split
from models.training import Settings, train
from tests.models.plant import normal, values

Squeezed = ConvAutoencoder | TransformerAutoencoder
FAMILIES: list[type[Squeezed]] = [ConvAutoencoder, TransformerAutoencoder]
SHAPES = [(64, 8), (100, 38), (25, 5), (19, 1), (8, 1), (2, 1)]
both = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def network(family: type[Squeezed], window: int, sensors: int) -> Squeezed:
    made = family(window, sensors)
    made.initialise(torch.Generator().manual_seed(0))
    return made.double().eval()


def windows(window: int, sensors: int, count: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, window, sensors, generator=generator, dtype=torch.float64)


@both
@pytest.mark.parametrize(("window", "sensors"), SHAPES)
def test_the_code_is_at_most_a_quarter_of_the_window_and_never_over_32_numbers(
    family: type[Squeezed], window: int, sensors: int
) -> None:
    with torch.no_grad():
        code = network(family, window, sensors).encode(windows(window, sensors))

    assert len(code) == 5
    assert 1 <= code[0].numel() <= max(1, min(32, window * sensors // 4))


@both
@pytest.mark.parametrize(("window", "sensors"), SHAPES)
def test_what_is_rebuilt_is_decoded_from_the_code_and_from_nothing_else(
    family: type[Squeezed], window: int, sensors: int
) -> None:
    net = network(family, window, sensors)
    one, other = windows(window, sensors, 2).split(1)

    assert list(inspect.signature(net.decode).parameters) == ["code"]
    with torch.no_grad():
        code = net.encode(one)
        decoded = net.decode(code)
        net.encode(other)

        assert decoded.shape == one.shape
        assert torch.equal(net.decode(code), decoded)
        assert torch.equal(net.reconstruct(one), decoded)
        assert not torch.equal(net.reconstruct(other), decoded)


@both
def test_trained_on_a_machine_it_rebuilds_the_machine_and_not_white_noise(
    family: type[Squeezed],
) -> None:
    numbers, window = values(900), 16
    ends = np.arange(window - 1, 900)
    split = Split(ends[:600], ends[620:], ends[620:])
    settings = Settings(epochs=15, lr=3e-3)

    fitted = train(
        family.__name__.removesuffix("Autoencoder").lower(),
        {},
        normal(numbers),
        window,
        split,
        settings,
        lambda done, most: None,
    )

    frames = torch.from_numpy(scale(numbers[620:], fitted.center[0], fitted.spread[0]))
    usual = frames.unfold(0, window, 1).transpose(1, 2)  # (N, L, m)
    noise = torch.randn(usual.shape, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        of_usual, of_noise = (fitted.network(one)[1].mean().item() for one in (usual, noise))
    assert of_usual < 0.15
    assert of_noise > 0.7
