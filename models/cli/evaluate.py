"""sensor-trainer evaluate."""

import json
from typing import Any

import typer
from rich.console import Console

from models import bundle
from models.cli.common import BundleFolder, Data, Ignore, Json, Rows, read_data
from models.evaluation import always_alarm, judged, mean, pooled, rows_seen, score_recordings
from models.evaluation import evaluate as judge
from models.report import judgement


def evaluate(
    folder: BundleFolder,
    data: Data,
    rows: Rows = None,
    ignore: Ignore = None,
    as_json: Json = False,
) -> None:
    """Judge a bundle on recordings, with labels or without.

    Example: sensor-trainer evaluate bundles/pump labelled.csv --json
    """
    detector = bundle.load(folder)
    manifest, _ = bundle.verify(folder)
    recordings = read_data(data, detector.sensors, ignore, rows)
    trained = [(one.sha256, one.rows) for one in manifest.data]
    labelled = all(one.label is not None for one in recordings)
    names: list[str] = []
    frames = [judged(scores) for scores in score_recordings(detector, recordings)]
    for recording in recordings:
        many = len(recording.assets) > 1
        names += [
            f"{recording.path}:{a}" if many else str(recording.path) for a in recording.assets
        ]
    period = detector.grid.period
    per_file = [judge(one, period, labelled=labelled) for one in frames]
    report: dict[str, Any] = {
        "files": dict(zip(names, per_file, strict=True)),
        "mean": mean(per_file),
        "pooled": judge(pooled(frames), period, labelled=labelled),
        "rows_seen_in_training": sum(rows_seen(one, trained) for one in recordings),
    }
    if labelled:
        alarms = [always_alarm(one) for one in frames]
        report["always-alarm"] = {
            "mean": mean([judge(one, period, labelled=True) for one in alarms]),
            "pooled": judge(pooled(alarms), period, labelled=True),
        }
    if as_json:
        typer.echo(json.dumps(report, indent=1))
        return
    for part in judgement(report):
        Console().print(part)
