"""sensor-monitor check."""

import itertools
import json
import os
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from models.frame import SECOND
from monitor import config as configuration
from monitor.cli.common import ConfigPath, Json
from monitor.config import Config
from monitor.stream import Stream, filters_of, open_streams
from monitor.topics import overlap


def check(
    config: ConfigPath,
    connect: Annotated[
        bool, typer.Option("--connect", help="Connect and subscribe to the broker too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check the configuration and its bundles, and say which streams are scored.

    Example: sensor-monitor check --config plant.toml --connect
    """
    loaded = configuration.load(config)
    streams = open_streams(loaded)
    rows = [_stream_row(stream) for stream in streams]
    if as_json:
        typer.echo(json.dumps({"config": str(config), "streams": rows}))
    else:
        table = Table("stream", "subscribes to", "model", "window", "false alarms a day", "memory")
        for row in rows:
            table.add_row(
                row["stream"],
                row["filter"],
                "\n".join(row["models"]) or "[bold]NOT SCORED[/bold]",
                row["window"] or "–",
                row["false_alarms"] or "–",
                f"{row['bytes_per_asset']} B an asset"
                f"{' and its newest payloads' if row['keeps_payloads'] else ''}"
                f", {row['max_assets']} at most",
            )
        for column in table.columns:
            column.overflow = "fold"
        console = Console()
        console.print(table)
        for stream in streams:
            if not stream.detectors:
                console.print(f'stream "{stream.name}" IS NOT SCORED: it has no model')
            for idleness in dict.fromkeys(d.grid.idleness for d in stream.detectors.values()):
                if idleness:
                    console.print(f'stream "{stream.name}" is {idleness}', markup=False)
            for source in stream.config.sources:
                if not source.has_time:
                    console.print(
                        f'stream "{stream.name}" has no time key for {source.topic}: readings '
                        "count as of their arrival, and what a broker delivers late or twice "
                        "cannot be told from the rest",
                        markup=False,
                    )
        for one, other in itertools.combinations(filters_of(streams), 2):
            if overlap(one, other):
                console.print(
                    f"{one} and {other} match some topics both: a broker may send what comes there "
                    "twice",
                    markup=False,
                )
    if connect:
        _try_broker(loaded, streams)
        typer.echo(
            f"broker {loaded.mqtt.host}:{loaded.mqtt.port}: connected and subscribed", err=True
        )


def _stream_row(stream: Stream) -> dict[str, Any]:
    detectors = list(stream.detectors.values())
    first = detectors[0] if detectors else None
    row: dict[str, Any] = {
        "stream": stream.name,
        "scored": bool(detectors),
        "filter": "\n".join(stream.filters),
        "models": [f"{detector.name} {detector.digest[:12]}" for detector in detectors],
        "sensors": list(stream.sensors.names),
        "max_assets": stream.config.max_assets,
        "idle": None,
        "window": None,
        "false_alarms": None,
        "bytes_per_asset": stream.pipeline.bytes_per_asset,
        "keeps_payloads": any(source.read is not None for source in stream.sources),
    }
    if first is not None:
        row["idle"] = first.grid.idleness
        row["window"] = f"{first.grid.window} × {first.grid.period / SECOND:g} s"
        row["false_alarms"] = "\n".join(
            f"{known.expected_per_day.mean():.3g}, at most {known.bound_per_day.max():.3g}"
            for known in (detector.calibration for detector in detectors)
        )
    return row


def _try_broker(loaded: Config, streams: list[Stream]) -> None:
    from monitor.daemon import link_settings
    from monitor.link import Link

    settings = link_settings(loaded.mqtt, f"{loaded.mqtt.client_id}-check-{os.getpid()}")
    link = Link(settings, filters=filters_of(streams))
    link.start()
    try:
        link.require_ready(10.0, " that grants our subscriptions")
    finally:
        link.stop(timeout=1.0)
