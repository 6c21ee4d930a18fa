"""Images are trained on by the sensor models' loop, as their recipe says."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor
from torch.nn import functional

from models.experiments import fitting
from models.experiments.autoencoder import StackedImages
from models.experiments.fitting import Epoch, Pixels, Recipe, measure, scaled, train
from models.training import OnEpoch
from tests.models.layers import quiet

SGD = Recipe("sgd", 0.5, 16, 3)


def blobs(count: int, seed: int = 0, side: int = 8) -> Pixels:
    """Images of one bright spot each, somewhere."""
    at = np.random.default_rng(seed).uniform(1, side - 2, size=(count, 2, 1))
    rows, columns = np.exp(-((np.arange(side) - at) ** 2) / 4).transpose(1, 0, 2)
    return (rows[:, :, None] * columns[:, None]).astype(np.float32)


def network(**options: Any) -> StackedImages:
    return StackedImages(8, 8, hidden=(16, 4), denoise=0.0, **options)


def test_a_pixel_is_as_far_off_as_its_binary_cross_entropy_and_expected_between_0_and_1() -> None:
    net = network()
    net.initialise(Generator().manual_seed(0))
    given = torch.from_numpy(blobs(20))

    expected, error = net(given)

    wanted = -(given * expected.log() + (1 - given) * (1 - expected).log())
    torch.testing.assert_close(error, wanted)
    torch.testing.assert_close(net.loss(given, Generator()), wanted.mean())
    assert expected.min() > 0
    assert expected.max() < 1


def test_logits_far_off_have_a_finite_distance() -> None:
    black, far = torch.zeros(1), torch.full((1,), 1e4)

    assert network().distance(black, far).item() == 1e4
    assert network().distance(black, -far).item() == 0


def test_an_epoch_is_one_pass_of_plain_gradient_descent_at_the_rate_of_the_recipe() -> None:
    images = blobs(40)
    net, by_hand = network(), network()
    generator = Generator().manual_seed(3)
    by_hand.initialise(generator)
    order = torch.randperm(40, generator=generator)
    losses: list[Tensor] = []
    for batch in (order[:16], order[16:32], order[32:]):
        given = torch.from_numpy(images)[batch].flatten(1)
        loss = functional.binary_cross_entropy(by_hand.dense(given).sigmoid(), given)
        losses.append(loss.detach() * len(batch))
        for weight, step in zip(
            by_hand.parameters(), torch.autograd.grad(loss, [*by_hand.parameters()]), strict=True
        ):
            weight.data -= 0.5 * step

    (epoch,) = train(net, images, images, Recipe("sgd", 0.5, 16, 1), quiet, seed=3)

    for found, wanted in zip(net.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(found, wanted)
    assert epoch.loss == pytest.approx(torch.stack(losses).sum().item() / 40, rel=1e-5)


@pytest.mark.parametrize("optimiser", ["sgd", "adam", "rmsprop"])
def test_every_optimiser_learns(optimiser: Any) -> None:
    rate = {"sgd": 0.5, "adam": 1e-2, "rmsprop": 1e-2}[optimiser]

    found = train(network(), blobs(200), blobs(50, seed=1), Recipe(optimiser, rate, 16, 10), quiet)

    assert [epoch.number for epoch in found] == [*range(1, 11)]
    assert found[-1].loss < 0.7 * found[0].loss
    assert found[-1].validation_loss < found[0].validation_loss
    assert found[-1].rounded_accuracy > found[0].rounded_accuracy


def test_loss_and_rounded_accuracy_are_means_over_all_pixels() -> None:
    net = network()
    net.initialise(Generator().manual_seed(0))
    images = torch.from_numpy(blobs(1203))

    loss, accuracy = measure(net, images)

    expected, error = net(images)
    assert loss == pytest.approx(error.mean().item(), rel=1e-5)
    assert accuracy == ((expected > 0.5) == (images > 0.5)).double().mean().item()


def test_grey_levels_are_from_0_to_1() -> None:
    found = scaled(np.array([[0, 51, 255]], np.uint8))

    assert found.dtype == np.float32
    assert found.tolist() == [[0, np.float32(0.2), 1]]


def test_layers_trained_alone_have_rates_of_their_own() -> None:
    recipe = Recipe("sgd", 0.5, 16, 2, layer_lr=(0.5, 0.0))
    net = network(layerwise=2)
    seen: list[dict[str, Tensor]] = []

    def note(done: int, most: int) -> None:
        assert (done, most) == (len(seen) + 1, 6)
        seen.append({name: one.clone() for name, one in net.state_dict().items()})

    history = train(net, blobs(60), blobs(10), recipe, note)

    def moved(one: int, other: int) -> set[str]:
        return {name for name in seen[0] if not torch.equal(seen[one][name], seen[other][name])}

    outer = {name for name in seen[0] if name.endswith(".0")}
    assert [epoch.number for epoch in history] == [-3, -2, -1, 0, 1, 2]
    assert moved(0, 1) == outer
    assert not moved(1, 3)  # the inner layer's rate is 0
    assert moved(3, 4) == set(seen[0])


def test_a_training_that_is_killed_goes_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, validation = blobs(60), blobs(10, seed=1)
    left = iter(range(1))

    def killed(done: int, most: int) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    def run(net: StackedImages, on_epoch: OnEpoch, recipe: Recipe = SGD) -> list[Epoch]:
        return train(net, images, validation, recipe, on_epoch, checkpoint=tmp_path / "state")

    def note(done: int, most: int) -> None:
        seen.append(done)

    seen: list[int] = []
    whole, resumed = network(mask=0.3), network(mask=0.3)
    wanted = train(whole, images, validation, SGD, quiet)
    with pytest.raises(KeyboardInterrupt):
        run(network(mask=0.3), killed)
    found = run(resumed, note)
    other = run(network(mask=0.3), quiet, Recipe("sgd", 0.4, 16, 3))
    found_again = list[int]()
    monkeypatch.setattr(fitting, "sources", lambda: "another loop")
    run(network(mask=0.3), lambda done, most: found_again.append(done), Recipe("sgd", 0.4, 16, 3))

    assert seen == [3]
    assert found_again == [1, 2, 3]
    assert found == wanted
    assert other != wanted
    for name, weight in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], weight)
