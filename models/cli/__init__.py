"""sensor-trainer: fit, score, judge and audit detectors; one file per command."""

import sys
import traceback
from typing import Annotated, NoReturn

import typer

from models import bundle
from models.bundle import BundleError
from models.cli.audit import audit
from models.cli.calibrate import calibrate
from models.cli.common import Stop
from models.cli.compare import compare
from models.cli.evaluate import evaluate
from models.cli.experiment import experiment
from models.cli.fit import fit
from models.cli.inspect import inspect
from models.cli.score import score
from models.evaluation import DEFINITIONS, INTRODUCTION
from models.recording import ExtraMissing, RecordingError

app = typer.Typer(
    help="Train detectors on normal data, and judge them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(fit)
app.command()(calibrate)
app.command()(score)
_figures = "\n".join(f"{key}: {text}." for key, text in DEFINITIONS.items())
app.command(epilog=f"{INTRODUCTION}\n\n{_figures}")(evaluate)
app.command()(compare)
app.command()(audit)
app.command()(inspect)
app.command()(experiment)


def main() -> NoReturn:
    """Run the command line; every expected failure is one message and an exit code."""
    try:
        app()
    except Stop as error:
        _fail(str(error), error.code)
    except FileNotFoundError as error:
        _fail(str(error), 66)
    except ExtraMissing as error:
        _fail(str(error), 69)
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


def _fail(message: str, code: int) -> NoReturn:
    print(f"sensor-trainer: {message}", file=sys.stderr)
    sys.exit(code)
