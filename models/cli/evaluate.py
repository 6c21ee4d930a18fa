"""sensor-trainer evaluate."""

import json

import typer
from rich.console import Console

from models import bundle
from models.baseline import baseline_of
from models.cli.common import (
    Assets,
    BundleFolder,
    Data,
    End,
    Exclude,
    Ignore,
    Json,
    Rows,
    Start,
    progress_bar,
    read_data,
    selection_of,
)
from models.judgement import judge
from models.report import judgement


def evaluate(
    folder: BundleFolder,
    data: Data,
    rows: Rows = None,
    start: Start = None,
    end: End = None,
    assets: Assets = None,
    exclude: Exclude = None,
    ignore: Ignore = None,
    as_json: Json = False,
) -> None:
    """Judge a bundle on recordings, with labels or without.

    Example: sensor-trainer evaluate bundles/pump labelled.csv --json
    """
    selection = selection_of(rows, start, end, assets, exclude)
    detector = bundle.load(folder)
    manifest, files = bundle.verify(folder)
    baseline = baseline_of(manifest, files, detector)
    recordings = read_data(data, detector.sensors, ignore, selection)
    seen = [(one.sha256, one.selection) for one in (*manifest.data, *manifest.calibration_data)]
    with progress_bar() as bar:
        task = bar.add_task("scoring", total=None)
        found = judge(
            detector,
            baseline,
            recordings,
            seen,
            lambda done, most: bar.update(task, completed=done, total=most),
        )
    if as_json:
        typer.echo(json.dumps(found.as_json(), indent=1))
    else:
        for part in judgement(found):
            Console().print(part)
