"""`fit`: recordings of normal operation → a bundle."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from models import bundle
from models.calibration import Fold, Head, calibrate, calibration_specs
from models.decision import Rule
from models.frame import SECOND
from models.manifest import DataSpec, Manifest, RuleSpec, SensorSpec, ThresholdsSpec, TrainingSpec
from models.packing import Fit, pack
from models.plan import Plan, Request
from models.recording import Recording
from models.runtime import TorchRuntime
from models.split import Split
from models.training import Fitted, Progress, train, train_folds


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
    grid, settings = the.grid, request.training
    arguments = (the.frames, grid.window, the.folds, settings, progress, request.workers)
    folds = train_folds(request.model, request.parameters, *arguments)
    baseline = train_folds("pca", {}, *arguments)
    final = folds[0] if len(folds) == 1 else _on_all(request, the, folds, progress)
    head = Head(
        request.score,
        min(request.tail, grid.window),
        Rule(),
        request.false_alarms_per_day,
        request.thresholds,
    )
    calibrated = calibrate(
        [
            Fold(TorchRuntime(fold.network), fold.center, fold.spread, split)
            for fold, split in zip(folds, the.folds, strict=True)
        ],
        the.frames,
        grid,
        head,
        the.labelled,
    )
    manifest = Manifest(
        schema_version=1,
        created=datetime.fromtimestamp(now // SECOND, UTC),
        name=name,
        model=request.model,
        parameters=request.parameters,
        sensors=[SensorSpec(name=sensor) for sensor in recordings[0].sensors],
        period_ns=grid.period,
        window=grid.window,
        max_hold=grid.max_hold,
        max_held=grid.max_held,
        score=request.score,
        tail=head.tail,
        rule=RuleSpec(**asdict(head.rule)),
        thresholds=ThresholdsSpec(**asdict(request.thresholds)),
        calibrations=calibration_specs(calibrated, the.frames, final.center, final.spread),
        data=[DataSpec(file=one.path.name, sha256=one.sha256, rows=one.rows) for one in recordings],
        training=TrainingSpec(
            seed=settings.seed,
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
    return pack(manifest, final.network, the)


def _on_all(request: Request, the: Plan, folds: list[Fitted], progress: Progress) -> Fitted:
    """After cross-fitting the errors are the folds', the network one trained on all windows."""
    epochs = int(np.median([fold.epochs for fold in folds]))
    return train(
        request.model,
        request.parameters,
        the.frames,
        the.grid.window,
        Split(the.ends, the.ends[:0], the.ends[:0]),
        replace(request.training, epochs=epochs),
        lambda done: progress("all data", done, epochs),
    )


def _mean_loss(folds: list[Fitted]) -> float:
    return float(np.mean([fold.validation_loss for fold in folds]))


def save(done: Fit, out: Path, *, force: bool) -> Manifest:
    """Write the bundle; it has been loaded once, as the daemon will, before it is in its place."""
    return bundle.write(out, done.manifest, done.files, force=force)
