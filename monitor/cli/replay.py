"""sensor-monitor replay."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from models.recording import find
from monitor import config as configuration
from monitor.alert import cloudevent
from monitor.cli.common import AssetName, ConfigPath, Labels, StreamName, label_values, one_stream
from monitor.errors import ConfigError


def replay(
    files: Annotated[list[Path], typer.Argument(help="Recordings.")],
    config: ConfigPath,
    stream: StreamName,
    asset: AssetName = None,
    label: Labels = None,
    fail_on_alert: Annotated[
        bool, typer.Option("--fail-on-alert", help="End with 1 if there was an alert.")
    ] = False,
) -> None:
    """Run recordings through the daemon's own path; alert events as JSON lines on stdout.

    Example: sensor-monitor replay today.csv --config plant.toml --stream pumps
    """
    from monitor import replaying

    loaded = configuration.load(config)
    chosen = one_stream(loaded, stream)
    if not chosen.detectors:
        raise ConfigError(f'stream "{stream}": has no model; wanted one, to score with')
    labels, any_alert = label_values(label), False
    for path in find(files):
        recording, names = replaying.read_for(chosen, path, asset)
        alerts = sorted(
            replaying.replay(chosen, recording, names, labels),
            key=lambda a: (a.time, a.asset or ""),
        )
        for alert in alerts:
            any_alert = True
            sys.stdout.buffer.write(cloudevent(alert, loaded.instance) + b"\n")
    sys.stdout.buffer.flush()
    if any_alert and fail_on_alert:
        raise typer.Exit(1)
