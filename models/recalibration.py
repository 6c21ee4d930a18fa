"""`calibrate`: a bundle with other scaling, error statistics and thresholds; the same weights."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from models import bundle, golden, stretches
from models.audit import audit
from models.baseline import runtime_of
from models.calibration import Calibrated, Fold, Head, calibrate, calibration_specs
from models.decision import Rule
from models.detector import Detector
from models.frame import SECOND, Grid
from models.habits import widened
from models.manifest import DEFAULT, CalibrationSpec, DataSpec, Manifest
from models.plan import Plan, plan_on
from models.recording import Recording
from models.runtime import Runtime
from models.selection import Selection, Stretch
from models.spans import spans_of
from models.split import LEAST_HELD_OUT, TrainingError, scalings
from models.threshold import ThresholdSettings
from models.words import listed

SEEN = "the network was trained on them"


@dataclass(frozen=True, slots=True)
class Renewal:
    """A bundle that is calibrated anew, ready to be written.

    Args:
        manifest, files: of the new bundle.
        plan: the data as they were used.
        renewed: names of the calibrations made.
        left_out: assets with too little data for that.
    """

    manifest: Manifest
    files: dict[str, bytes]
    plan: Plan
    renewed: tuple[str, ...]
    left_out: tuple[str, ...]


def recalibrate(
    manifest: Manifest,
    files: dict[str, bytes],
    detector: Detector,
    recordings: Sequence[Recording],
    name: str,
    now: int,
    *,
    by_asset: bool = False,
    false_alarms_per_day: float | None = None,
    progress: Callable[[int, int], None] = lambda done, most: None,
) -> Renewal:
    """Calibrate a bundle's network on recordings of normal operation that it was not trained on.

    Recordings that tell assets apart add those assets or renew theirs, and leave the default as
    it is; others renew the default. Error statistics and threshold are of held-out windows, pooled
    over the folds of `models.split`, each scaled by what its fold does not hold out.

    Args:
        manifest, files: of the bundle.
        detector: its detector, for the network.
        recordings: of normal operation; rows that the network was trained on are left out.
        name: of the new bundle.
        now: its time of creation, nanoseconds.
        by_asset: whether assets are told apart even where there is one, and no file names it.
        false_alarms_per_day: wanted, per asset; None = as the bundle's default.
        progress: called while the bundle is audited anew.

    Raises:
        TrainingError: if too little is left.
    """
    named = sorted({asset for one in recordings for asset in one.assets})
    recordings, the = _plan_unseen(manifest, detector.grid, recordings, by_asset=by_asset)
    grid, normal = the.grid, the.frames
    default = manifest.calibrations[DEFAULT]
    head = Head(
        manifest.score,
        manifest.tail,
        Rule(**manifest.rule.model_dump()),
        false_alarms_per_day or default.threshold.requested_per_day,
        ThresholdSettings(**manifest.thresholds.model_dump()),
        # Only of errors on a scale of their own the normal size is exactly 1, in every sensor.
        set(default.error_scale) == {1.0},
    )
    center, spread = scalings(normal, the.ends, grid.window)

    def held_out(run: Runtime) -> list[Fold]:
        return [Fold(run, *scalings(normal, one.train, grid.window), one) for one in the.folds]

    def renewed(
        known: dict[str, CalibrationSpec], calibrated: Mapping[str | None, Calibrated]
    ) -> dict[str, CalibrationSpec]:
        found = calibration_specs(calibrated, normal, center, spread)
        return {**known, **found, **({DEFAULT: known[DEFAULT]} if normal.assets else {})}

    own = held_out(detector.runtime)
    calibrated = calibrate(own, normal, grid, head, default.threshold.value)
    assets = tuple(asset for asset in calibrated if asset is not None)
    left_out = tuple(name for name in named if name not in assets) if normal.assets else ()
    if normal.assets and not assets:
        raise TrainingError(
            f"{listed(left_out)}: too little normal data; wanted at least {LEAST_HELD_OUT} windows "
            f"of {grid.window} frames to hold out of an asset"
        )
    baseline = manifest.baseline
    if baseline:
        pca, fleet = held_out(runtime_of(manifest, files)), baseline[DEFAULT].threshold.value
        baseline = renewed(
            baseline, calibrate(pca, normal, grid, replace(head, scaled=False), fleet)
        )
    calibrations = renewed(manifest.calibrations, calibrated)
    # Of what assets were calibrated on a file does not tell, so theirs count as long as there are.
    kept = manifest.calibration_data if calibrations.keys() != {DEFAULT} else []
    changed = manifest.model_copy(
        update={
            "name": name,
            "created": datetime.fromtimestamp(now // SECOND, UTC),
            "calibrations": calibrations,
            "baseline": baseline,
            "sensors": widened(manifest.sensors, the.tracks),
            "calibration_data": [*dict.fromkeys((*kept, *map(DataSpec.of, recordings)))],
        }
    )
    judged = bundle.detector_of(changed, detector.runtime)
    audited = stretches.stored(files[bundle.GOLDEN])
    renewed_rows = {judged.calibration.row_of(asset) for asset in normal.assets}
    if not normal.assets or (audited and not renewed_rows.isdisjoint(audited.row.tolist())):
        # What the bundle was audited with is no longer scored as it was.
        audited = stretches.sample(judged, own, normal)
        seen = None if audited is None else audit(judged, audited, progress)
        changed = changed.model_copy(update={"audit": seen})
        proof = golden.proof(files[bundle.GOLDEN])
        if not normal.assets:
            windows = golden.windows(the, manifest.training.seed)
            proof = golden.scored(changed, detector.runtime, windows)
        files = {**files, bundle.GOLDEN: golden.stored(*proof, audited)}
    files = {name: data for name, data in files.items() if name != bundle.MANIFEST}
    return Renewal(changed, files, the, assets or (DEFAULT,), left_out)


def _plan_unseen(
    manifest: Manifest, grid: Grid, recordings: Sequence[Recording], *, by_asset: bool
) -> tuple[list[Recording], Plan]:
    """What of some recordings the network was not trained on, as it will be used."""
    many = len({asset for one in recordings for asset in one.assets}) > 1
    left = [unseen(one, manifest.data) for one in recordings]
    seen = [
        f"{len(one.time) - len(new.time)} of {len(one.time)} rows of {one.path}"
        for one, new in zip(recordings, left, strict=True)
        if len(new.time) < len(one.time)
    ]
    used = [one for one in left if len(one.time)]
    told = f"the network was trained on {', '.join(seen)}"
    if not used:
        raise TrainingError(f"{told}: wanted recordings that it has not seen")
    try:
        return used, plan_on(grid, left, by_asset=by_asset or many)
    except TrainingError as error:
        raise TrainingError(f"{told}; of the others: {error}" if seen else str(error)) from None


def unseen(recording: Recording, data: Sequence[DataSpec]) -> Recording:
    """A recording without the rows that are among some data; no window reaches over them."""
    seen = recording.within([(one.sha256, one.selection) for one in data])
    stretches: list[Stretch] = []
    for number, asset in enumerate(recording.assets):
        rows = np.flatnonzero(recording.asset == number)
        rows = rows[np.argsort(recording.time[rows], kind="stable")]
        stretches += [
            Stretch(int(first), int(last) + 1, asset, SEEN)
            for start, end in spans_of(seen[rows]).tolist()
            for first, last in [recording.time[rows[[start, end - 1]]]]
        ]
    left = recording.select(Selection(excluded=tuple(stretches)))
    excluded = (*recording.selection.excluded, *left.selection.excluded)
    return replace(left, selection=replace(recording.selection, excluded=excluded))
