"""sensor-trainer calibrate."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from models import bundle
from models.audit_card import audited, unaudited
from models.cli.common import (
    Assets,
    BundleFolder,
    Data,
    End,
    Exclude,
    Force,
    Ignore,
    Rows,
    Start,
    Stop,
    check_bundle,
    check_range,
    progress_bar,
    read_data,
    selection_of,
    writing,
)
from models.cli.request import Strict, refusals
from models.manifest import DEFAULT
from models.recalibration import recalibrate
from models.report import (
    STRANGERS,
    caution,
    plan_line,
    promise,
    promises,
    short_of_data,
    told_from_names,
)
from models.words import listed


def calibrate(
    folder: BundleFolder,
    data: Data,
    out: Annotated[Path, typer.Option(help="The bundle to write.")],
    asset: Annotated[
        list[str] | None,
        typer.Option(help="Add or renew this asset alone; may be given more than once."),
    ] = None,
    false_alarms_per_day: Annotated[
        float | None, typer.Option(help="Target for each asset; default the bundle's own.")
    ] = None,
    rows: Rows = None,
    start: Start = None,
    end: End = None,
    assets: Assets = None,
    exclude: Exclude = None,
    ignore: Ignore = None,
    strict: Strict = False,
    force: Force = False,
) -> None:
    """Renew scaling, error statistics and threshold, or add assets; the weights stay as they are.

    Needs no torch. Rows that the network was trained on are left out: its errors there are no
    measure of any other. Recordings with an asset column, or of two or more assets, add or renew
    these assets; others renew the calibration that is for all.

    Example: sensor-trainer calibrate bundles/pumps p9.csv --asset p9 --out bundles/pumps-2
    """
    check_range("--false-alarms-per-day", false_alarms_per_day, 1e-6, 1e6)
    selection = selection_of(rows, start, end, assets, exclude)
    if asset is not None:
        if selection.assets:
            raise Stop(f"--assets {assets}: wanted this or --asset, not both", 2)
        selection = replace(selection, assets=tuple(asset))
    check_bundle(out, force=force)
    detector = bundle.load(folder)
    manifest, files = bundle.verify(folder)
    recordings = read_data(data, detector.sensors, ignore, selection)
    with refusals(manifest.running), progress_bar() as bar:
        task = bar.add_task("audit", total=None)
        done = recalibrate(
            manifest,
            files,
            detector,
            recordings,
            out.name,
            time.time_ns(),
            by_asset=asset is not None,
            false_alarms_per_day=false_alarms_per_day,
            progress=lambda done, most: bar.update(task, completed=done, total=most),
        )
    if strict and (short := caution(done.manifest, done.renewed, unsupported=True)):
        raise Stop(short, 65)
    with writing(out):
        written = bundle.write(out, done.manifest, done.files, force=force)
    typer.echo(plan_line(done.plan))
    for name in done.renewed:
        if name != DEFAULT:
            typer.echo(promise(name, written))
    for line in promises(written):
        typer.echo(line)
    if {*manifest.calibrations} == {DEFAULT} and done.plan.frames.assets:
        words = told_from_names(done.renewed, recordings) or (
            f"the bundle was for every asset, and is for {listed(done.renewed)} alone: {STRANGERS}"
        )
        typer.echo(f"warning: {words}", err=True)
    for line in short_of_data(done.left_out, written):
        typer.echo(f"warning: {line}", err=True)
    if words := caution(written, done.renewed):
        typer.echo(f"warning: {words}", err=True)
    if line := audited(written):
        typer.echo(line)
    if warning := unaudited(written):
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(f"{out}: {written.model}, digest {written.digest[:16]}")
