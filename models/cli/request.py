"""What is asked for when networks are trained: the options that `fit` and `compare` share."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress, TaskID

from models.cli.common import NEEDS_TRAINING, Stop, check_range, duration_of
from models.frame import SECOND
from models.manifest import LONGEST_PERIOD, LONGEST_WINDOW
from models.running import ConditionError, check_syntax

if TYPE_CHECKING:
    from models.plan import Request

Sensors = Annotated[str | None, typer.Option(metavar="A,B", help="Columns to use; default all.")]
Period = Annotated[
    float | None, typer.Option(help="Seconds between frames; default the usual step.")
]
Window = Annotated[
    int | None,
    typer.Option(
        min=2,
        max=LONGEST_WINDOW,
        help="Frames in a window; default min(64, rows // 16), at least 8.",
    ),
]
FalseAlarms = Annotated[float, typer.Option(help="Target for each asset.")]
Running = Annotated[
    str | None,
    typer.Option(
        metavar="EXPR", help="When the machine runs, e.g. 'current > 0.2 and valve != 0'."
    ),
]
Settle = Annotated[
    str | None,
    typer.Option(metavar="T", help="Left out after each start, e.g. 30s or 5m; default 0."),
]
Seed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Of weights, batches and noise.")]
Strict = Annotated[
    bool, typer.Option("--strict", help="Refuse a false-alarm target the data cannot support.")
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any other setting.")
]


def request_of(
    option: str,
    model: str,
    *,
    period: float | None,
    window: int | None,
    false_alarms_per_day: float,
    running: str | None,
    settle: str | None,
    seed: int,
    workers: int,
    settings: list[str] | None,
    beside: Sequence[str] = (),
) -> "Request":
    """The request that options of the command line make.

    Args:
        option: that named the model.
        model: name of a family.
        period, window, false_alarms_per_day, running, settle, seed, settings: as given.
        workers: folds trained at the same time.
        beside: other models that are given the same settings.
    """
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
        from models.families import FAMILIES
        from models.options import with_options
        from models.plan import Request
        from models.plan import Settings as Training
    except ModuleNotFoundError as error:
        raise Stop(f"{NEEDS_TRAINING} ({error.name} is missing)", 69) from None
    for name in (model, *beside):
        if name not in FAMILIES:
            raise Stop(f"{option} {name}: wanted one of {', '.join(FAMILIES)}", 2)
    request = Request(
        model=model,
        period=None if period is None else round(period * SECOND),
        window=window,
        running=running,
        settle=0 if settle is None else duration_of("--settle", settle, LONGEST_PERIOD),
        false_alarms_per_day=false_alarms_per_day,
        workers=workers,
        training=Training(seed=seed),
    )
    try:
        return with_options(request, settings or [], beside)
    except ValueError as error:
        raise Stop(str(error), 2) from None


def stages_of(bar: Progress) -> Callable[[str, int, int], None]:
    """Shows each stage of a training as a bar of its own."""
    stages: dict[str, TaskID] = {}

    def show(stage: str, done: int, most: int) -> None:
        if stage not in stages:
            stages[stage] = bar.add_task(stage, total=most)
        bar.update(stages[stage], completed=done)

    return show


@contextmanager
def refusals(running: str | None) -> Generator[None]:
    """What planning and training refuse, as the command line says it."""
    from models.split import TrainingError

    try:
        yield
    except TrainingError as error:
        raise Stop(str(error), 65) from None
    except ConditionError as error:
        raise Stop(f"--running {running!r}: {error}", 2) from None
