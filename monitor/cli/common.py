"""What several commands share: arguments, and what they mean."""

import os
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from monitor.config import Config
from monitor.config_types import duration as duration_of
from monitor.stream import Stream, open_streams

ConfigPath = Annotated[Path, typer.Option("--config", help="The configuration, a TOML file.")]
StreamName = Annotated[str, typer.Option("--stream", help="The stream the recording is of.")]
AssetName = Annotated[
    str | None, typer.Option("--asset", help="Name of the asset; default: as the recording says.")
]
Labels = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="NAME=VALUE", help="Value of a label in the stream's topic."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def one_stream(loaded: Config, name: str) -> Stream:
    """The stream of that name, with its bundles loaded."""
    wanted = [stream for stream in loaded.stream if stream.name == name]
    if not wanted:
        names = ", ".join(stream.name for stream in loaded.stream)
        raise typer.BadParameter(
            f"no stream is called {name!r}; found {names}", param_hint="--stream"
        )
    return open_streams(loaded.model_copy(update={"stream": tuple(wanted)}))[0]


def label_values(pairs: list[str] | None) -> dict[str, str]:
    """Values of labels by name."""
    labels: dict[str, str] = {}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{pair!r}; wanted NAME=VALUE", param_hint="--label")
        labels[name] = value
    return labels


def stop_event() -> threading.Event:
    """Set by the first SIGTERM or SIGINT; the second ends us at once."""
    stop = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        del frame
        if stop.is_set():
            os._exit(128 + number)  # asked twice: leave at once, nothing here needs more
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    return stop


def duration_seconds(text: str) -> float:
    """What `--duration` says, in seconds."""
    try:
        return duration_of(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}; {error}", param_hint="--duration") from None
