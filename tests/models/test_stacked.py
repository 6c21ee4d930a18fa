from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from models.families.dense import corrupted
from models.plan import Settings
from models.split import Split
from models.training import train
from tests.models.layers import dense, quiet, seeded, stacked, trained_epochs, windows
from tests.models.plant import normal, values


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


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


def test_a_layer_rebuilds_its_own_input_with_an_activation_unless_it_is_the_outermost() -> None:
    net = dense(9, 6, 2, activation="relu")

    outer = net.outward(0, torch.randn(50, 6, generator=seeded(3)))
    inner = net.outward(1, torch.randn(50, 2, generator=seeded(3)))

    assert outer.min() < 0
    assert inner.min() == 0


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
