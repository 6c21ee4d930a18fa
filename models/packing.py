"""A trained network and its calibrations as the files of a bundle."""

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from safetensors import torch as tensors

from models import baseline, bundle, golden
from models.audit import audit
from models.calibration import Fold
from models.families.network import Network
from models.manifest import Manifest
from models.plan import Plan
from models.runtime import OUTPUTS, OnnxRuntime, TorchRuntime
from models.stretches import sample
from models.training import Progress


@dataclass(frozen=True, slots=True)
class Fit:
    """A finished fit, ready to be written as a bundle."""

    manifest: Manifest
    files: dict[str, bytes]


def pack(
    manifest: Manifest,
    network: Network,
    pca: Network | None,
    the: Plan,
    held_out: Sequence[Fold],
    progress: Progress,
) -> Fit:
    """Export, choose golden windows, prove that both runtimes score them alike, and audit.

    Args:
        manifest: without the files.
        network: of the bundle.
        pca: its baseline, a window PCA; None where the network is one.
        the: the plan.
        held_out: windows for the audit, with networks that have not seen them.
        progress: called while it is audited.
    """
    model = export(network)
    windows, reference = golden.scored(
        manifest, TorchRuntime(network), golden.windows(the, manifest.training.seed)
    )
    onnx = OnnxRuntime(model)
    onnx.settle(manifest.window, len(manifest.sensors))
    detector = bundle.detector_of(manifest, onnx)
    found = detector.score_windows(detector.scale(windows)).raw
    bundle.check_golden(found, reference, "torch and ONNX Runtime differ")
    stretches = sample(detector, held_out, the.frames)
    files = {
        bundle.WEIGHTS: tensors.save(
            {name: weight.contiguous() for name, weight in network.state_dict().items()}
        ),
        bundle.NETWORK: model,
        bundle.GOLDEN: golden.stored(windows, reference, stretches),
    }
    if pca is not None:
        weights = {name: weight.numpy() for name, weight in pca.state_dict().items()}
        files[bundle.BASELINE] = baseline.stored(weights["mean"], weights["components"])
    if stretches is not None:
        seen = audit(detector, stretches, partial(progress, "audit"))
        manifest = manifest.model_copy(update={"audit": seen})
    return Fit(manifest, files)


def export(network: Network) -> bytes:
    """The network as ONNX, with any number of windows."""
    buffer = io.BytesIO()
    example = torch.zeros(2, network.window, network.sensors)
    outputs = OUTPUTS[: len(network.eval()(example))]
    with warnings.catch_warnings():
        # The exporter that is fast and writes the LSTM operator warns that it is the old one.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (example,),
            buffer,  # pyright: ignore[reportArgumentType] # only the other exporter wants a path
            dynamo=False,
            input_names=["windows"],
            output_names=outputs,
            dynamic_axes={name: {0: "windows_count"} for name in ("windows", *outputs)},
        )
    return buffer.getvalue()
