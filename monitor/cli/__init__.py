"""sensor-monitor: run, check, explain, replay, publish, record, discover, demo; one file each."""

import logging
import os
import sys
import traceback
from typing import Annotated, Any, NoReturn

import structlog
import typer

from models import bundle
from models.recording import ExtraMissing, RecordingError
from monitor.cli.check import check
from monitor.cli.demo import demo
from monitor.cli.discover import discover
from monitor.cli.explain import explain
from monitor.cli.publish import publish
from monitor.cli.record import record
from monitor.cli.replay import replay
from monitor.cli.run import run
from monitor.errors import SensorMonitorError

app = typer.Typer(
    help="Watches machines on MQTT and says when one no longer behaves as it did.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(run)
app.command()(check)
app.command()(explain)
app.command()(replay)
app.command()(publish)
app.command()(record)
app.command()(discover)
app.command()(demo)


def main() -> NoReturn:
    """Run the command line; every expected failure is one message and an exit code."""
    try:
        app()
    except SensorMonitorError as error:
        _fail(str(error), error.exit_code)
    except FileNotFoundError as error:
        _fail(str(error), 66)
    except ExtraMissing as error:
        _fail(str(error), 69)
    except (RecordingError, bundle.BundleError) as error:
        _fail(str(error), 65)
    except BrokenPipeError:
        sys.exit(0)
    except OSError as error:
        _fail(str(error), 74)
    except Exception:
        traceback.print_exc()
        _fail("a fault of sensor-monitor itself; please report it with the lines above", 70)
    sys.exit(0)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version as version_of

        typer.echo(
            f"sensor-monitor {version_of('sensor-monitor')}, bundle schema {bundle.SCHEMA_VERSION}"
        )
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
    log_to_stderr()


def log_to_stderr() -> None:
    """Logs as lines of key=value on stderr, coloured on a terminal unless NO_COLOR is set."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    colours = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=True)
        if colours
        else structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"])
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )


def _fail(message: str, code: int) -> NoReturn:
    print(f"sensor-monitor: {message}", file=sys.stderr)
    sys.exit(code)
