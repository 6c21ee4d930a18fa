"""What holds for every family of networks, in torch and on ONNX Runtime."""

import numpy as np
import pytest
import torch

from models.families import FAMILIES
from models.families.network import Network
from models.families.pca import WindowPca
from models.frame import Float32s
from models.packing import export
from models.runtime import MICRO_BATCH, OnnxRuntime, TorchRuntime

SHAPES = [(64, 8), (19, 5), (8, 1)]
CASES = [(model, window, sensors) for model in FAMILIES for window, sensors in SHAPES]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def windows(count: int, window: int, sensors: int) -> Float32s:
    return (
        np.random.default_rng(2).normal(size=(count, window, sensors)).cumsum(axis=1) / 4
    ).astype(np.float32)


def network(model: str, window: int, sensors: int, seed: int = 0) -> Network:
    made = FAMILIES[model](window, sensors)
    made.initialise(torch.Generator().manual_seed(seed))
    made.prepare(torch.from_numpy(windows(200, window, sensors)))
    return made


@pytest.mark.parametrize(("model", "window", "sensors"), CASES)
def test_both_runtimes_map_windows_to_expected_and_error_alike(
    model: str, window: int, sensors: int
) -> None:
    net = network(model, window, sensors)
    given = windows(70, window, sensors)

    in_torch, in_onnx = TorchRuntime(net)(given), OnnxRuntime(export(net))(given)

    for found in (in_torch, in_onnx):
        for array in (found.expected, found.error):
            assert (array.shape, array.dtype) == (given.shape, np.float32)
        assert (found.error >= 0).all()
    expected, error = in_torch.expected, in_torch.error
    np.testing.assert_allclose(in_onnx.expected, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(in_onnx.error, error, rtol=1e-4, atol=1e-6)
    if type(net).forward is Network.forward:
        np.testing.assert_allclose(error, np.square(given - expected), rtol=1e-5, atol=1e-10)


@pytest.mark.parametrize(("model", "window", "sensors"), CASES)
def test_on_onnx_runtime_a_windows_result_is_bitwise_independent_of_its_batch(
    model: str, window: int, sensors: int
) -> None:
    runtime = OnnxRuntime(export(network(model, window, sensors)))
    runtime.settle(window, sensors)
    given = windows(130, window, sensors)
    alone = [runtime(one[None]) for one in given]

    for part in ("expected", "error"):
        wanted = np.concatenate([getattr(result, part) for result in alone])
        for rows in (*range(1, 20), 31, 32, 33, 63, 64, 65, 96, 127, 128, 129, 130):
            np.testing.assert_array_equal(getattr(runtime(given[:rows]), part), wanted[:rows])
        for start in (1, 5, 63, 64, 66):
            np.testing.assert_array_equal(getattr(runtime(given[start:]), part), wanted[start:])


@pytest.mark.parametrize("model", FAMILIES)
def test_a_window_that_is_not_finite_does_not_touch_the_others(model: str) -> None:
    runtime = OnnxRuntime(export(network(model, 19, 5)))
    given = windows(9, 19, 5)
    wanted = runtime(given)
    given[4, 3, 2] = np.nan

    found = runtime(given)

    for one, clean in ((found.expected, wanted.expected), (found.error, wanted.error)):
        np.testing.assert_array_equal(np.delete(one, 4, 0), np.delete(clean, 4, 0))
    # Only the error of the cell itself tells: ONNX Runtime's LSTM turns NaN into a number.
    assert np.isnan(found.error[4, 3, 2])


@pytest.mark.parametrize("model", FAMILIES)
def test_the_same_seed_gives_the_same_weights_whatever_else_has_been_drawn(model: str) -> None:
    torch.manual_seed(1)
    one = network(model, 19, 5, seed=3).state_dict()
    torch.manual_seed(2)
    other, third = network(model, 19, 5, seed=3).state_dict(), network(model, 19, 5, seed=4)

    assert all(torch.equal(one[name], other[name]) for name in one)
    if model != "pca":
        assert any(not torch.equal(one[name], third.state_dict()[name]) for name in one)


@pytest.mark.parametrize("model", FAMILIES)
def test_exporting_twice_gives_equal_bytes(model: str) -> None:
    net = network(model, 19, 5)

    assert export(net) == export(net)


class BatchDependent(OnnxRuntime):
    """Stands for a machine whose kernels round other numbers of rows in another way."""

    def __init__(self) -> None:
        self._padded = False
        self.batches: list[int] = []

    def _run(self, windows: Float32s) -> tuple[Float32s, Float32s]:
        self.batches.append(len(windows))
        noise = np.float32(1 + 1e-7 * (len(windows) % 4 == 3))
        return windows * noise, np.abs(windows) * noise


def test_where_a_result_depends_on_its_batch_every_batch_is_padded_to_one_size() -> None:
    runtime = BatchDependent()
    runtime.settle(8, 2)
    runtime.batches.clear()
    given = windows(130, 8, 2)

    wanted = np.concatenate([runtime(one[None])[0] for one in given])

    np.testing.assert_array_equal(runtime(given)[0], wanted)
    np.testing.assert_array_equal(runtime(given[:67])[0], wanted[:67])
    assert set(runtime.batches) == {MICRO_BATCH}


def test_bytes_that_are_no_network_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match="is no network ONNX Runtime can load"):
        OnnxRuntime(b"nonsense")


def principal_components(flat: np.ndarray, code: int) -> np.ndarray:
    mean = flat.mean(axis=0)
    _, _, rows = np.linalg.svd(flat - mean, full_matrices=False)
    return (flat - mean) @ rows[:code].T @ rows[:code] + mean


def test_pca_is_the_projection_on_the_components_that_keep_90_percent_of_the_variance() -> None:
    given = windows(300, 10, 3)
    net = WindowPca(10, 3)
    net.prepare(torch.from_numpy(given))
    flat = given.reshape(300, -1).astype(np.float64)
    variance = np.linalg.svd(flat - flat.mean(axis=0), compute_uv=False) ** 2
    code = int(np.searchsorted(np.cumsum(variance) / variance.sum(), 0.9)) + 1

    expected = TorchRuntime(net)(given).expected

    assert net.components.shape == (30, code)
    np.testing.assert_allclose(
        expected.reshape(300, -1), principal_components(flat, code), atol=1e-5
    )


def test_pca_of_constant_windows_expects_the_constant() -> None:
    net = WindowPca(8, 2)
    net.prepare(torch.ones(100, 8, 2))

    expected, error, _ = TorchRuntime(net)(np.ones((3, 8, 2), np.float32))

    assert (expected == 1).all()
    assert (error == 0).all()
    assert net.components.shape == (16, 1)


def test_a_sensor_that_never_moves_leaves_pca_as_it_is_without_it() -> None:
    given = torch.from_numpy(windows(300, 10, 3))
    flags = given.clone()
    flags[:, :, 1] = 0.7
    one, other = WindowPca(10, 3), WindowPca(10, 2)
    one.prepare(flags)
    other.prepare(given[:, :, [0, 2]])

    with torch.no_grad():
        torch.testing.assert_close(one(given)[0][:, :, [0, 2]], other(given[:, :, [0, 2]])[0])
        assert (one(given)[0][:, :, 1] == 0.7).all()
