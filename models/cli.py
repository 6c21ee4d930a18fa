"""sensor-trainer: fit, score, evaluate and inspect detectors."""

import csv
import json
import os
import sys
import time
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import numpy as np
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from models import bundle
from models.bundle import BundleError
from models.evaluation import (
    DEFINITIONS,
    always_alarm,
    evaluate,
    judged,
    mean,
    pooled,
    rows_seen,
    score_recordings,
)
from models.frame import SECOND
from models.manifest import LONGEST_PERIOD, LONGEST_WINDOW, Manifest
from models.recording import Recording, RecordingError, find, iso, read
from models.report import judgement, losses, model_card, promise, too_short

if TYPE_CHECKING:
    from models.fitting import Plan

app = typer.Typer(
    help="Train detectors on normal data, and judge them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Data = Annotated[list[Path], typer.Argument(help="Recordings: CSV files or folders of them.")]
BundleFolder = Annotated[Path, typer.Argument(help="A bundle.")]
Rows = Annotated[
    str | None,
    typer.Option("--rows", metavar="A:B", help="Half-open range of rows; one file only."),
]
Ignore = Annotated[
    list[str] | None, typer.Option("--ignore", metavar="COLUMN", help="A column to leave out.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Force = Annotated[
    bool, typer.Option("--force", help="Replace what is there, keeping it as NAME.previous.")
]

NEEDS_TRAINING = 'this command trains networks: pip install "sensor-monitor[train]"'


class Stop(Exception):
    """An error to report in one message."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def main() -> NoReturn:
    """Run the command line; every expected failure is one message and an exit code."""
    try:
        app()
    except Stop as error:
        _fail(str(error), error.code)
    except FileNotFoundError as error:
        _fail(str(error), 66)
    except (RecordingError, BundleError) as error:
        _fail(str(error), 65)
    except OSError as error:
        _fail(str(error), 74)
    except Exception:
        traceback.print_exc()
        _fail("a fault of sensor-trainer itself; please report it with the lines above", 70)
    sys.exit(0)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        release = version("sensor-monitor")
        typer.echo(f"sensor-trainer {release}, bundle schema {bundle.SCHEMA_VERSION}")
        raise typer.Exit


@app.callback()
def _options(  # pyright: ignore[reportUnusedFunction]
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and leave.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    del version


@app.command()
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
    _check_range("--period", period, 1e-6, LONGEST_PERIOD / SECOND)
    _check_range("--false-alarms-per-day", false_alarms_per_day, 1e-6, 1e6)
    try:
        from models import fitting
        from models.families import FAMILIES
        from models.options import with_options
        from models.training import Settings, TrainingError
    except ModuleNotFoundError as error:
        raise Stop(f"{NEEDS_TRAINING} ({error.name} is missing)", 69) from None
    if model not in FAMILIES:
        raise Stop(f"--model {model}: wanted one of {', '.join(FAMILIES)}", 2)
    request = fitting.Request(
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
    _check_free(out, force=force)
    recordings = _read(data, _names(sensors), ignore, rows)
    try:
        plan = fitting.plan(recordings, request)
        _print_plan(plan)
        with _progress() as bar:
            stages: dict[str, TaskID] = {}

            def show(stage: str, done: int, most: int) -> None:
                if stage not in stages:
                    stages[stage] = bar.add_task(stage, total=most)
                bar.update(stages[stage], completed=done)

            done = fitting.fit(recordings, request, plan, out.name, time.time_ns(), show)
    except TrainingError as error:
        raise Stop(str(error), 65) from None
    if strict and not done.threshold.supported:
        raise Stop(too_short(done.manifest), 65)
    with _writing(out):
        manifest = fitting.save(done, out, force=force)
    _print_fit(manifest, out, len({name for one in recordings for name in one.assets}))


@app.command()
def score(
    folder: BundleFolder,
    data: Data,
    out: Annotated[Path, typer.Option(help="The CSV file to write.")],
    rows: Rows = None,
    ignore: Ignore = None,
    force: Force = False,
) -> None:
    """Score recordings: a row per frame, as the daemon would have scored it.

    Example: sensor-trainer score bundles/pump today.csv --out scores.csv
    """
    _check_free(out, force=force)
    detector = bundle.load(folder)
    recordings = _read(data, detector.sensors, ignore, rows)
    draft = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        with _writing(out), draft.open("w", newline="") as file:
            lines = csv.writer(file, lineterminator="\n")
            shares = [f"share:{sensor}" for sensor in detector.sensors]
            lines.writerow(["timestamp", "asset", "score", "raw", "alert", *shares])
            for scores in score_recordings(detector, recordings):
                track, frames = scores.track, scores.track.frames
                stamps = recordings[track.recording].stamps
                for index in range(len(frames)):
                    row = int(track.row[index])
                    time = int(frames.tick[index]) * detector.grid.period
                    lines.writerow(
                        [
                            stamps[row] if row >= 0 else iso(time),
                            track.asset,
                            _number(scores.verdicts.score[index]),
                            _number(scores.raw[index]),
                            int(scores.verdicts.anomalous[index]),
                            *(_number(share) for share in scores.shares[index]),
                        ]
                    )
        with _writing(out):
            if out.exists():
                out.replace(out.with_name(out.name + ".previous"))
            draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)


@app.command(name="evaluate", epilog=DEFINITIONS.replace("\n", " "))
def evaluate_command(
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
    recordings = _read(data, detector.sensors, ignore, rows)
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
    per_file = [evaluate(one, period, labelled=labelled) for one in frames]
    report: dict[str, Any] = {
        "files": dict(zip(names, per_file, strict=True)),
        "mean": mean(per_file),
        "pooled": evaluate(pooled(frames), period, labelled=labelled),
        "rows_seen_in_training": sum(rows_seen(one, trained) for one in recordings),
    }
    if labelled:
        alarms = [always_alarm(one) for one in frames]
        report["always-alarm"] = {
            "mean": mean([evaluate(one, period, labelled=True) for one in alarms]),
            "pooled": evaluate(pooled(alarms), period, labelled=True),
        }
    if as_json:
        typer.echo(json.dumps(report, indent=1))
        return
    for part in judgement(report):
        Console().print(part)


@app.command()
def inspect(folder: BundleFolder, as_json: Json = False) -> None:
    """Show the model card of a bundle.

    Example: sensor-trainer inspect bundles/pump
    """
    bundle.load(folder)
    manifest, _ = bundle.verify(folder)
    if as_json:
        typer.echo(manifest.model_dump_json())
        return
    for part in model_card(manifest):
        Console().print(part)


def _check_range(option: str, value: float | None, low: float, high: float) -> None:
    # Typer's own ranges let NaN pass.
    if value is not None and not low <= value <= high:
        raise Stop(f"{option} {value:g}: wanted {low:g} to {high:g}", 2)


def _names(sensors: str | None) -> list[str] | None:
    if sensors is None:
        return None
    names = [name.strip() for name in sensors.split(",")]
    for name in names:
        if not name or names.count(name) > 1:
            raise Stop(f"--sensors {sensors}: has {name!r} twice, or a name is empty", 2)
    return names


def _check_free(out: Path, *, force: bool) -> None:
    """Refuse before the work what could not be written after it."""
    if not out.name:
        raise Stop(f"--out {out}: wanted a path that ends in a name", 2)
    if out.exists() and not force:
        raise Stop(f"{out}: exists; --force replaces it and keeps it as {out.name}.previous", 73)
    with _writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(out.parent, os.W_OK):
            raise PermissionError(f"{out.parent} is read-only for this user")


@contextmanager
def _writing(out: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise Stop(f"{out}: cannot be written ({error})", 73) from None


def _read(
    data: list[Path],
    sensors: list[str] | tuple[str, ...] | None,
    ignore: list[str] | None,
    rows: str | None,
) -> list[Recording]:
    paths = find(data)
    span: tuple[int | None, int | None] = (None, None)
    if rows is not None:
        if len(paths) > 1:
            raise Stop(f"--rows {rows}: is for one file; found {len(paths)}", 2)
        first, colon, last = rows.partition(":")
        try:
            span = (int(first) if first else None, int(last) if last else None)
        except ValueError:
            colon = ""
        if not colon or any(edge is not None and edge < 0 for edge in span):
            raise Stop(f"--rows {rows}: wanted A:B, either side may be empty", 2)
    recordings: list[Recording] = []
    for path in paths:
        recordings.append(read(path, sensors=sensors, ignore=ignore or (), rows=span))
        sensors = sensors or recordings[0].sensors
    if not sum(len(one.time) for one in recordings):
        raise RecordingError(f"{paths[0]}: holds no rows")
    return recordings


def _print_plan(plan: "Plan") -> None:
    left_out = ", ".join(f"{count} {why}" for why, count in plan.left_out.items() if count)
    typer.echo(
        f"windows of {plan.grid.window} frames of {plan.grid.period / SECOND:g} s: "
        f"{len(plan.ends)} kept ({plan.kept_ratio:.1%})"
        + (f", left out: {left_out}" if left_out else "")
    )


def _print_fit(manifest: Manifest, out: Path, assets: int) -> None:
    typer.echo(losses(manifest))
    typer.echo(promise(manifest, assets))
    if not manifest.calibrations["default"].threshold.supported:
        typer.echo(f"warning: {too_short(manifest)}", err=True)
    typer.echo(f"{out}: {manifest.model}, digest {manifest.digest[:16]}")


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    )


def _number(value: np.float64) -> str:
    return "" if np.isnan(value) else f"{value:.6g}"


def _fail(message: str, code: int) -> NoReturn:
    print(f"sensor-trainer: {message}", file=sys.stderr)
    sys.exit(code)
