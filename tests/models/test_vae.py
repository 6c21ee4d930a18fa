import math

import numpy as np
import pytest
import torch
from torch import Tensor

from models.descent import validation_loss
from models.families.vae import LEAST_NOISE, MOST_NOISE, WARM_UP, VariationalAutoencoder
from models.report import losses
from tests.models.layers import seeded
from tests.models.plant import fitted, recording, request, values

WINDOW = 8


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def network(window: int = WINDOW, sensors: int = 3, **options: int) -> VariationalAutoencoder:
    made = VariationalAutoencoder(window, sensors, **options)  # pyright: ignore[reportArgumentType]
    made.initialise(seeded())
    return made


def windows(count: int, window: int = WINDOW, sensors: int = 3) -> Tensor:
    return torch.randn(count, window, sensors, generator=seeded(2))


def test_the_error_is_the_mean_negative_log_likelihood_above_its_least() -> None:
    net = network(samples=5).double()
    given = windows(4).double()
    cells = given.flatten(1)
    mean, log_deviation = net.encode(given)
    total = torch.zeros_like(cells)
    for draw in net.draws:
        centre, above = net.decode(mean + log_deviation.exp() * draw)
        normal = torch.distributions.Normal(centre, (net.least + above).exp())
        total -= normal.log_prob(cells)

    _, error = net(given)

    least = 0.5 * math.log(2 * math.pi) + net.least
    torch.testing.assert_close(error.flatten(1), total / 5 - least)


def test_the_least_error_is_0_and_reached_where_the_cell_is_quietest_and_as_expected() -> None:
    net = network()
    x = windows(3).flatten(1)

    assert (net.surprise(x, x, torch.zeros_like(x)) == 0).all()
    assert (net.surprise(x, x + 0.1, torch.zeros_like(x)) > 0).all()
    assert (net.surprise(x, x, torch.full_like(x, 0.1)) > 0).all()


def test_the_noise_has_a_floor_and_a_window_cannot_talk_itself_out_with_noise() -> None:
    net = network()
    with torch.no_grad():
        net.quiet.fill_(-1000.0)

    _, above = net.decode(1e6 * torch.randn(50, 8, generator=seeded(3)))

    torch.testing.assert_close(net.least.exp(), torch.full_like(net.least, LEAST_NOISE))
    assert above.min() >= 0
    assert above.max() <= MOST_NOISE


def test_a_window_a_million_spreads_off_has_a_finite_error() -> None:
    _, error = network()(1e6 * windows(5))

    assert error.isfinite().all()


def test_the_loss_is_the_negative_elbo_per_cell_once_the_warm_up_is_over() -> None:
    net = network().double()
    net.epoch = WARM_UP
    given = windows(6).double()
    mean, log_deviation = net.encode(given)
    noise = torch.randn(mean.shape, generator=seeded(4), dtype=torch.float64)
    code = mean + log_deviation.exp() * noise
    centre, above = net.decode(code)
    likelihood = torch.distributions.Normal(centre, (net.least + above).exp())
    posterior = torch.distributions.Normal(mean, log_deviation.exp())
    prior = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    divergence = torch.distributions.kl_divergence(posterior, prior).sum(1)
    elbo = likelihood.log_prob(given.flatten(1)).sum(1) - divergence

    loss = net.loss(given, seeded(4))

    constant = 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(loss + constant, -elbo.mean() / (WINDOW * 3))


def test_the_divergence_grows_to_its_full_weight_over_the_warm_up() -> None:
    net = network()
    given = windows(6)

    def loss(epoch: int) -> float:
        net.epoch = epoch
        return net.loss(given, seeded()).item()

    step = (loss(WARM_UP) - loss(1)) / (WARM_UP - 1)
    assert step > 0
    assert loss(2) - loss(1) == pytest.approx(step, rel=1e-3)
    assert loss(WARM_UP + 50) == loss(WARM_UP)


def test_the_fixed_draws_are_standard_normal_and_balanced() -> None:
    draws = network(samples=400, code=30).draws

    assert draws.mean(0).abs().max() < 1e-6
    assert draws.std().item() == pytest.approx(1, abs=0.02)
    assert network(samples=5).draws.shape == (5, 8)


def test_a_collapsed_posterior_has_no_active_unit() -> None:
    net = network()
    given = windows(200)
    alive = net.active_units(given)
    with torch.no_grad():
        for weight in net.encoder.parameters():
            weight.zero_()

    assert alive == 8
    assert net.active_units(given) == 0


def test_its_errors_are_not_scaled_again_and_its_residuals_stand_beside_the_baselines() -> None:
    manifest = fitted([recording(values(400))], request("vae", window=8)).manifest

    assert manifest.calibrations["default"].error_scale == [1, 1, 1]
    assert 0 < manifest.training.pca_validation_loss < manifest.training.validation_loss
    assert "try --model pca" in losses(manifest)


def test_epochs_are_compared_by_their_likelihood_though_the_zero_of_the_error_moves() -> None:
    net = network()
    given = windows(20)
    frames, ends = given.flatten(0, 1), np.arange(WINDOW - 1, 20 * WINDOW, WINDOW)
    mean, log_deviation = net.encode(given)
    codes = mean[:, None] + log_deviation.exp()[:, None] * net.draws
    centre, above = net.decode(codes)
    normal = torch.distributions.Normal(centre, (net.least + above).exp())
    likelihood = normal.log_prob(given.flatten(1)[:, None]).mean().item()

    loss = validation_loss(net, frames, ends)

    assert loss + 0.5 * math.log(2 * math.pi) == pytest.approx(-likelihood, rel=1e-5)
