"""sensor-monitor publish."""

import itertools
import os
from pathlib import Path
from typing import Annotated

import typer

from models.recording import find
from monitor import config as configuration
from monitor.cli.common import AssetName, ConfigPath, Labels, StreamName, label_values, one_stream


def publish(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Recordings.")],
    config: ConfigPath,
    stream: StreamName,
    asset: AssetName = None,
    label: Labels = None,
    speed: Annotated[str, typer.Option(metavar="X|max", help="Times faster than recorded.")] = "1",
) -> None:
    """Play recordings to the broker as the machine would have sent them, with their own stamps.

    Example: sensor-monitor publish today.csv --config plant.toml --stream pumps --speed max
    """
    from monitor import replaying
    from monitor.daemon import link_settings
    from monitor.player import play

    loaded = configuration.load(config)
    chosen = one_stream(loaded, stream)
    if not chosen.config.has_time:
        typer.echo(
            f'stream "{stream}" has no time key: the stamps of the recording are not sent', err=True
        )
    labels, factor = label_values(label), _speed(speed)
    settings = link_settings(loaded.mqtt, f"{loaded.mqtt.client_id}-publish-{os.getpid()}")

    # All is read, and the first message made, before there is a connection to lose.
    recordings = [replaying.read_for(chosen, path, asset) for path in find(files)]
    everything = itertools.chain.from_iterable(
        replaying.messages(chosen, recording, names, labels) for recording, names in recordings
    )
    first = list(itertools.islice(everything, 1))
    count = play(settings, itertools.chain(first, everything), speed=factor)
    typer.echo(f"{count} messages published", err=True)


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise typer.BadParameter(f"{text!r}; wanted a number over 0, or max", param_hint="--speed")
    return speed
