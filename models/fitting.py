"""`fit`: recordings of normal operation → a bundle."""

import io
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import numpy as arrays
from safetensors import torch as tensors

from models import bundle
from models.calibration import error_statistics, errors, score_errors, smoothed
from models.decision import Rule
from models.detector import Score
from models.families.network import Network
from models.frame import SECOND, Coverage, Floats, Grid, Ints
from models.manifest import (
    CalibrationSpec,
    DataSpec,
    Manifest,
    RuleSpec,
    SensorSpec,
    ThresholdSpec,
    TrainingSpec,
)
from models.recording import Recording, Track, tracks_of, usual_period
from models.runtime import OnnxRuntime, Runtime, TorchRuntime
from models.threshold import Threshold, false_alarms_per_day
from models.training import (
    Fitted,
    Progress,
    Settings,
    Split,
    TrainingError,
    scaling,
    splits,
    train,
    train_folds,
)


@dataclass(frozen=True, slots=True)
class Request:
    """What to fit.

    Args:
        model: name of a family.
        period: of the grid, nanoseconds; None = the usual step of the recordings.
        window: frames; None = min(64, rows // 16), at least 8.
        parameters: of the family.
        score, tail: how a window is scored; the newest `tail` frames, or the window if shorter.
        false_alarms_per_day: per asset.
        workers: folds trained at the same time.
    """

    model: str = "lstm"
    period: int | None = None
    window: int | None = None
    parameters: dict[str, Any] = field(default_factory=dict[str, Any])
    score: Score = "mean-square"
    tail: int = 20
    max_hold: int = 3
    max_held: float = 0.2
    false_alarms_per_day: float = 0.1
    training: Settings = field(default_factory=Settings)
    workers: int = 2


@dataclass(frozen=True, slots=True)
class Plan:
    """The data as they will be used: printed before training starts.

    Args:
        tracks: framed recordings.
        values: their frames one after another, shape (frames, sensors).
        ends: frame index of the end of every window that may be trained on.
        left_out: windows left out, by reason.
    """

    grid: Grid
    tracks: list[Track]
    values: Floats
    ends: Ints
    left_out: dict[str, int]
    folds: list[Split]

    @property
    def kept_ratio(self) -> float:
        """Share of all windows that may be trained on; those at a track's start are not counted."""
        return len(self.ends) / max(1, len(self.ends) + sum(self.left_out.values()))


@dataclass(frozen=True, slots=True)
class Fit:
    """A finished fit, ready to be written as a bundle."""

    manifest: Manifest
    files: dict[str, bytes]
    threshold: Threshold


