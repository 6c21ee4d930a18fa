import inspect

import pytest
import torch
from torch import Tensor

from models.families.lstm import LstmAutoencoder

SHAPES = [(12, 1, 4), (30, 3, 40), (64, 8, 64), (100, 2, 25), (7, 12, 16)]  # L, m, c


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def network(window: int, sensors: int, hidden: int, *, louder: float = 1.0) -> LstmAutoencoder:
    made = LstmAutoencoder(window, sensors, hidden)
    made.initialise(torch.Generator().manual_seed(0))
    with torch.no_grad():
        for weight in made.parameters():
            weight.mul_(louder)
    return made.eval()


def windows(window: int, sensors: int, count: int = 5) -> Tensor:
    return torch.randn(count, window, sensors, generator=torch.Generator().manual_seed(1))


def cell(net: LstmAutoencoder, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """One step of the decoder from the equations of an LSTM."""
    ((w_ih, w_hh, b_ih, b_hh),) = net.decoder.all_weights
    hidden, memory = state
    gates = x @ w_ih.T + b_ih + hidden @ w_hh.T + b_hh
    enter, forget, candidate, leave = gates.chunk(4, dim=1)
    memory = forget.sigmoid() * memory + enter.sigmoid() * candidate.tanh()
    return leave.sigmoid() * memory.tanh(), memory


def looped(net: LstmAutoencoder, given: Tensor, *, teacher: Tensor | None = None) -> Tensor:
    """EncDec-AD's decoder step by step (section 2.1 of the paper), oldest frame first."""
    hidden, memory = net.encode(given)
    state = (hidden[0], memory[0])
    out = [net.output(state[0])]
    for step in range(1, net.window):
        x = out[-1] if teacher is None else teacher[:, net.window - step]
        state = cell(net, x, state)
        out.append(net.output(state[0]))
    return torch.stack(out[::-1], dim=1)


@pytest.mark.parametrize(("window", "sensors", "hidden"), SHAPES)
@pytest.mark.parametrize("louder", [1.0, 4.0])
def test_the_folded_decoder_is_the_loop_to_1e_12_in_fp64(
    window: int, sensors: int, hidden: int, louder: float
) -> None:
    net = network(window, sensors, hidden, louder=louder).double()
    given = windows(window, sensors).double()

    with torch.no_grad():
        torch.testing.assert_close(net.reconstruct(given), looped(net, given), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("window", "sensors", "hidden"), SHAPES)
@pytest.mark.parametrize("louder", [1.0, 4.0])
def test_in_fp32_folding_errs_at_most_twice_as_much_as_the_loop_itself(
    window: int, sensors: int, hidden: int, louder: float
) -> None:
    net = network(window, sensors, hidden, louder=louder)
    given = windows(window, sensors, count=64)

    with torch.no_grad():
        folded, loop = net.reconstruct(given).double(), looped(net, given).double()
        exact = looped(net.double(), given.double())

    assert (folded - exact).abs().max() <= 2 * (loop - exact).abs().max()


def test_decoding_sees_the_encoders_state_and_nothing_of_the_window() -> None:
    net = network(20, 3, 8)
    one, other = windows(20, 3, 2).split(1)

    assert list(inspect.signature(net.decode).parameters) == ["state", "length"]
    with torch.no_grad():
        state = net.encode(one)
        decoded = net.decode(state, 20)
        net.encode(other)
        assert torch.equal(net.decode(state, 20), decoded)
        assert torch.equal(net.reconstruct(one), decoded)


def test_the_newest_frame_is_predicted_from_the_encoders_state_alone() -> None:
    net = network(20, 3, 8)
    given = windows(20, 3)

    with torch.no_grad():
        hidden, _ = net.encode(given)
        assert torch.equal(net.reconstruct(given)[:, -1], net.output(hidden[0]))


def test_the_papers_training_loss_is_teacher_forced_on_reversed_targets() -> None:
    net = network(15, 4, 10).double()
    net.teacher_forcing = 1.0
    given = windows(15, 4).double()

    with torch.no_grad():
        loss = net.loss(given, torch.Generator())
        forced, free = looped(net, given, teacher=given), looped(net, given)

    torch.testing.assert_close(loss, (forced - given).square().mean(), rtol=1e-12, atol=0)
    assert abs(loss - (free - given).square().mean()) > 1e-4


def test_without_teacher_forcing_the_training_loss_and_its_gradient_are_those_of_the_loop() -> None:
    net = network(15, 4, 10).double().train()
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
