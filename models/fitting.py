"""`fit`: recordings of normal operation → a bundle."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import cast

import numpy as np
import torch

from models import bundle
from models.calibration import (
    Fold,
    Head,
    calibrate,
    calibrate_once,
    calibration_specs,
    errors,
)
from models.checkpoint import fingerprint
from models.decision import Rule
from models.descent import MOST_TO_VALIDATE, spaced
from models.families.ensemble import Ensemble
from models.families.network import Network
from models.frame import SECOND, Floats
from models.habits import habits_of
from models.manifest import (
    SCHEMA_VERSION,
    CalibrationSpec,
    DataSpec,
    Manifest,
    RuleSpec,
    SensorSpec,
    ThresholdsSpec,
    TrainingSpec,
)
from models.packing import Fit, pack
from models.plan import Plan, Request
from models.recording import Recording
from models.runtime import TorchRuntime
from models.split import Split
from models.threshold import ThresholdSettings
from models.training import Fitted, Progress, train, train_folds


def fit(
    recordings: Sequence[Recording],
    request: Request,
    the: Plan,
    name: str,
    now: int,
    progress: Progress,
    checkpoints: Path | None = None,
    pca: "Trained | None" = None,
) -> Fit:
    """Train, calibrate on windows the network did not fit, and export.

    Args:
        recordings: of normal operation, all with the same sensors.
        request: what to fit.
        the: the plan made of both.
        name: the bundle's name.
        now: the bundle's time of creation, nanoseconds.
        progress: called while networks train and while the last one is audited.
        checkpoints: a folder for what a fit that is cut short has trained.
        pca: the baseline of the same request and plan, if there is one already.
    """
    grid, settings = the.grid, request.training
    plain = request.model == "pca" and not request.parameters
    own = pca if plain and pca else trained(request, the, progress, checkpoints)
    pca = own if plain else pca or baseline_of(request, the, progress)
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        created=datetime.fromtimestamp(now // SECOND, UTC),
        name=name,
        model=request.model,
        parameters=request.parameters,
        sensors=[
            SensorSpec(name=sensor, unit=request.units.get(sensor), habit=habit)
            for sensor, habit in zip(recordings[0].sensors, habits_of(the.tracks), strict=True)
        ],
        period_ns=grid.period,
        window=grid.window,
        max_hold=grid.max_hold,
        max_held=grid.max_held,
        running=request.running,
        settle_ns=request.settle,
        score=request.score,
        tail=own.head.tail,
        rule=RuleSpec(**asdict(own.head.rule)),
        thresholds=ThresholdsSpec(**asdict(own.head.thresholds)),
        calibrations=own.calibrations,
        baseline={} if pca is own else pca.calibrations,
        data=[DataSpec.of(one) for one in recordings],
        training=TrainingSpec(
            seed=settings.seed,
            fingerprint=fingerprint_of(recordings, request, the),
            epochs=max(own.final.epochs),
            windows=len(the.ends),
            windows_left_out=the.left_out,
            rows_left_out=the.rows_left_out,
            kept_ratio=round(the.kept_ratio, 6),
            folds=len(own.folds),
            validation_loss=_residual(own.held_out, the),
            pca_validation_loss=_residual(pca.held_out, the),
        ),
        versions={name: version(name) for name in ("numpy", "torch", "onnxruntime")},
        files={},
    )
    baseline = None if pca is own else pca.final.network
    return pack(manifest, own.final.network, baseline, the, own.held_out, progress)


@dataclass(frozen=True, slots=True)
class Trained:
    """A family after training: the folds, the network of the bundle and its calibrations."""

    folds: list[Fitted]
    final: Fitted
    head: Head
    held_out: list[Fold]
    calibrations: dict[str, CalibrationSpec]


def baseline_of(request: Request, the: Plan, progress: Progress) -> Trained:
    """The window PCA that a network has to beat, on the same windows."""
    return trained(replace(request, model="pca", parameters={}), the, progress)


def trained(
    request: Request, the: Plan, progress: Progress, checkpoints: Path | None = None
) -> Trained:
    """Train a family with its folds, and calibrate it on what they have not seen."""
    torch.set_num_threads(1)  # a second thread costs more than it brings at these sizes
    settings, workers = request.training, request.workers
    head = Head(
        request.score,
        min(request.tail, the.grid.window),
        Rule(),
        request.false_alarms_per_day,
        request.thresholds,
    )
    folds = train_folds(
        request.model,
        request.parameters,
        the.frames,
        the.grid.window,
        the.folds,
        settings,
        progress,
        workers,
        checkpoints,
    )
    final = folds[0] if len(folds) == 1 else _on_all(request, the, folds, progress, checkpoints)
    networks = [fold.network for fold in folds]
    if isinstance(final.network, Ensemble):
        units = _units(the, folds, head)
        for network in (final.network, *networks):
            cast(Ensemble, network).settle(units, head.tail)
    head = replace(head, scaled=final.network.scaled)
    held_out = _held_out(the, folds, networks)
    calibrated = calibrate(held_out, the.frames, the.grid, head)
    specs = calibration_specs(calibrated, the.frames, final.center, final.spread)
    return Trained(folds, final, head, held_out, specs)


def fingerprint_of(recordings: Sequence[Recording], request: Request, the: Plan) -> str:
    """A hash of all that a bundle is made of: equal ones give equal bundles."""
    what = (replace(request, workers=0), recordings[0].sensors, the.frames.assets)
    return fingerprint(what, (the.frames.values, the.frames.row, the.ends))


def _on_all(
    request: Request,
    the: Plan,
    folds: list[Fitted],
    progress: Progress,
    checkpoints: Path | None,
) -> Fitted:
    """After cross-fitting the errors are the folds', the network one trained on all windows."""
    epochs = np.median([fold.epochs for fold in folds], axis=0)  # of each part of the network
    return train(
        request.model,
        request.parameters,
        the.frames,
        the.grid.window,
        Split(the.ends, the.ends[:0], the.ends[:0]),
        request.training,
        partial(progress, "all data"),
        epochs=[int(part) for part in epochs],
        checkpoint=checkpoints and checkpoints / "all",
    )


