import pytest
import torch
from torch import Tensor, nn

from models.families.conv import KERNEL, ConvAutoencoder


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def network(window: int, sensors: int, channels: tuple[int, ...] = (32, 32)) -> ConvAutoencoder:
    made = ConvAutoencoder(window, sensors, channels)
    made.initialise(torch.Generator().manual_seed(0))
    return made.eval()


def windows(window: int, sensors: int, count: int = 5) -> Tensor:
    return torch.randn(count, window, sensors, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("window", [*range(2, 34), 100, 333])
@pytest.mark.parametrize("channels", [(4,), (4, 3), (4, 3, 2)])
def test_windows_of_any_length_come_back_as_long_as_they_were(
    window: int, channels: tuple[int, ...]
) -> None:
    net, given = network(window, 2, channels), windows(window, 2)

    with torch.no_grad():
        assert net.reconstruct(given).shape == given.shape


def test_each_stage_halves_the_frames_rounded_up_and_the_way_back_mirrors_it() -> None:
    net, lengths = network(37, 3, (8, 6, 4)), list[tuple[int, int]]()
    for layer in net.modules():
        if isinstance(layer, nn.Conv1d | nn.ConvTranspose1d):
            layer.register_forward_hook(lambda _, __, out: lengths.append(tuple(out.shape[1:])))

    with torch.no_grad():
        net.reconstruct(windows(37, 3))

    assert lengths == [(8, 19), (6, 10), (4, 5), (6, 10), (8, 19), (3, 37)]


def test_a_frame_reaches_only_the_positions_whose_filters_see_it() -> None:
    net = network(40, 2, (4,))
    given = windows(40, 2, 1)
    changed = given.clone()
    changed[:, 20] += 1

    with torch.no_grad():
        moved = (net.down(given.mT) != net.down(changed.mT)).any(1)[0]

    assert moved.nonzero().flatten().tolist() == [9, 10, 11]
    assert KERNEL == 5


def test_every_layer_starts_with_signals_of_about_one_size() -> None:
    net, sizes = network(128, 8), list[float]()
    for layer in net.modules():
        if isinstance(layer, nn.Linear | nn.Conv1d | nn.ConvTranspose1d):
            layer.register_forward_hook(lambda _, __, out: sizes.append(out.std().item()))

    with torch.no_grad():
        net.reconstruct(windows(128, 8, 64))

    assert len(sizes) == 6
    assert all(0.6 < size < 1.5 for size in sizes)


def test_it_trains_against_the_clean_window_with_noise_on_the_input() -> None:
    net, given = network(16, 3), windows(16, 3, 40)

    noisy = net.loss(given, torch.Generator().manual_seed(0))
    net.denoise = 0.0
    clean = net.loss(given, torch.Generator().manual_seed(0))
    net.denoise = 0.5
    noisier = net.loss(given, torch.Generator().manual_seed(0))

    torch.testing.assert_close(clean, net(given)[1].mean())
    assert abs(noisy - clean) > 1e-5
    assert noisier > noisy


def test_gradients_reach_every_weight() -> None:
    net = network(19, 4)

    net.loss(windows(19, 4), torch.Generator().manual_seed(0)).backward()

    assert all(
        weight.grad is not None and weight.grad.abs().sum() > 0 for weight in net.parameters()
    )
