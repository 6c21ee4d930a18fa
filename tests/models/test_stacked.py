from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import Generator, Tensor
from torch.nn import functional

from models import training
from models.families.dense import DenseAutoencoder, corrupted, draw_weights
from models.families.stacked import StackedAutoencoder
from models.plan import Settings
from models.split import Split
from models.training import train
from tests.models.plant import normal, values


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def dense(*widths: int, **options: Any) -> DenseAutoencoder:
    made = DenseAutoencoder(widths, **options)
    draw_weights(made, seeded())
    with torch.no_grad():
        for bias in (*made.encoder_biases, *made.decoder_biases):
            bias.normal_(generator=seeded(1))
    return made


def stacked(window: int = 8, sensors: int = 3, **options: Any) -> StackedAutoencoder:
    made = StackedAutoencoder(window, sensors, **options)
    made.initialise(seeded())
    return made


def windows(count: int, window: int = 8, sensors: int = 3) -> Tensor:
    return torch.randn(count, window, sensors, generator=seeded(2))


def count(module: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def test_layers_are_mirrored_around_the_code() -> None:
    net = dense(24, 16, 10, 4)

    assert [tuple(one.shape) for one in net.encoder_weights] == [(16, 24), (10, 16), (4, 10)]
    assert [tuple(one.shape) for one in net.decoder_weights] == [(24, 16), (16, 10), (10, 4)]
    assert [len(one) for one in net.encoder_biases] == [16, 10, 4]
    assert [len(one) for one in net.decoder_biases] == [24, 16, 10]


@pytest.mark.parametrize(
    ("activation", "function"),
    [("selu", functional.selu), ("relu", functional.relu), ("linear", Tensor.clone)],
)
@pytest.mark.parametrize("tied", [False, True])
def test_it_is_the_lectures_formula(
    activation: str, function: Callable[[Tensor], Tensor], tied: bool
) -> None:
    net = dense(9, 6, 2, activation=activation, tied=tied).double()
    x = torch.randn(5, 9, generator=seeded(3), dtype=torch.float64)
    w1, w2 = net.encoder_weights
    b1, b2 = net.encoder_biases
    b4, b3 = net.decoder_biases
    w4, w3 = (w1.T, w2.T) if tied else net.decoder_weights

    h = function(function(x @ w1.T + b1) @ w2.T + b2)
    rebuilt = function(h @ w3.T + b3) @ w4.T + b4

    torch.testing.assert_close(net.encode(x), h)
    torch.testing.assert_close(net(x), rebuilt)


def test_tying_halves_the_lectures_autoencoder_to_82414_parameters() -> None:
    assert count(DenseAutoencoder((784, 100, 30))) == 163_814
    assert count(DenseAutoencoder((784, 100, 30), tied=True)) == 82_414


def test_a_tied_matrix_is_one_parameter_with_the_gradients_of_both_uses() -> None:
    tied, twin = dense(9, 6, 2, tied=True), dense(9, 6, 2)
    with torch.no_grad():
        twin.load_state_dict(tied.state_dict(), strict=False)
        for own, shared in zip(twin.decoder_weights, tied.encoder_weights, strict=True):
            own.copy_(shared.T)
    x = torch.randn(5, 9, generator=seeded(3))

    tied(x).square().sum().backward()
    twin(x).square().sum().backward()

    torch.testing.assert_close(tied(x), twin(x))
    for shared, inwards, outwards in zip(
        tied.encoder_weights, twin.encoder_weights, twin.decoder_weights, strict=True
    ):
        assert inwards.grad.abs().max() > 0
        assert outwards.grad.abs().max() > 0
        torch.testing.assert_close(shared.grad, inwards.grad + outwards.grad.T)


def test_tying_survives_saving_and_loading_and_stores_each_matrix_once() -> None:
    net = stacked(hidden=(6, 2), tied=True)
    stored = save(net.state_dict())

    again = StackedAutoencoder(8, 3, hidden=(6, 2), tied=True)
    again.load_state_dict(load(stored))

    assert sum(weight.ndim == 2 for weight in load(stored).values()) == 2
    given = windows(4)
    assert torch.equal(again(given)[0], net(given)[0])
    with torch.no_grad():
        code = again.dense.encode(given.flatten(1))
        before = again.dense.decode(code)
        again.dense.encoder_weights[0].mul_(2)
        assert not torch.equal(again.dense.decode(code), before)


@pytest.mark.parametrize("tied", [False, True])
def test_the_stack_equals_its_layers_one_inside_the_other(tied: bool) -> None:
    net = dense(20, 12, 7, 3, tied=tied)
    x = torch.randn(6, 20, generator=seeded(3))

    def phase(layer: int, given: Tensor) -> Tensor:
        code = net.inward(layer, given)
        return net.outward(layer, code if layer == 2 else phase(layer + 1, code))

    assert torch.equal(net(x), phase(0, x))


def test_a_layer_rebuilds_its_own_input_with_an_activation_unless_it_is_the_outermost() -> None:
    net = dense(9, 6, 2, activation="relu")

    outer = net.outward(0, torch.randn(50, 6, generator=seeded(3)))
    inner = net.outward(1, torch.randn(50, 2, generator=seeded(3)))

    assert outer.min() < 0
    assert inner.min() == 0


def quiet(done: int, most: int) -> None:
    """Progress that nobody watches."""


def trained_epochs(
    monkeypatch: pytest.MonkeyPatch, **options: Any
) -> tuple[list[dict[str, Tensor]], StackedAutoencoder]:
    """The weights at the start of every epoch, and the network at the end."""
    seen: list[dict[str, Tensor]] = []

    class Watched(StackedAutoencoder):
        def train(self, mode: bool = True) -> "Watched":
            if mode:
                seen.append({name: one.clone() for name, one in self.state_dict().items()})
            return super().train(mode)

    monkeypatch.setitem(training.FAMILIES, "watched", Watched)
    numbers, ends = values(300), np.arange(7, 300)
    split, settings = Split(ends[:180], ends[200:], ends[200:]), Settings(epochs=2, lr=1e-2)
    fitted = train("watched", options, normal(numbers), 8, split, settings, quiet)
    assert isinstance(fitted.network, StackedAutoencoder)
    return seen, fitted.network


@pytest.mark.parametrize("tied", [False, True])
def test_layers_are_trained_one_after_another_and_then_together(
    monkeypatch: pytest.MonkeyPatch, tied: bool
) -> None:
    seen, net = trained_epochs(monkeypatch, hidden=(10, 4), layerwise=3, tied=tied)

    def moved(start: int, end: int) -> set[str]:
        one, other = seen[start], seen[end]
        return {name for name in one if not torch.equal(one[name], other[name])}

    outer = {name for name in seen[0] if name.endswith(".0")}
    inner = {name for name in seen[0] if name.endswith(".1")}
    assert len(seen) == 3 + 3 + 2
    assert outer | inner == set(seen[0])
    assert moved(0, 3) == outer
    assert moved(3, 6) == inner
    assert moved(6, 7) == outer | inner
    # The stack as joint training finds it equals its phases.
    net.load_state_dict(seen[6])
    given = windows(5).flatten(1)
    code = net.dense.inward(0, given)
    phases = net.dense.outward(0, net.dense.outward(1, net.dense.inward(1, code)))
    assert torch.equal(net.dense(given), phases)


def test_greedy_training_gives_a_better_start_than_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, net = trained_epochs(monkeypatch, hidden=(10, 4), layerwise=10)
    scaled = torch.from_numpy((values(300) - values(300).mean(0)) / values(300).std(0)).float()
    given = scaled.unfold(0, 8, 1).transpose(1, 2)

    def error(weights: dict[str, Tensor]) -> float:
        net.load_state_dict(weights)
        return net(given)[1].mean().item()

    assert error(seen[20]) < 0.5 * error(seen[0])


def test_training_that_is_killed_between_two_layers_goes_on_with_the_second(tmp_path: Path) -> None:
    numbers, ends = normal(values(300)), np.arange(7, 300)
    split, settings = Split(ends[:180], ends[200:], ends[200:]), Settings(epochs=2)
    arguments = ("stacked", {"hidden": (10, 4), "layerwise": 2}, numbers, 8, split, settings)
    left = iter(range(3))

    def killed(done: int, most: int) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    whole = train(*arguments, quiet)
    with pytest.raises(KeyboardInterrupt):
        train(*arguments, killed, checkpoint=tmp_path / "fold")
    seen: list[int] = []
    resumed = train(*arguments, lambda done, most: seen.append(done), checkpoint=tmp_path / "fold")

    assert seen == [1, 2]
    for name, weight in whole.network.state_dict().items():
        assert torch.equal(resumed.network.state_dict()[name], weight)


@pytest.mark.parametrize("options", [{"denoise": 0.3}, {"denoise": 0.0, "mask": 0.4}])
def test_it_trains_against_the_clean_window_and_scores_without_noise(
    options: dict[str, Any],
) -> None:
    net = stacked(**options)
    given = windows(40)

    noisy = net.loss(given, seeded())
    net.denoise = net.mask = 0.0
    clean = net.loss(given, seeded())

    torch.testing.assert_close(clean, net(given)[1].mean())
    assert noisy > 1.01 * clean
    assert torch.equal(net(given)[0], net(given)[0])


def test_noise_has_its_deviation_and_dropout_its_share_and_the_mean_stays() -> None:
    ones = torch.ones(100_000)

    noisy = corrupted(ones, seeded(), 0.2, 0.0)
    dropped = corrupted(ones, seeded(), 0.0, 0.3)

    assert (noisy.mean().item(), noisy.std().item()) == pytest.approx((1, 0.2), abs=5e-3)
    assert sorted(set(dropped.tolist())) == pytest.approx([0, 1 / 0.7])
    assert (dropped == 0).double().mean().item() == pytest.approx(0.3, abs=5e-3)
    assert dropped.mean().item() == pytest.approx(1, abs=1e-2)
    assert corrupted(ones, seeded(), 0.0, 0.0) is ones


def test_weights_are_lecun_normal_for_selu_and_glorot_uniform_for_relu() -> None:
    selu = stacked(20, 10, hidden=(100,)).dense.encoder_weights[0]
    relu = stacked(20, 10, hidden=(100,), activation="relu").dense.encoder_weights[0]

    assert selu.std().item() == pytest.approx(200**-0.5, rel=0.02)
    assert selu.abs().max() > 3 * 200**-0.5
    assert relu.abs().max().item() == pytest.approx((6 / 300) ** 0.5, rel=0.01)
    assert relu.std().item() == pytest.approx((2 / 300) ** 0.5, rel=0.02)