def _held_out(the: Plan, folds: list[Fitted], networks: Sequence[Network]) -> list[Fold]:
    return [
        Fold(TorchRuntime(network), fold.center, fold.spread, split)
        for network, fold, split in zip(networks, folds, the.folds, strict=True)
    ]


def _units(the: Plan, folds: list[Fitted], head: Head) -> list[Floats]:
    """For each member of the folds' ensembles, the error of each sensor at its own threshold.

    Every window is scaled as its own asset is; the thresholds of all are for the mean square.
    """
    units: list[Floats] = []
    for members in zip(*(fold.network.parts() for fold in folds), strict=True):
        own = replace(
            head,
            score="mean-square",
            thresholds=ThresholdSettings(),
            scaled=members[0].scaled,
        )
        held_out = _held_out(the, folds, members)
        found = calibrate_once(held_out, the.frames, the.grid, own, the.frames.row)
        units.append(found.statistics.scale * found.threshold.value)
    return units


def _residual(folds: Sequence[Fold], the: Plan) -> float:
    """Mean squared residual of validation windows, whatever the family was trained to lessen."""
    frames, window = the.frames, the.grid.window
    found: list[float] = []
    for fold in folds:
        ends = spaced(fold.split.validation, MOST_TO_VALIDATE)
        residuals = errors(fold, frames, ends, window, frames.row, signed=True)
        squares = [np.square(part).mean(axis=(1, 2), dtype=np.float64) for part in residuals]
        found.append(float(np.concatenate(squares).mean()))
    return float(np.mean(found))


def save(done: Fit, out: Path, *, force: bool) -> Manifest:
    """Write the bundle; it has been loaded once, as the daemon will, before it is in its place."""
    return bundle.write(out, done.manifest, done.files, force=force)
