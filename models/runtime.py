"""How a network runs: ONNX Runtime in the daemon, torch where it was trained."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, cast

import numpy as np

from models.frame import Float32s

if TYPE_CHECKING:
    from models.families.network import Network

# The fastest batch for recurrent networks on one thread: larger ones leave the cache.
MICRO_BATCH = 64
OUTPUTS = ["expected", "error", "spread"]

Kind = Literal["onnx", "torch"]


class Outputs(NamedTuple):
    """What a network makes of windows.

    Args:
        expected, error: float32 of shape (N, L, m).
        spread: how far apart the scores of an ensemble's members lie, float32 of shape (N,).
    """

    expected: Float32s
    error: Float32s
    spread: Float32s | None = None


class Runtime(Protocol):
    """Maps scaled float32 windows (N, L, m) to what the network expected of them."""

    def __call__(self, windows: Float32s) -> Outputs:
        """Expected values and errors of some windows."""
        ...


class _Batched:
    """Runs windows in batches of at most MICRO_BATCH, padded to it where results depend on it."""

    _padded = False

    def settle(self, window: int, sensors: int) -> None:
        """Find out whether a window's result depends on its batch here; if so, pad every batch."""
        shape = (MICRO_BATCH, window, sensors)
        windows = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        alone = [self._run(one[None]) for one in windows]
        together = [np.concatenate(parts) for parts in zip(*alone, strict=True)]
        # Kernels work on blocks of up to 16 rows and treat what is left over in another way.
        self._padded = not all(
            np.array_equal(found, wanted[:rows])
            for rows in (*range(2, 18), MICRO_BATCH - 1, MICRO_BATCH)
            for found, wanted in zip(self._run(windows[:rows]), together, strict=True)
        )

    def __call__(self, windows: Float32s) -> Outputs:
        """What the network makes of windows (N, L, m)."""
        if len(windows) <= MICRO_BATCH:
            return Outputs(*self._batch(windows))
        parts = [
            self._batch(windows[start : start + MICRO_BATCH])
            for start in range(0, len(windows), MICRO_BATCH)
        ]
        return Outputs(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))

    def _batch(self, windows: Float32s) -> Sequence[Float32s]:
        rows = len(windows)
        if self._padded and rows < MICRO_BATCH:
            full = np.zeros((MICRO_BATCH, *windows.shape[1:]), np.float32)
            full[:rows] = windows
            return [array[:rows] for array in self._run(full)]
        return self._run(windows)

    def _run(self, windows: Float32s) -> Sequence[Float32s]:
        raise NotImplementedError


class OnnxRuntime(_Batched):
    """Runs a bundle's `model.onnx` on one thread, in batches of at most MICRO_BATCH windows.

    Args:
        model: the serialised network; given as bytes it cannot name other files.

    Raises:
        ValueError: if the bytes are no network from `windows` to the fields of `Outputs`.
    """

    def __init__(self, model: bytes) -> None:
        # Some builds report home and write to the user's cache unless told so before the import.
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        import onnxruntime as ort

        options = cast(Any, ort.SessionOptions())
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        # An arena would keep megabytes for each bundle; many machines have one of their own.
        options.enable_cpu_mem_arena = False
        providers = ["CPUExecutionProvider"]
        try:
            # Its fallback would try the same again and print on stdout.
            self._session = ort.InferenceSession(model, options, providers, enable_fallback=0)
        except Exception as error:  # onnxruntime's exceptions share no base class of their own
            raise ValueError(f"is no network ONNX Runtime can load ({first_line(error)})") from None
        inputs = [str(node.name) for node in cast(list[Any], self._session.get_inputs())]
        outputs = [str(node.name) for node in cast(list[Any], self._session.get_outputs())]
        if inputs != ["windows"] or outputs not in (OUTPUTS[:2], OUTPUTS):
            raise ValueError(
                f"maps {inputs} to {outputs}; wanted ['windows'] to {OUTPUTS[:2]} or {OUTPUTS}"
            )

    def _run(self, windows: Float32s) -> Sequence[Float32s]:
        found = cast(list[Any], self._session.run(None, {"windows": windows}))
        return [np.asarray(array) for array in found]


class TorchRuntime(_Batched):
    """Runs a network in torch, the reference for ONNX Runtime."""

    def __init__(self, network: "Network") -> None:
        self._network = network.eval()

    def _run(self, windows: Float32s) -> Sequence[Float32s]:
        import torch

        with torch.inference_mode():
            return [array.numpy() for array in self._network(torch.from_numpy(windows))]


def rebuilt(
    model: str, window: int, sensors: int, parameters: Mapping[str, object], weights: bytes
) -> "Network":
    """The network of a bundle in torch, on one thread.

    Args:
        model, parameters: of its family.
        weights: a safetensors file.

    Raises:
        ModuleNotFoundError: without torch.
        ValueError: if there is no such network, or the weights are not its weights.
    """
    import torch
    from safetensors.torch import load

    from models.families import FAMILIES

    torch.set_num_threads(1)
    if model not in FAMILIES:
        raise ValueError(f"are of a model {model!r}; wanted one of {', '.join(FAMILIES)}")
    found = load(weights)
    try:
        # Its sizes may be anybody's: they cost memory only once the weights have proven them.
        with torch.device("meta"):
            FAMILIES[model](window, sensors, **parameters).load_state_dict(found, assign=True)
        network = FAMILIES[model](window, sensors, **parameters)
        network.load_state_dict(found)
    # Whatever parameters of unknown origin lead to.
    except Exception as error:
        why = " ".join(str(error).split())[:300]
        raise ValueError(f"are not those of {model} with {dict(parameters)} ({why})") from None
    return network


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its kind where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
