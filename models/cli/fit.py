"""sensor-trainer fit."""

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Annotated

import typer

from models import bundle
from models.audit_card import audited, unaudited
from models.cli.common import (
    Assets,
    End,
    Exclude,
    Force,
    Ignore,
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
    Strict,
    Window,
    refusals,
    request_of,
    stages_of,
)
from models.jobs import Done, JobsError, run
from models.jobs import read as read_jobs
from models.manifest import Manifest
from models.recording import Recording
from models.report import caution, losses, plan_line, promises, short_of_data, told_from_names

if TYPE_CHECKING:
    from models.plan import Plan


def fit(
    context: typer.Context,
    data: Annotated[
        list[Path] | None, typer.Argument(help="Recordings: CSV files or folders of them.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The bundle to write.")] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="A train.toml of many bundles, instead of DATA, --out and the rest."),
    ] = None,
    model: Annotated[str, typer.Option(help="A family, from pca to ensemble.")] = "lstm",
    sensors: Sensors = None,
    period: Period = None,
    window: Window = None,
    false_alarms_per_day: FalseAlarms = 0.1,
    unit: Annotated[
        list[str] | None,
        typer.Option(metavar="SENSOR=UNIT", help="A sensor's unit, for people; once for each."),
    ] = None,
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
        int | None,
        typer.Option(min=1, help="Folds, or bundles, trained at once; default one per core."),
    ] = None,
    settings: Settings = None,
    strict: Strict = False,
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
        given = {name for name in context.params if _is_given(context, name)}
        if other := sorted(given - {"config", "jobs", "force"}):
            raise Stop(
                f"--config {config}: says itself what to fit; wanted only --jobs and --force "
                f"beside it, found {', '.join(other)}",
                2,
            )
        _fit_all(config, workers, ["--force"] if force else [])
        return
    if not data or out is None:
        raise Stop(f"{'--out' if data else 'DATA'}: is missing; wanted DATA and --out", 2)
    request = request_of(
        "--model",
        model,
        period=period,
        window=window,
        false_alarms_per_day=false_alarms_per_day,
        running=running,
        settle=settle,
        seed=seed,
        workers=workers,
        settings=settings,
    )
    request = replace(request, units=_units_of(unit or []))
    from models import fitting
    from models.checkpoint import folder_of
    from models.plan import plan

    selection = selection_of(rows, start, end, assets, exclude)
    check_bundle(out, force=force or skip_done)
    checkpoints = folder_of(out)
    recordings = read_data(data, names_of("--sensors", sensors), ignore, selection)
    if unknown := sorted({*request.units} - {*recordings[0].sensors}):
        raise Stop(
            f"--unit {unknown[0]}: is no sensor; found {', '.join(recordings[0].sensors[:12])}", 2
        )
    with refusals(running):
        the = plan(recordings, request)
        typer.echo(plan_line(the))
        if skip_done and _is_made(out, fitting.fingerprint_of(recordings, request, the)):
            typer.echo(f"{out}: is made of this already, and left as it is")
            return
        check_bundle(out, force=force)
        with progress_bar() as bar, writing(checkpoints):
            done = fitting.fit(
                recordings, request, the, out.name, time.time_ns(), stages_of(bar), checkpoints
            )
    if strict and (short := caution(done.manifest, unsupported=True)):
        raise Stop(short, 65)
    with writing(out):
        manifest = fitting.save(done, out, force=force)
    shutil.rmtree(checkpoints, ignore_errors=True)
    _print_fit(manifest, the, recordings, out)


def _units_of(pairs: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        sensor, _, unit = pair.partition("=")
        if not sensor or not unit or not unit.isprintable() or len(unit) > 32:
            raise Stop(f"--unit {pair}: wanted SENSOR=UNIT, such as flow=L/min", 2)
        found[sensor] = unit
    return found


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


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
            f"{config}: {len(failed)} of {len(jobs)} bundles failed: {names}",
            failed[0].code if failed[0].code > 0 else 70,  # a signal ended it
        )


def _print_fit(manifest: Manifest, the: "Plan", recordings: list[Recording], out: Path) -> None:
    typer.echo(losses(manifest))
    for line in promises(manifest):
        typer.echo(line)
    if words := told_from_names(manifest.calibrations, recordings):
        typer.echo(f"warning: {words}", err=True)
    left_out = [name for name in the.frames.assets if name not in manifest.calibrations]
    for line in short_of_data(left_out, manifest):
        typer.echo(f"warning: {line}", err=True)
    if words := caution(manifest):
        typer.echo(f"warning: {words}", err=True)
    if line := audited(manifest):
        typer.echo(line)
    if warning := unaudited(manifest):
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(f"{out}: {manifest.model}, digest {manifest.digest[:16]}")
