"""How a network runs: ONNX Runtime in the daemon, torch where it was trained."""

import os
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from models.frame import Float32s

if TYPE_CHECKING:
    from models.families.network import Network

# The fastest batch for recurrent networks on one thread: larger ones leave the cache.
MICRO_BATCH = 64


class Runtime(Protocol):
    """Maps scaled float32 windows (N, L, m) to expected and error, both (N, L, m)."""

    def __call__(self, windows: Float32s) -> tuple[Float32s, Float32s]:
        """Expected values and errors of some windows."""
        ...


class OnnxRuntime:
    """Runs a bundle's `model.onnx` on one thread, in batches of at most MICRO_BATCH windows.

    Args:
        model: the serialised network; given as bytes it cannot name other files.

    Raises:
        ValueError: if the bytes are no network from `windows` to `expected` and `error`.
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
        if inputs != ["windows"] or outputs != ["expected", "error"]:
            raise ValueError(
                f"maps {inputs} to {outputs}; wanted ['windows'] to ['expected', 'error']"
            )
        self._padded = False

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

    def __call__(self, windows: Float32s) -> tuple[Float32s, Float32s]:
        """Expected values and errors of windows (N, L, m)."""
        if len(windows) <= MICRO_BATCH:
            return self._batch(windows)
        parts = [
            self._batch(windows[start : start + MICRO_BATCH])
            for start in range(0, len(windows), MICRO_BATCH)
        ]
        return (
            np.concatenate([expected for expected, _ in parts]),
            np.concatenate([error for _, error in parts]),
        )

    def _batch(self, windows: Float32s) -> tuple[Float32s, Float32s]:
        rows = len(windows)
        if self._padded and rows < MICRO_BATCH:
            full = np.zeros((MICRO_BATCH, *windows.shape[1:]), np.float32)
            full[:rows] = windows
            expected, error = self._run(full)
            return expected[:rows], error[:rows]
        return self._run(windows)

    def _run(self, windows: Float32s) -> tuple[Float32s, Float32s]:
        found = cast(list[Any], self._session.run(None, {"windows": windows}))
        return np.asarray(found[0]), np.asarray(found[1])


class TorchRuntime:
    """Runs a network in torch, the reference for ONNX Runtime."""

    def __init__(self, network: "Network") -> None:
        self._network = network.eval()

    def __call__(self, windows: Float32s) -> tuple[Float32s, Float32s]:
        """Expected values and errors of windows (N, L, m)."""
        import torch

        with torch.inference_mode():
            parts = [
                self._network(torch.from_numpy(windows[start : start + MICRO_BATCH]))
                for start in range(0, len(windows), MICRO_BATCH)
            ]
        return (
            np.concatenate([expected.numpy() for expected, _ in parts]),
            np.concatenate([error.numpy() for _, error in parts]),
        )


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its kind where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
