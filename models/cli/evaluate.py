"""sensor-trainer evaluate."""

import json
import os
from pathlib import Path
from typing import Annotated

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
    Stop,
    progress_bar,
    read_data,
    selection_of,
    writing,
)
from models.judgement import judge
from models.report import judgement

NEEDS_PICTURES = '--report draws pictures: pip install "sensor-monitor[train]"'


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
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Also write a page with pictures for people."),
    ] = None,
) -> None:
    """Judge a bundle on recordings, with labels or without.

    Example: sensor-trainer evaluate bundles/pump labelled.csv --report pump.html
    """
    if report is not None:
        _check_page(report)
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
    if report is not None:
        from models.page.evaluation import page

        _write(report, page(found, manifest))
    if as_json:
        typer.echo(json.dumps(found.as_json(), indent=1))
        return
    for part in judgement(found):
        Console().print(part)
    if report is not None:
        typer.echo(f"{report}: written")


def _check_page(out: Path) -> None:
    """Refuse before the work a page that could not be made or written after it."""
    try:
        import models.page.evaluation as _  # noqa: F401
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        raise Stop(f"{NEEDS_PICTURES} ({missing} is missing)", 69) from None
    if out.suffix != ".html":
        raise Stop(f"--report {out}: wanted a name that ends in .html", 2)
    with writing(out):
        if out.exists() and b'content="sensor-trainer ' not in out.read_bytes()[:1000]:
            raise FileExistsError("exists, and is no page of sensor-trainer")
        out.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(out.parent, os.W_OK):
            raise PermissionError(f"{out.parent} is read-only for this user")


def _write(out: Path, text: str) -> None:
    draft = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        with writing(out):
            draft.write_text(text, encoding="utf-8")
            draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)
