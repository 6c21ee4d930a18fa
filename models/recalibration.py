"""`calibrate`: a bundle with other scaling, error statistics and thresholds; the same weights."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from models import bundle, golden, stretches
from models.audit import audit
from models.baseline import runtime_of
from models.calibration import Calibrated, Fold, Head, calibrate, calibration_specs
from models.decision import Rule
from models.detector import Detector
from models.frame import SECOND
from models.manifest import DEFAULT, CalibrationSpec, DataSpec, Manifest
from models.plan import Plan
from models.recording import Recording
from models.runtime import Runtime
from models.split import scalings
from models.threshold import ThresholdSettings


def recalibrate(
    manifest: Manifest,
    files: dict[str, bytes],
    detector: Detector,
    recordings: Sequence[Recording],
    the: Plan,
    name: str,
    now: int,
    false_alarms_per_day: float | None = None,
    progress: Callable[[int, int], None] = lambda done, most: None,
) -> tuple[Manifest, dict[str, bytes]]:
    """Calibrate a bundle's network on recordings of normal operation.

    Recordings that tell assets apart add those assets or renew theirs, and leave the default as
    it is; others renew the default. Each of four blocks of the data is scored with scaling and
    statistics of the others.

    Args:
        manifest, files: of the bundle.
        detector: its detector, for the network.
        recordings: of normal operation.
        the: their frames and folds.
        name: of the new bundle.
        now: its time of creation, nanoseconds.
        false_alarms_per_day: wanted, per asset; None = as the bundle's default.
        progress: called while the bundle is audited anew.

    Returns:
        Manifest and files of the new bundle.
    """
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
    baseline = manifest.baseline
    if baseline:
        pca, fleet = held_out(runtime_of(manifest, files)), baseline[DEFAULT].threshold.value
        baseline = renewed(
            baseline, calibrate(pca, normal, grid, replace(head, scaled=False), fleet)
        )
    changed = manifest.model_copy(
        update={
            "name": name,
            "created": datetime.fromtimestamp(now // SECOND, UTC),
            "calibrations": renewed(manifest.calibrations, calibrated),
            "baseline": baseline,
            "calibration_data": [DataSpec.of(one) for one in recordings],
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
    return changed, {name: data for name, data in files.items() if name != bundle.MANIFEST}