def plan(recordings: Sequence[Recording], request: Request) -> Plan:
    """Frame the recordings and split their normal windows.

    Raises:
        TrainingError: if there are too few.
    """
    rows = sum(len(recording.time) for recording in recordings)
    window = request.window or max(8, min(64, rows // 16))
    grid = Grid(
        request.period or usual_period(recordings), window, request.max_hold, request.max_held
    )
    tracks = tracks_of(recordings, grid)
    ends: list[Ints] = []
    left_out = {"gap": 0, "held": 0, "labelled": 0}
    start = 0
    for track in tracks:
        coverage = track.frames.coverage
        complete = np.flatnonzero(coverage == Coverage.COMPLETE)
        anomalous = np.cumsum(np.r_[0, track.label])
        normal = complete[anomalous[complete + 1] == anomalous[complete + 1 - window]]
        left_out["gap"] += int((coverage == Coverage.GAP).sum())
        left_out["held"] += int((coverage == Coverage.HELD).sum())
        left_out["labelled"] += len(complete) - len(normal)
        ends.append(normal + start)
        start += len(coverage)
    together = np.concatenate(ends) if ends else np.empty(0, np.int64)
    if not len(together):
        reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
        raise TrainingError(
            f"no window of {window} frames of {grid.period / SECOND:g} s is complete and normal "
            f"({rows} rows; left out: {reasons}); a longer --period or a shorter --window may help"
        )
    values = np.concatenate([track.frames.values for track in tracks])
    tick = np.concatenate([track.frames.tick for track in tracks])
    folds = splits(together, tick[together], window)
    return Plan(grid, tracks, values, together, left_out, folds)


def fit(
    recordings: Sequence[Recording],
    request: Request,
    the: Plan,
    name: str,
    now: int,
    progress: Progress,
) -> Fit:
    """Train, calibrate on windows the network did not fit, and export.

    Args:
        recordings: of normal operation, all with the same sensors.
        request: what to fit.
        the: the plan made of both.
        name: the bundle's name.
        now: the bundle's time of creation, nanoseconds.
        progress: called while networks train.
    """
    torch.set_num_threads(1)  # a second thread costs more than it brings at these sizes
    window, seed = the.grid.window, request.training.seed
    arguments = (the.values, window, the.folds, request.training, progress, request.workers)
    folds = train_folds(request.model, request.parameters, *arguments)
    baseline = train_folds("pca", {}, *arguments)
    if len(folds) == 1:
        final = folds[0]
    else:
        # Cross-fitted: the errors are the folds', the network one more trained on all the windows.
        epochs = int(np.median([fold.epochs for fold in folds]))
        everything = Split(the.ends, the.ends[:0], the.ends[:0])
        final = train(
            request.model,
            request.parameters,
            the.values,
            window,
            everything,
            replace(request.training, epochs=epochs),
            lambda done: progress("all data", done, epochs),
        )
    tail = min(request.tail, window)
    pairs = list(zip(folds, the.folds, strict=True))
    statistics = error_statistics(the.values, window, pairs, request.score, tail)
    error_scale, error_mean, precision = statistics
    rule = Rule()
    series: list[Floats] = []
    for fitted, split in pairs:
        found = errors(fitted, the.values, split.calibration, window)
        raw = score_errors(found, request.score, tail, *statistics)
        series += smoothed(raw, split.calibration, rule)
    threshold = false_alarms_per_day(
        series, rule, the.grid.period / SECOND, window, request.false_alarms_per_day
    )
    manifest = Manifest(
        schema_version=1,
        created=datetime.fromtimestamp(now // SECOND, UTC),
        name=name,
        model=request.model,
        parameters=request.parameters,
        sensors=[SensorSpec(name=sensor) for sensor in recordings[0].sensors],
        period_ns=the.grid.period,
        window=window,
        max_hold=the.grid.max_hold,
        max_held=the.grid.max_held,
        score=request.score,
        tail=tail,
        rule=RuleSpec(**asdict(rule)),
        calibrations={
            "default": CalibrationSpec(
                center=final.center.tolist(),
                spread=final.spread.tolist(),
                error_scale=error_scale.tolist(),
                error_mean=None if error_mean is None else error_mean.tolist(),
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
        },
        data=[DataSpec(file=one.path.name, sha256=one.sha256, rows=one.rows) for one in recordings],
        training=TrainingSpec(
            seed=seed,
            epochs=final.epochs,
            windows=len(the.ends),
            windows_left_out=the.left_out,
            kept_ratio=round(the.kept_ratio, 6),
            folds=len(folds),
            validation_loss=_mean_loss(folds),
            pca_validation_loss=_mean_loss(baseline),
        ),
        versions={name: version(name) for name in ("numpy", "torch", "onnxruntime")},
        files={},
    )
    return _pack(manifest, final.network, the, threshold)


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


def _mean_loss(folds: list[Fitted]) -> float:
    return float(np.mean([fold.validation_loss for fold in folds]))


def _pack(manifest: Manifest, network: Network, the: Plan, threshold: Threshold) -> Fit:
    """Export, choose golden windows and prove that both runtimes score them alike."""
    model = export(network)
    onnx = OnnxRuntime(model)
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
        bundle.GOLDEN: arrays.save({"windows": windows, "raw": reference}),
    }
    return Fit(manifest, files, threshold)


def golden_windows(the: Plan, manifest: Manifest) -> Floats:
    """Some normal windows, and the same ones disturbed, in the sensors' units (16, L, m)."""
    chosen = the.ends[np.linspace(0, len(the.ends) - 1, 8).astype(np.int64)]
    normal = the.values[chosen[:, None] + np.arange(1 - the.grid.window, 1)]
    _, spread = scaling(the.values, the.ends, the.grid.window)
    noise = np.random.default_rng(manifest.training.seed).normal(size=normal.shape)
    return np.concatenate((normal, normal + 3 * spread * noise))


def _golden_scores(manifest: Manifest, runtime: Runtime, windows: Floats) -> Floats:
    detector = bundle.detector_of(manifest, runtime)
    return detector.score_windows(detector.scale(windows)).raw


def save(done: Fit, out: Path, *, force: bool) -> Manifest:
    """Write the bundle; it has been loaded once, as the daemon will, before it is in its place."""
    return bundle.write(out, done.manifest, done.files, force=force)
