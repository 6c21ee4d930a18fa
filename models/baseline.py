"""The window PCA beside a bundle's network: what the network has to beat, calibrated likewise."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors import numpy as arrays

from models import bundle
from models.bundle import BASELINE, BundleError
from models.detector import Detector
from models.frame import Float32s
from models.manifest import Manifest
from models.runtime import Outputs


class PcaRuntime:
    """Projects flattened windows on principal components and back, in NumPy.

    Args:
        mean: float32 of shape (L*m,).
        components: float32 of shape (L*m, code).
    """

    def __init__(self, mean: Float32s, components: Float32s) -> None:
        self._mean, self._components = mean, components

    def __call__(self, windows: Float32s) -> Outputs:
        """Expected values and errors of windows (N, L, m)."""
        flat = windows.reshape(len(windows), -1) - self._mean  # (N, L*m)
        back = np.matmul(flat @ self._components, self._components.T, dtype=np.float32)
        expected = (back + self._mean).reshape(windows.shape)  # (N, L, m)
        return Outputs(expected, np.square(windows - expected, dtype=np.float32))


def stored(mean: Float32s, components: Float32s) -> bytes:
    """The bytes of `baseline.safetensors`."""
    # The format writes an array's memory as it lies.
    return arrays.save({"mean": mean, "components": np.ascontiguousarray(components)})


def runtime_of(manifest: Manifest, files: dict[str, bytes]) -> PcaRuntime:
    """The network of a verified bundle's baseline.

    Raises:
        BundleError: if its file does not hold one.
    """
    where = Path(manifest.name) / BASELINE
    found = bundle.tensors_of(where, files[BASELINE])
    size = manifest.window * len(manifest.sensors)
    mean, components = found.get("mean"), found.get("components")
    if (
        mean is None
        or components is None
        or (mean.shape, components.shape[:1], components.ndim) != ((size,), (size,), 2)
        or not mean.dtype == components.dtype == np.float32
    ):
        shapes = {name: f"{array.dtype} {array.shape}" for name, array in found.items()}
        raise BundleError(
            f"{where}: holds {shapes}; wanted 'mean', float32 ({size}), and 'components', float32 "
            f"({size}, n)"
        )
    return PcaRuntime(mean, components)


def baseline_of(manifest: Manifest, files: dict[str, bytes], detector: Detector) -> Detector | None:
    """The baseline of a verified bundle: its own detector where that is one, None without one."""
    if manifest.baseline:
        calibrated = manifest.model_copy(update={"calibrations": manifest.baseline})
        return replace(bundle.detector_of(calibrated, runtime_of(manifest, files)), name="pca")
    return detector if manifest.model == "pca" else None
