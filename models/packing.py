"""A trained network and its calibrations as the files of a bundle."""

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from safetensors import numpy as arrays
from safetensors import torch as tensors

from models import bundle
from models.audit import audit
from models.calibration import Calibrated
from models.families.network import Network
from models.frame import Floats
from models.manifest import DEFAULT, CalibrationSpec, Manifest, ThresholdSpec
from models.plan import Plan
from models.runtime import OnnxRuntime, Runtime, TorchRuntime
from models.split import NormalFrames, scalings
from models.stretches import Stretches
from models.training import Progress


@dataclass(frozen=True, slots=True)
class Fit:
    """A finished fit, ready to be written as a bundle."""

    manifest: Manifest
    files: dict[str, bytes]


def calibration_specs(
    calibrated: Mapping[str | None, Calibrated],
    normal: NormalFrames,
    center: Floats,
    spread: Floats,
) -> dict[str, CalibrationSpec]:
    """Calibrations as a bundle stores them; scaling of shape (rows, sensors)."""
    found: dict[str, CalibrationSpec] = {}
    for row, asset in enumerate((None, *normal.assets)):
        if asset not in calibrated:
            continue
        statistics, threshold = calibrated[asset].statistics, calibrated[asset].threshold
        mean, precision = statistics.mean, statistics.precision
        found[asset or DEFAULT] = CalibrationSpec(
            center=center[row].tolist(),
            spread=spread[row].tolist(),
            error_scale=statistics.scale.tolist(),
            error_mean=None if mean is None else mean.tolist(),
            error_precision=None if precision is None else precision.tolist(),
            threshold=ThresholdSpec(
                value=threshold.value,
                rule="false_alarms_per_day",
                requested_per_day=threshold.requested,
                supported=threshold.supported,
                expected_per_day=threshold.expected,
                bound_per_day=threshold.bound,
                days=threshold.days,
            ),
        )
    return found


def pack(
    manifest: Manifest,
    network: Network,
    the: Plan,
    sample: Stretches | None,
    progress: Progress,
) -> Fit:
    """Export, choose golden windows, prove that both runtimes score them alike, and audit."""
    model = export(network)
    onnx = OnnxRuntime(model)
    onnx.settle(manifest.window, len(manifest.sensors))
    windows = golden_windows(the, manifest)
    reference = _golden_scores(manifest, TorchRuntime(network), windows)
    # Rounding may turn a verdict so close to the threshold, and is all there is to a score near 0.
    kept = (np.abs(reference - 1) > 1e-3) & (reference > 1e-3)
    windows, reference = windows[kept], reference[kept]
    bundle.check_golden(
        _golden_scores(manifest, onnx, windows), reference, "torch and ONNX Runtime differ"
    )
    files = {
        bundle.WEIGHTS: tensors.save(
            {name: weight.contiguous() for name, weight in network.state_dict().items()}
        ),
        bundle.NETWORK: model,
        bundle.GOLDEN: arrays.save({"windows": windows, "raw": reference, **_tensors(sample)}),
    }
    if sample:
        found = audit(
            bundle.detector_of(manifest, onnx),
            sample,
            lambda done, most: progress("audit", done, most),
        )
        manifest = manifest.model_copy(update={"audit": found})
    return Fit(manifest, files)


def _tensors(sample: Stretches | None) -> dict[str, np.ndarray]:
    if sample is None:
        return {}
    return {"normal": sample.values, "normal_raw": sample.raw, "normal_row": sample.row}


def golden_windows(the: Plan, manifest: Manifest) -> Floats:
    """Some normal windows, and the same ones disturbed, in the sensors' units (16, L, m)."""
    chosen = the.ends[np.linspace(0, len(the.ends) - 1, 8).astype(np.int64)]
    normal = the.frames.values[chosen[:, None] + np.arange(1 - the.grid.window, 1)]
    spread = scalings(the.frames, the.ends, the.grid.window)[1][0]
    noise = np.random.default_rng(manifest.training.seed).normal(size=normal.shape)
    return np.concatenate((normal, normal + 3 * spread * noise))


def _golden_scores(manifest: Manifest, runtime: Runtime, windows: Floats) -> Floats:
    detector = bundle.detector_of(manifest, runtime)
    return detector.score_windows(detector.scale(windows)).raw


def export(network: Network) -> bytes:
    """The network as ONNX, with any number of windows."""
    buffer = io.BytesIO()
    example = torch.zeros(2, network.window, network.sensors)
    names = ("windows", "expected", "error")
    with warnings.catch_warnings():
        # The exporter that is fast and writes the LSTM operator warns that it is the old one.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(),
            (example,),
            buffer,  # pyright: ignore[reportArgumentType] # only the other exporter wants a path
            dynamo=False,
            input_names=names[:1],
            output_names=names[1:],
            dynamic_axes={name: {0: "windows_count"} for name in names},
        )
    return buffer.getvalue()
