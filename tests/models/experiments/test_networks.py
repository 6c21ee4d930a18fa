"""The networks of the image experiments: their sizes, their losses, and that nothing goes by."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from models.experiments.autoencoder import StackedImages
from models.experiments.classifier import Classifier, teach
from models.experiments.convolutional import ConvolutionalImages
from models.experiments.recurrent import RecurrentImages
from models.experiments.sparse import SparseImages
from models.experiments.vae import VariationalImages
from tests.models.layers import seeded


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def images(count: int = 6) -> Tensor:
    return torch.rand(count, 28, 28, generator=seeded(1))


# Weights as the lecture's notebook counts them; a torch LSTM has a second bias of 4c numbers.
NETWORKS = {
    "stacked": (StackedImages(28, 28, hidden=(100, 30)), 163_814),
    "sparse": (SparseImages(28, 28), 78_500 + 30_300 + 30_100 + 79_184),
    "vae": (VariationalImages(28, 28), 117_750 + 15_100 + 2_020 + 1_100 + 15_150 + 118_384),
    "conv": (ConvolutionalImages(), 160 + 4_640 + 18_496 + 18_464 + 4_624 + 145),
    "recurrent": (
        RecurrentImages(28, 28),
        51_600 + 15_720 + 52_400 + 2_828 + 4 * (100 + 30 + 100),
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_has_the_notebooks_weights_and_rebuilds_images(name: str) -> None:
    network, weights = NETWORKS[name]
    network.initialise(seeded())

    expected, error = network(images())

    assert sum(weight.numel() for weight in network.parameters()) == weights
    assert expected.shape == error.shape == (6, 28, 28)
    assert expected.min() >= 0
    assert expected.max() <= 1
    assert error.min() >= 0


@pytest.mark.parametrize("name", NETWORKS)
def test_the_loss_reaches_every_weight(name: str) -> None:
    network, _ = NETWORKS[name]
    network.initialise(seeded())
    network.zero_grad()

    network.loss(images(), seeded()).backward()

    assert all(one.grad is not None and one.grad.abs().sum() > 0 for one in network.parameters())


@pytest.mark.parametrize("network", [RecurrentImages(28, 28, 20, 5), VariationalImages(28, 28)])
def test_images_of_one_code_are_rebuilt_alike(
    network: RecurrentImages | VariationalImages,
) -> None:
    network.initialise(seeded())
    found = network.encode(images())
    code = found if isinstance(found, Tensor) else found[0]

    assert torch.equal(network.reconstruct(images()), network.decode(code))


def test_the_convolutional_code_is_64_maps_of_3_by_3() -> None:
    network = ConvolutionalImages()
    code = network.encoder(images()[:, None])

    assert code.shape == (6, 64, 3, 3)
    assert torch.equal(network.decoder(code)[:, 0], network.reconstruct(images()))


def test_the_sparse_loss_is_the_distance_and_the_price_of_the_codes_activities() -> None:
    network = SparseImages(28, 28, l1=0.3, kl=0.7, target=0.2)
    network.initialise(seeded())
    given = images().flatten(1)
    code = network.dense.encode(given)
    active = code.mean(0)
    on, off = torch.distributions.Bernoulli(0.2), torch.distributions.Bernoulli(active)
    price = 0.3 * code.sum() / 6 + 0.7 * torch.distributions.kl_divergence(on, off).sum()

    found = network.loss(images(), seeded())

    _, error = network(images())
    assert code.min() > 0
    assert code.max() < 1
    torch.testing.assert_close(found, error.mean() + price)


def test_a_sparse_code_that_is_never_active_has_a_finite_price() -> None:
    found = SparseImages(28, 28, kl=1.0).price(torch.zeros(5, 300))

    assert found.isfinite()


def test_the_variational_loss_is_the_negative_elbo_per_pixel() -> None:
    network = VariationalImages(28, 28)
    network.initialise(seeded())
    given = images()
    mean, log_variance = network.encode(given)
    posterior = torch.distributions.Normal(mean, (log_variance / 2).exp())
    prior = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    noise = torch.randn(mean.shape, generator=seeded(7))
    logits = network.decode(mean + (log_variance / 2).exp() * noise)
    likelihood = -functional.binary_cross_entropy_with_logits(logits, given, reduction="none")
    elbo = likelihood.sum((1, 2)) - torch.distributions.kl_divergence(posterior, prior).sum(1)

    found = network.loss(given, seeded(7))

    torch.testing.assert_close(found, -elbo.mean() / 784)


def test_every_network_starts_with_glorots_uniform_weights_and_the_recurrent_one_orthogonal() -> (
    None
):
    for network, _ in NETWORKS.values():
        network.initialise(seeded())
        for name, weight in network.named_parameters():
            if weight.ndim < 2:
                assert set(weight.tolist()) <= ({0.0, 1.0} if "bias_ih" in name else {0.0})
            elif "_hh" in name:
                units = weight.shape[1]
                torch.testing.assert_close(weight.T @ weight, torch.eye(units), atol=1e-5, rtol=0)
            else:
                inner = weight[0, 0].numel()
                bound = math.sqrt(6 / (sum(weight.shape[:2]) * inner))
                assert 0.9 * bound < weight.abs().max().item() <= bound


def test_a_classifier_takes_layers_bit_by_bit_and_what_is_frozen_stays() -> None:
    autoencoder = StackedImages(28, 28, hidden=(100, 30))
    autoencoder.initialise(seeded())
    classifier = Classifier(seeded(1))

    def weights() -> list[Tensor]:
        return [weight.detach().clone() for weight in classifier.parameters() if weight.ndim == 2]

    own = weights()
    classifier.reuse(autoencoder.dense, 1)
    classifier.freeze(1)
    begun = weights()

    teach(classifier, images(40), torch.arange(40) % 10, seeded(), epochs=2)

    assert torch.equal(begun[0], autoencoder.dense.encoder_weights[0])
    assert torch.equal(begun[1], own[1])
    same = [torch.equal(one, other) for one, other in zip(weights(), begun, strict=True)]
    assert same == [True, False, False, False]


def test_a_classifier_learns_what_it_is_taught() -> None:
    random = np.random.default_rng(0)
    labels = torch.from_numpy(random.integers(0, 10, 200))
    given = 0.1 * images(200)
    given[:, 3:6] += (labels[:, None, None] == torch.arange(28) // 2).float()  # a bright column
    classifier = Classifier(seeded())

    teach(classifier, given[:150], labels[:150], seeded(), epochs=10)

    assert classifier.accuracy(given[150:], labels[150:]) > 0.9
