"""sensor-trainer experiment."""

import difflib
import json
import shutil
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from models.cli.common import (
    NEEDS_TRAINING,
    Force,
    Json,
    Stop,
    check_free,
    check_replaced,
    progress_bar,
    writing,
)
from models.cli.request import Seed, stages_of
from models.experiments.download import SOURCES, DownloadError, fetch
from models.experiments.images import ImagesError, wanted
from models.experiments.practices import PRACTICES, practice_of

if TYPE_CHECKING:
    from models.experiments.data import Data
    from models.experiments.metrics import Metrics

LIST, ALL, NO = "list", "all", "no"
Device = Literal["cpu", "cuda"]


@dataclass(frozen=True, slots=True)
class How:
    """What is common to all experiments of one command."""

    quick: bool
    seed: int
    device: Device
    force: bool


def experiment(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="An experiment; `list` names them, or `all`.")
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="MNIST's or Fashion-MNIST's four IDX files, with .gz or without."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The folder to write; of `all`, one for each in it."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A few images and epochs, to see that it works.")
    ] = False,
    seed: Seed = 0,
    device: Annotated[Device, typer.Option(help="Where networks are trained.")] = "cpu",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Run a practice of autoencoders on images: its figures beside their references, its pictures.

    Writes metrics.json, PNG files and report.html. A run that was killed goes on from its last
    epoch; without --force, `all` leaves as they are those made of the same by the same code.

    Example: sensor-trainer experiment stacked --data data/mnist --out stacked
    """
    if name == LIST:
        _print_list(as_json=as_json)
        return
    if name != ALL and name not in PRACTICES:
        close = difflib.get_close_matches(name, [*PRACTICES, LIST, ALL], 1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise Stop(f"{name}: wanted one of {', '.join([*PRACTICES, LIST, ALL])}{hint}", 2)
    if data is None or out is None:
        raise Stop(f"{'--data' if data is None else '--out'}: is missing; wanted a folder", 2)
    _check_libraries(device)
    how = How(quick, seed, device, force)
    if name == ALL:
        _check_all(out)
    else:
        _check_one(out, how)
    images = _read(data, quick=quick)
    if name == ALL:
        _run_all(out, images, how, as_json=as_json)
        return
    metrics = _run(name, out, images, how)
    _print(metrics, out, as_json=as_json)


def _print_list(*, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(PRACTICES, indent=1, ensure_ascii=False))
        return
    width = max(map(len, PRACTICES))
    for name, summary in PRACTICES.items():
        typer.echo(f"{name:<{width}}  {summary}")


def _check_libraries(device: Device) -> None:
    try:
        import jinja2
        import matplotlib
        import sklearn
        import torch
    except ModuleNotFoundError as error:
        raise Stop(f"{NEEDS_TRAINING} ({error.name} is missing)", 69) from None
    del jinja2, matplotlib, sklearn
    if device == "cuda" and not torch.cuda.is_available():
        raise Stop("--device cuda: torch sees no such device here; wanted cpu", 69)


def _check_one(out: Path, how: How) -> None:
    from models.experiments.result import replaceable

    check_free(out, force=how.force)
    check_replaced(out, replaceable, "experiment's folder")


def _check_all(out: Path) -> None:
    from models.experiments.result import INDEX

    check_free(out, force=True)
    if out.exists() and not out.is_dir():
        raise Stop(f"{out}: is a file; wanted a folder", 73)
    known = {INDEX, *PRACTICES, *(f"{name}.previous" for name in PRACTICES)}
    strange = [
        one.name
        for one in sorted(out.iterdir() if out.exists() else ())
        if one.name not in known and not one.name.startswith(".")
    ]
    if strange:
        raise Stop(f"{out}: holds {strange[0]}, which is no experiment's; wanted a new folder", 73)


def _read(folder: Path, *, quick: bool) -> "Data":
    from models.experiments.data import read_data

    try:
        return read_data(folder, quick=quick)
    except ImagesError as error:
        raise Stop(str(error), 65) from None
    except FileNotFoundError as error:
        if not _download(folder):
            raise Stop(str(error), 66) from None
    return _read(folder, quick=quick)


def _download(folder: Path) -> bool:
    """Offer to fetch what a folder lacks; whether that was done."""
    if not sys.stdin.isatty():
        return False
    sizes = ", ".join(f"{name} ({one.size / 1e6:.0f} MB)" for name, one in SOURCES.items())
    question = f"{folder} lacks image files. Download {sizes} into it, or no?"
    try:
        answer: str = typer.prompt(question, default=NO, value_proc=_answer, err=True)
    except typer.Abort:  # ^C, or no more input
        typer.echo(err=True)
        return False
    if answer == NO:
        return False
    source = SOURCES[answer]
    try:
        with progress_bar() as bar, writing(folder):
            show = stages_of(bar)
            fetch(folder, source, lambda done, most: show(source.title, done, most))
    except DownloadError as error:
        raise Stop(f"{error}; {wanted(folder)}", 66) from None
    return True


def _answer(text: str) -> str:
    found = text.strip().lower()
    if found not in (*SOURCES, NO):
        raise typer.BadParameter(f"{text.strip()}: wanted {', '.join(SOURCES)} or {NO}")
    return found


def _run(name: str, out: Path, images: "Data", how: How) -> "Metrics":
    from models.checkpoint import Checkpoint, folder_of
    from models.experiments import metrics, result
    from models.experiments.experiment import ExperimentError, Task

    checkpoints, start = folder_of(out), time.perf_counter()
    spent = Checkpoint(checkpoints / "seconds", _fingerprint(name, images, how))
    before: float = (spent.read() or {"seconds": 0.0})["seconds"]
    try:
        with progress_bar() as bar, writing(out):
            show = stages_of(bar)

            def progress(stage: str, done: int, most: int) -> None:
                spent.write({"seconds": before + time.perf_counter() - start})
                show(stage, done, most)

            task = Task(name, images, how.quick, how.seed, how.device, checkpoints, progress)
            outcome = practice_of(name)(task)
            found = metrics.metrics_of(task, outcome, before + time.perf_counter() - start)
            result.write(out, found, outcome)
    except (Stop, MemoryError):  # with more room the same run comes further
        with suppress(OSError):
            checkpoints.rmdir()  # if nothing could be kept
        raise
    except ExperimentError as error:
        shutil.rmtree(checkpoints, ignore_errors=True)
        raise Stop(str(error), 65) from None
    except Exception:
        shutil.rmtree(checkpoints, ignore_errors=True)
        raise
    shutil.rmtree(checkpoints, ignore_errors=True)
    return found


def _run_all(out: Path, images: "Data", how: How, *, as_json: bool) -> None:
    from models.experiments.result import write_index

    failures: dict[str, tuple[str, int]] = {}
    done: dict[str, Any] = {}
    for name in PRACTICES:
        if not as_json:
            typer.echo(f"{name}: {PRACTICES[name]}")
        try:
            metrics = _finished(name, out / name, images, how)
            if metrics is None:
                _check_one(out / name, how)
                metrics = _run(name, out / name, images, how)
            elif not as_json:
                typer.echo("  is made of the same already, and left as it is")
        except Stop as error:
            failures[name] = str(error), error.code
        except Exception as error:
            traceback.print_exc()
            failures[name] = f"a fault of the experiment itself ({error!r})", 70
        else:
            done[name] = metrics.model_dump(mode="json")
            if not as_json:
                _print(metrics, out / name, as_json=False)
        if name in failures:
            typer.echo(f"sensor-trainer: {name}: {failures[name][0]}", err=True)
        with writing(out):
            write_index(out, {key: text for key, (text, _) in failures.items()}, [*PRACTICES])
    if as_json:
        typer.echo(json.dumps(done, indent=1))
    if failures:
        names = ", ".join(failures)
        raise Stop(f"failed: {names}; the others are in {out}", next(iter(failures.values()))[1])


def _finished(name: str, out: Path, images: "Data", how: How) -> "Metrics | None":
    """What is there already and need not be made again."""
    from models.experiments.result import read

    metrics = None if how.force else read(out)
    return metrics if metrics and metrics.fingerprint == _fingerprint(name, images, how) else None


def _fingerprint(name: str, images: "Data", how: How) -> str:
    from models.experiments.metrics import fingerprint_of

    return fingerprint_of(name, images, quick=how.quick, seed=how.seed, device=how.device)


def _print(metrics: "Metrics", out: Path, *, as_json: bool) -> None:
    if as_json:
        typer.echo(metrics.model_dump_json(indent=1))
        return
    from models.page.experiment import row_of, verdict

    rows = [row_of(one) for one in metrics.figures.values()]
    width = max(len(row.name) for row in rows)
    for row in rows:
        said = f", {row.said} ({row.limits})" if row.said else ""
        typer.echo(f"  {row.name:<{width}}  {row.value}{said}")
    typer.echo(f"  {verdict(metrics)}")
    typer.echo(f"  {out / 'report.html'}")
