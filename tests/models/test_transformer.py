import math

import pytest
import torch
from torch import Tensor, nn

from models.families.transformer import (
    HEADS,
    MOST_PATCHES,
    WIDTH,
    Attention,
    TransformerAutoencoder,
    sinusoids,
)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def network(window: int = 64, sensors: int = 3, masked: float = 0.25) -> TransformerAutoencoder:
    made = TransformerAutoencoder(window, sensors, masked=masked)
    made.initialise(torch.Generator().manual_seed(0))
    return made.eval()


def windows(window: int = 64, sensors: int = 3, count: int = 5) -> Tensor:
    return torch.randn(count, window, sensors, generator=torch.Generator().manual_seed(1))


def test_attention_is_torchs_own_with_the_same_weights() -> None:
    ours = Attention()
    theirs = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
    asking, asked = torch.randn(2, 3, WIDTH), torch.randn(2, 7, WIDTH)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat((ours.query.weight, ours.key_value.weight)))
        theirs.in_proj_bias.copy_(torch.cat((ours.query.bias, ours.key_value.bias)))
        theirs.out_proj.load_state_dict(ours.output.state_dict())

        wanted, _ = theirs(asking, asked, asked)
        found = ours(asking, asked)

    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


def test_positions_are_the_papers_sines_and_cosines() -> None:
    found = sinusoids(20)

    for position in (0, 1, 19):
        for pair in (0, 1, 31):
            angle = position / 10_000 ** (2 * pair / WIDTH)
            wanted = [math.sin(angle), math.cos(angle)]
            assert found[position, 2 * pair : 2 * pair + 2].tolist() == pytest.approx(wanted, 1e-5)


@pytest.mark.parametrize("window", [2, 7, 16, 17, 25, 33, 64, 100, 333])
def test_a_window_is_cut_into_at_most_16_patches_none_of_them_needless(window: int) -> None:
    net, given = network(window), windows(window)

    assert net.patches <= MOST_PATCHES
    assert 0 <= net.patches * net.patch - window < net.patch
    with torch.no_grad():
        assert net.reconstruct(given).shape == given.shape


def test_what_a_window_lacks_to_whole_patches_is_more_of_its_oldest_frame() -> None:
    given = windows(19)
    net, whole = network(19), network(20)
    assert (net.patch, net.patches) == (whole.patch, whole.patches) == (2, 10)

    with torch.no_grad():
        code = whole.encode(torch.cat((given[:, :1], given), dim=1))

        torch.testing.assert_close(net.encode(given), code)
        torch.testing.assert_close(net.decode(code), whole.decode(code)[:, 1:])


def test_of_the_last_layer_only_what_the_latent_tokens_hear_is_worked_out() -> None:
    net, tokens = network(), torch.randn(2, 4 + 16, WIDTH)
    last = net.encoder[-1]

    with torch.no_grad():
        torch.testing.assert_close(last(tokens[:, :4], tokens), last(tokens, tokens)[:, :4])


def test_the_order_of_the_patches_counts() -> None:
    net, given = network(), windows()

    with torch.no_grad():
        shifted = net.encode(given.roll(4, dims=1))

    assert (net.encode(given) - shifted).abs().amax((1, 2)).min() > 0.01


def test_in_training_about_half_the_windows_hide_one_span_of_a_quarter() -> None:
    mask = network().mask(4000, torch.Generator().manual_seed(0))
    hidden = mask[mask.any(1)]
    edges = hidden.int().diff(dim=1).ne(0).sum(1) + hidden[:, 0] + hidden[:, -1]

    assert 0.45 < len(hidden) / 4000 < 0.55
    assert (hidden.sum(1) == 4).all()
    assert (edges == 2).all()
    # Every patch is hidden at times.
    assert (hidden.float().mean(0) > 0.05).all()


def test_a_hidden_patch_is_not_seen_but_must_be_told() -> None:
    net, given = network(), windows()
    mask = torch.zeros(5, 16, dtype=torch.bool)
    mask[:, 3:7] = True
    other = given.clone()
    other[:, 12:28] += 1

    with torch.no_grad():
        assert torch.equal(net.encode(given, mask), net.encode(other, mask))
        assert not torch.equal(net.encode(given), net.encode(other))
    net.masked = 16  # all of it, in about half of the windows
    assert net.loss(given, torch.Generator().manual_seed(0)) != net(given)[1].mean()


def test_nothing_is_hidden_when_windows_are_scored_or_masked_is_0() -> None:
    net, given = network(), windows()
    unmasked = network(masked=0.0)

    expected, error = net.train()(given)

    torch.testing.assert_close(expected, net.eval()(given)[0])
    torch.testing.assert_close(error, unmasked(given)[1])
    torch.testing.assert_close(unmasked.loss(given, torch.Generator()), error.mean())


def test_gradients_reach_every_weight() -> None:
    net = network(19, 4)

    net.loss(windows(19, 4, 64), torch.Generator().manual_seed(0)).backward()

    assert all(
        weight.grad is not None and weight.grad.abs().sum() > 0 for weight in net.parameters()
    )
