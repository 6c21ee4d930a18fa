"""sensor-trainer compare."""

import json
import os
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from models.cli.common import (
    Assets,
    Data,
    End,
    Exclude,
    Force,
    Ignore,
    Json,
    Rows,
    Start,
    Stop,
    check_bundle,
    names_of,
    progress_bar,
    read_data,
    selection_of,
    writing,
)
from models.cli.request import (
    FalseAlarms,
    Period,
    Running,
    Seed,
    Sensors,
    Settings,
    Settle,
    Window,
    refusals,
    request_of,
    stages_of,
)
from models.report import plan_line
from models.selection import EVERYTHING


def compare(
    data: Data,
    models: Annotated[
        str, typer.Option(metavar="A,B", help="Families beside the baseline pca.")
    ] = "pca,stacked,lstm",
    test: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Labelled recordings to judge on, may be given more than once; default DATA's own "
            "labels.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="A folder to write all the bundles to; default none.")
    ] = None,
    sensors: Sensors = None,
    period: Period = None,
    window: Window = None,
    false_alarms_per_day: FalseAlarms = 0.1,
    running: Running = None,
    settle: Settle = None,
    rows: Rows = None,
    start: Start = None,
    end: End = None,
    assets: Assets = None,
    exclude: Exclude = None,
    ignore: Ignore = None,
    seed: Seed = 0,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Folds trained at once; default one per core.")
    ] = None,
    settings: Settings = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Train several families on the same windows, and say honestly which one to take.

    Example: sensor-trainer compare pump.csv --models pca,stacked,lstm --test labelled.csv
    """
    names = ["pca", *(name for name in names_of("--models", models) or [] if name != "pca")]
    requests = [
        request_of(
            "--models",
            name,
            period=period,
            window=window,
            false_alarms_per_day=false_alarms_per_day,
            running=running,
            settle=settle,
            seed=seed,
            workers=jobs or len(os.sched_getaffinity(0)),
            settings=settings,
            beside=names,
        )
        for name in names
    ]
    from models import fitting
    from models.compare import best_of
    from models.compare import compare as fit_all
    from models.compare_card import comparison
    from models.plan import plan

    selection = selection_of(rows, start, end, assets, exclude)
    folders = {one.model: out / one.model for one in requests} if out else {}
    for folder in folders.values():
        check_bundle(folder, force=force)
    recordings = read_data(data, names_of("--sensors", sensors), ignore, selection)
    labelled = read_data(test, recordings[0].sensors, ignore, EVERYTHING) if test else recordings
    if test and (bare := [one for one in labelled if one.label is None]):
        raise Stop(f"--test {bare[0].path}: has no column label to judge by", 65)
    labelled = [one for one in labelled if one.label is not None]
    if not any(one.label is not None and one.label.any() for one in labelled):
        if test:
            raise Stop(f"--test {test[0]}: holds no row with label 1 to judge on", 65)
        labelled = []
    with refusals(running):
        the = plan(recordings, requests[0])
        if not as_json:
            typer.echo(plan_line(the))
        with progress_bar() as bar:
            entries = fit_all(
                recordings,
                requests,
                the,
                labelled,
                time.time_ns(),
                time.perf_counter,
                stages_of(bar),
            )
    best, why = best_of(entries)
    if as_json:
        found = {name: one.as_json() for name, one in entries.items()}
        typer.echo(json.dumps({"models": found, "best": best, "why": why}, indent=1))
    else:
        for part in comparison(entries):
            Console().print(part)
    for name, folder in folders.items():
        with writing(folder):
            fitting.save(entries[name].done, folder, force=force)
    if best is None:
        raise typer.Exit(1)
