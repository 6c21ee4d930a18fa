"""A trained network and its calibrations as the files of a bundle."""

import io
import warnings
from dataclasses import dataclass

import torch
from safetensors import torch as tensors

from models import baseline, bundle, golden
from models.audit import audit
from models.families.network import Network
from models.manifest import Manifest
from models.plan import Plan
from models.runtime import OUTPUTS, OnnxRuntime, TorchRuntime
from models.stretches import Stretches
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
    sample: Stretches | None,
    progress: Progress,
) -> Fit:
    """Export, choose golden windows, prove that both runtimes score them alike, and audit.

    Args:
        manifest: without the files.
        network: of the bundle.
        pca: its baseline, a window PCA; None where the network is one.
        the: the plan.
        sample: held-out normal data for the audit, if there are some.
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
    files = {
        bundle.WEIGHTS: tensors.save(
            {name: weight.contiguous() for name, weight in network.state_dict().items()}
        ),
        bundle.NETWORK: model,
        bundle.GOLDEN: golden.stored(windows, reference, sample),
    }
    if pca is not None:
        weights = {name: weight.numpy() for name, weight in pca.state_dict().items()}
        files[bundle.BASELINE] = baseline.stored(weights["mean"], weights["components"])
    if sample is not None:
        seen = audit(detector, sample, lambda done, most: progress("audit", done, most))
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
