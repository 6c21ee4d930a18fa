import pytest
import torch
from torch import Tensor

from tests.models.decoder import looped, network, windows


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_the_training_loss_is_teacher_forced_on_reversed_targets() -> None:
    net = network(15, 4, 10).double()
    given = windows(15, 4).double()

    with torch.no_grad():
        loss = net.loss(given, torch.Generator())
        forced, free = looped(net, given, teacher=given), looped(net, given)

    torch.testing.assert_close(loss, (forced - given).square().mean(), rtol=1e-12, atol=0)
    assert abs(loss - (free - given).square().mean()) > 1e-4


def test_without_teacher_forcing_the_training_loss_and_its_gradient_are_those_of_the_loop() -> None:
    net = network(15, 4, 10).double().train()
    net.teacher_forcing = 0.0
    given = windows(15, 4).double()
    weights = list(net.parameters())

    loss = net.loss(given, torch.Generator())
    looped_loss = (looped(net, given) - given).square().mean()

    torch.testing.assert_close(loss, looped_loss, rtol=1e-12, atol=0)
    found, wanted = torch.autograd.grad(loss, weights), torch.autograd.grad(looped_loss, weights)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)


def test_between_forced_and_free_the_training_loss_is_their_weighted_mean() -> None:
    net = network(15, 4, 10)
    losses: dict[float, Tensor] = {}
    for share in (0.0, 0.3, 1.0):
        net.teacher_forcing = share
        losses[share] = net.loss(windows(15, 4), torch.Generator())

    torch.testing.assert_close(losses[0.3], 0.3 * losses[1.0] + 0.7 * losses[0.0])


def test_scoring_does_not_look_at_the_truth_it_is_compared_with() -> None:
    net = network(15, 4, 10)
    given = windows(15, 4)
    state = net.encode(given)

    expected, error = net(given)

    assert torch.equal(expected, net.decode(state, 15))
    assert torch.equal(error, (given - expected).square())


def test_gradients_go_through_both_halves() -> None:
    net = network(15, 4, 10)

    net.loss(windows(15, 4), torch.Generator()).backward()

    assert all(
        weight.grad is not None and weight.grad.abs().sum() > 0 for weight in net.parameters()
    )
