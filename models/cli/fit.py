"""sensor-trainer fit."""

import os
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import TaskID

from models.cli.common import (
    NEEDS_TRAINING,
    Data,
    Force,
    Ignore,
    Rows,
    Stop,
    check_free,
    check_range,
    names_of,
    progress_bar,
    read_data,
    writing,
)
from models.frame import SECOND
from models.manifest import LONGEST_PERIOD, LONGEST_WINDOW, Manifest
from models.report import caution, losses, plan_line, promises


def fit(
    data: Data,
    out: Annotated[Path, typer.Option(help="The bundle to write.")],
    model: Annotated[str, typer.Option(help="pca, stacked or lstm.")] = "lstm",
    sensors: Annotated[
        str | None, typer.Option(metavar="A,B", help="Columns to use; default all.")
    ] = None,
    period: Annotated[
        float | None, typer.Option(help="Seconds between frames; default the usual step.")
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(
            min=2,
            max=LONGEST_WINDOW,
            help="Frames in a window; default min(64, rows // 16), at least 8.",
        ),
    ] = None,
    false_alarms_per_day: Annotated[float, typer.Option(help="Target for each asset.")] = 0.1,
    rows: Rows = None,
    ignore: Ignore = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="Of weights, batches and noise.")
    ] = 0,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Folds trained at once; default one per core.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any other setting.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse a false-alarm target the data cannot support.")
    ] = False,
    force: Force = False,
) -> None:
    """Learn how a machine normally behaves.

    Example: sensor-trainer fit pump.csv --out bundles/pump --rows 0:5000
    """
    check_range("--period", period, 1e-6, LONGEST_PERIOD / SECOND)
    check_range("--false-alarms-per-day", false_alarms_per_day, 1e-6, 1e6)
    try:
        from models import fitting
        from models.families import FAMILIES
        from models.options import with_options
        from models.plan import Request, Settings, plan
        from models.split import TrainingError
    except ModuleNotFoundError as error:
        raise Stop(f"{NEEDS_TRAINING} ({error.name} is missing)", 69) from None
    if model not in FAMILIES:
        raise Stop(f"--model {model}: wanted one of {', '.join(FAMILIES)}", 2)
    request = Request(
        model=model,
        period=None if period is None else round(period * SECOND),
        window=window,
        false_alarms_per_day=false_alarms_per_day,
        workers=jobs or len(os.sched_getaffinity(0)),
        training=Settings(seed=seed),
    )
    try:
        request = with_options(request, settings or [])
    except ValueError as error:
        raise Stop(str(error), 2) from None
    check_free(out, force=force)
    recordings = read_data(data, names_of(sensors), ignore, rows)
    try:
        the = plan(recordings, request)
        typer.echo(plan_line(the))
        with progress_bar() as bar:
            stages: dict[str, TaskID] = {}

            def show(stage: str, done: int, most: int) -> None:
                if stage not in stages:
                    stages[stage] = bar.add_task(stage, total=most)
                bar.update(stages[stage], completed=done)

            done = fitting.fit(recordings, request, the, out.name, time.time_ns(), show)
    except TrainingError as error:
        raise Stop(str(error), 65) from None
    if strict and (short := caution(done.manifest, unsupported=True)):
        raise Stop(short, 65)
    with writing(out):
        manifest = fitting.save(done, out, force=force)
    _print_fit(manifest, out)


def _print_fit(manifest: Manifest, out: Path) -> None:
    typer.echo(losses(manifest))
    for line in promises(manifest):
        typer.echo(line)
    if words := caution(manifest):
        typer.echo(f"warning: {words}", err=True)
    typer.echo(f"{out}: {manifest.model}, digest {manifest.digest[:16]}")
