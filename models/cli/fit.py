"""sensor-trainer fit."""

import os
import shutil
import time
from pathlib import Path
from textwrap import indent
from typing import Annotated

import typer
from rich.progress import TaskID

from models import bundle
from models.audit_card import unaudited
from models.cli.common import (
    NEEDS_TRAINING,
    Assets,
    End,
    Exclude,
    Force,
    Ignore,
    Rows,
    Start,
    Stop,
    check_free,
    check_range,
    duration_of,
    names_of,
    progress_bar,
    read_data,
    selection_of,
    writing,
)
from models.frame import SECOND
from models.jobs import Done, JobsError, run
from models.jobs import read as read_jobs
from models.manifest import LONGEST_PERIOD, LONGEST_WINDOW, Manifest
from models.report import caution, losses, plan_line, promises
from models.running import ConditionError, check_syntax


def fit(
    data: Annotated[
        list[Path] | None, typer.Argument(help="Recordings: CSV files or folders of them.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The bundle to write.")] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="A train.toml of many bundles, instead of DATA, --out and the rest."),
    ] = None,
    model: Annotated[str, typer.Option(help="A family, from pca to ensemble.")] = "lstm",
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
    running: Annotated[
        str | None,
        typer.Option(
            metavar="EXPR", help="When the machine runs, e.g. 'current > 0.2 and valve != 0'."
        ),
    ] = None,
    settle: Annotated[
        str | None,
        typer.Option(metavar="T", help="Left out after each start, e.g. 30s or 5m; default 0."),
    ] = None,
    rows: Rows = None,
    start: Start = None,
    end: End = None,
    assets: Assets = None,
    exclude: Exclude = None,
    ignore: Ignore = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="Of weights, batches and noise.")
    ] = 0,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Folds, or bundles, trained at once; default one per core."),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any other setting.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse a false-alarm target the data cannot support.")
    ] = False,
    skip_done: Annotated[
        bool,
        typer.Option(
            "--skip-done", help="Leave OUT as it is where it was made of the same in the same way."
        ),
    ] = False,
    force: Force = False,
) -> None:
    """Learn how a machine normally behaves.

    Example: sensor-trainer fit pump.csv --out bundles/pump --rows 0:5000

    With --config, bundles that are made already are left as they are, and the others are trained
    by parallel processes. Example: sensor-trainer fit --config train.toml --jobs 4
    """
    workers = jobs or len(os.sched_getaffinity(0))
    if config is not None:
        if data or out is not None:
            raise Stop(f"--config {config}: names data and bundles; wanted no others beside it", 2)
        _fit_all(config, workers, ["--force"] if force else [])
        return
    if not data or out is None:
        raise Stop(f"{'--out' if data else 'DATA'}: is missing; wanted DATA and --out", 2)
    check_range("--period", period, 1e-6, LONGEST_PERIOD / SECOND)
    check_range("--false-alarms-per-day", false_alarms_per_day, 1e-6, 1e6)
    if settle is not None and running is None:
        raise Stop(f"--settle {settle}: wanted --running as well, to know when it starts", 2)
    if running is not None:
        try:
            check_syntax(running)
        except ConditionError as error:
            raise Stop(f"--running {running!r}: {error}", 2) from None
    try:
        from models import fitting
        from models.checkpoint import folder_of
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
        running=running,
        settle=0 if settle is None else duration_of("--settle", settle, LONGEST_PERIOD),
        false_alarms_per_day=false_alarms_per_day,
        workers=workers,
        training=Settings(seed=seed),
    )
    try:
        request = with_options(request, settings or [])
    except ValueError as error:
        raise Stop(str(error), 2) from None
    selection = selection_of(rows, start, end, assets, exclude)
    check_free(out, force=force or skip_done)
    checkpoints = folder_of(out)
    recordings = read_data(data, names_of("--sensors", sensors), ignore, selection)
    try:
        the = plan(recordings, request)
        typer.echo(plan_line(the))
        if skip_done and _is_made(out, fitting.fingerprint_of(recordings, request, the)):
            typer.echo(f"{out}: is made of this already, and left as it is")
            return
        check_free(out, force=force)
        with progress_bar() as bar:
            stages: dict[str, TaskID] = {}

            def show(stage: str, done: int, most: int) -> None:
                if stage not in stages:
                    stages[stage] = bar.add_task(stage, total=most)
                bar.update(stages[stage], completed=done)

            with writing(checkpoints):
                done = fitting.fit(
                    recordings, request, the, out.name, time.time_ns(), show, checkpoints
                )
    except TrainingError as error:
        raise Stop(str(error), 65) from None
    except ConditionError as error:
        raise Stop(f"--running {running!r}: {error}", 2) from None
    if strict and (short := caution(done.manifest, unsupported=True)):
        raise Stop(short, 65)
    with writing(out):
        manifest = fitting.save(done, out, force=force)
    shutil.rmtree(checkpoints, ignore_errors=True)
    _print_fit(manifest, out)


def _is_made(out: Path, fingerprint: str) -> bool:
    try:
        return bundle.verify(out)[0].training.fingerprint == fingerprint
    except (FileNotFoundError, bundle.BundleError):
        return False


def _fit_all(config: Path, workers: int, extra: list[str]) -> None:
    try:
        jobs = read_jobs(config)
    except JobsError as error:
        raise Stop(str(error), 78) from None
    failed: list[Done] = []
    with progress_bar() as bar:
        task = bar.add_task("bundles", total=len(jobs))
        for done in run(jobs, workers, ["--skip-done", *extra]):
            bar.advance(task)
            typer.echo(f"[{done.job.out.name}]")
            typer.echo(indent(done.printed.rstrip(), "  "))
            if done.code:
                failed.append(done)
    if failed:
        names = ", ".join(done.job.out.name for done in failed)
        raise Stop(
            f"{config}: {len(failed)} of {len(jobs)} bundles failed: {names}", failed[0].code
        )


def _print_fit(manifest: Manifest, out: Path) -> None:
    typer.echo(losses(manifest))
    for line in promises(manifest):
        typer.echo(line)
    if words := caution(manifest):
        typer.echo(f"warning: {words}", err=True)
    if warning := unaudited(manifest):
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(f"{out}: {manifest.model}, digest {manifest.digest[:16]}")
