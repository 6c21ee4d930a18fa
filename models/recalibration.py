"""`calibrate`: a bundle with other scaling, error statistics and thresholds; the same weights."""

from collections.abc import Sequence
from datetime import UTC, datetime

from models import bundle, golden
from models.calibration import Fold, Head, calibrate, calibration_specs
from models.decision import Rule
from models.detector import Detector
from models.frame import SECOND
from models.manifest import DEFAULT, DataSpec, Manifest
from models.plan import Plan
from models.recording import Recording
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
    )
    folds = [
        Fold(detector.runtime, *scalings(normal, split.train, grid.window), split)
        for split in the.folds
    ]
    calibrated = calibrate(folds, normal, grid, head, the.labelled, default.threshold.value)
    center, spread = scalings(normal, the.ends, grid.window)
    found = calibration_specs(calibrated, normal, center, spread)
    if normal.assets:
        found[DEFAULT] = default
    changed = manifest.model_copy(
        update={
            "name": name,
            "created": datetime.fromtimestamp(now // SECOND, UTC),
            "calibrations": {**manifest.calibrations, **found},
            "calibration_data": [
                DataSpec(file=one.path.name, sha256=one.sha256, rows=one.rows) for one in recordings
            ],
        }
    )
    if not normal.assets:
        windows = golden.windows(the, manifest.training.seed)
        proof = golden.scored(changed, detector.runtime, windows)
        files = {**files, bundle.GOLDEN: golden.stored(*proof)}
    return changed, {name: data for name, data in files.items() if name != bundle.MANIFEST}
