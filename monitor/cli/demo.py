"""sensor-monitor demo."""

import logging
from typing import Annotated

import structlog
import typer
from rich.console import Console


def demo(
    seconds: Annotated[int, typer.Option(min=15, help="How long it runs.")] = 60,
) -> None:
    """Watch simulated pumps with faults, on a broker of its own; nothing else is needed.

    Example: sensor-monitor demo --seconds 60
    """
    from monitor.demo import show

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    logging.getLogger().setLevel(logging.ERROR)
    if show.run(seconds, Console()):
        raise typer.Exit(1)
