"""sensor-monitor record."""

from pathlib import Path
from typing import Annotated

import typer

from monitor import config as configuration
from monitor.cli.common import ConfigPath, duration_seconds, stop_event
from monitor.reading import MessageOutcome
from monitor.stream import open_streams


def record(
    config: ConfigPath,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the recordings.")],
    duration: Annotated[
        str | None, typer.Option(metavar="T", help="How long, such as 4h; default: until ^C.")
    ] = None,
) -> None:
    """Record accepted readings at their own times, in daily files for each asset.

    Beside a running daemon, too. What is there already is gone on with.

    Example: sensor-monitor record --config plant.toml --out recordings --duration 4h
    """
    from monitor import recorder

    seconds = None if duration is None else duration_seconds(duration)
    loaded = configuration.load(config)
    stop = stop_event()
    for one in recorder.record(loaded, open_streams(loaded), out, seconds, stop):
        books = one.stream.books
        became = " + ".join(
            f"{count} {MessageOutcome(code).label}"
            for code, count in enumerate(books.outcomes.tolist())
            if count
        )
        typer.echo(
            f"{one.stream.name}: {books.received} messages = {became or 0}; "
            f"{one.files.rows} rows of {len(one.stream.assets.names)} assets written",
            err=True,
        )
