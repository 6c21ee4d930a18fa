"""sensor-monitor explain."""

import json
import math
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from models.recording import iso
from monitor import config as configuration
from monitor.cli.common import ConfigPath, Json
from monitor.reading import Message, MessageOutcome
from monitor.stream import Stream, open_streams


def explain(
    config: ConfigPath,
    topic: Annotated[str, typer.Argument(help="The message's topic.")],
    payload: Annotated[str, typer.Argument(help="Its payload; - reads stdin, @FILE a file.")],
    as_json: Json = False,
) -> None:
    """Show how one message is read, or why it is not.

    Example: sensor-monitor explain --config plant.toml plant/a/p1/telemetry '{"current": 1.2}'
    """
    del as_json  # one line of JSON is what a person reads here too
    data = _payload(payload)
    streams = open_streams(configuration.load(config))
    mine = [stream for stream in streams if stream.reads(topic)]
    accepted = False
    for stream in mine:
        lines, good = _explained(stream, Message(topic, data, time.time_ns(), retained=False))
        accepted = accepted or good
        for line in lines:
            typer.echo(json.dumps(line, ensure_ascii=False))
    if not mine:
        patterns = ", ".join(source.pattern.text for stream in streams for source in stream.sources)
        typer.echo(
            json.dumps({"stream": None, "rejected": f"no stream's topic matches: {patterns}"})
        )
    if not accepted:
        raise typer.Exit(1)


def _explained(stream: Stream, message: Message) -> tuple[list[dict[str, Any]], bool]:
    rejected: list[str] = []
    words: list[str] = []
    names = stream.sensors.names

    def reject(sensor: int, reason: str, count: int) -> None:
        del count
        rejected.append(f"{names[sensor]}: {reason}")

    readings, outcome = stream.reader.read([message], reject, words.append)
    lines: list[dict[str, Any]] = []
    for row in range(len(readings.asset)):
        index = int(readings.asset[row])
        lines.append(
            {
                "stream": stream.name,
                "asset": stream.assets.names[index],
                "time": iso(int(readings.time[row])),
                "readings": {
                    name: value
                    for name, value in zip(names, readings.values[row].tolist(), strict=True)
                    if not math.isnan(value)
                },
                "labels": dict(stream.assets.labels[index]),
            }
        )
        if rejected or words:
            lines[-1]["rejected_readings"] = [*rejected, *words]
    if lines:
        return lines, True
    line = {"stream": stream.name, "rejected": MessageOutcome(int(outcome[0])).label}
    if why := "; ".join([*words, *rejected]):
        line["why"] = why
    return [line], False


def _payload(text: str) -> bytes:
    if text == "-":
        return sys.stdin.buffer.read()
    if text.startswith("@"):
        if not Path(text[1:]).is_file():
            raise FileNotFoundError(f"{text[1:]}: no such file")
        return Path(text[1:]).read_bytes()
    return text.encode("utf-8", "surrogateescape")
