"""sensor-monitor: run, check, explain, replay, publish, record, discover, demo."""

import gc
import itertools
import json
import logging
import math
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import structlog
import typer
from rich.console import Console
from rich.table import Table

from models import bundle
from models.frame import SECOND
from models.recording import ExtraMissing, RecordingError, iso
from monitor import config as configuration
from monitor.alert import cloudevent
from monitor.config import Config
from monitor.config_types import duration as duration_of
from monitor.errors import BrokerUnavailable, CannotWrite, ConfigError, SensorMonitorError
from monitor.reading import Message, MessageOutcome
from monitor.stream import Stream, open_streams

app = typer.Typer(
    help="Watches machines on MQTT and says when one no longer behaves as it did.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

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


@app.command()
def run(config: ConfigPath) -> None:
    """Watch the configured streams, in the foreground, until told to stop.

    Example: sensor-monitor run --config plant.toml
    """
    from monitor import subscriptions
    from monitor.daemon import Daemon, filters_of

    loaded = configuration.load(config)
    streams = open_streams(loaded)
    for stream in streams:
        if not stream.detectors:
            structlog.get_logger("sensor_monitor").warning(
                "STREAM IS NOT SCORED", stream=stream.name
            )
    stale = subscriptions.stale(loaded.state.directory, filters_of(streams))
    daemon = Daemon(loaded, streams, stale=stale)
    stop = _told_to_stop()

    def no_reload(number: int, frame: FrameType | None) -> None:
        del number, frame
        structlog.get_logger("sensor_monitor").warning(
            "SIGHUP: the configuration is read at the start only; restart to read it again"
        )

    signal.signal(signal.SIGHUP, no_reload)
    gc.freeze()  # what there is by now stays; the collector need not look through it again
    daemon.run(stop)


@app.command()
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
                f"{row['bytes_per_asset']} B an asset, {row['max_assets']} at most",
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
    if connect:
        _try_broker(loaded, streams)
        typer.echo(
            f"broker {loaded.mqtt.host}:{loaded.mqtt.port}: connected and subscribed", err=True
        )


@app.command()
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


@app.command()
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
    chosen = _stream(loaded, stream)
    if not chosen.detectors:
        raise ConfigError(f'stream "{stream}": has no model; wanted one, to score with')
    labels, any_alert = _labels(label), False
    for path in _files(files):
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


@app.command()
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
    chosen = _stream(loaded, stream)
    if not chosen.config.has_time:
        typer.echo(
            f'stream "{stream}" has no time key: the stamps of the recording are not sent', err=True
        )
    labels, factor = _labels(label), _speed(speed)
    settings = link_settings(loaded.mqtt, f"{loaded.mqtt.client_id}-publish-{os.getpid()}")

    # All is read, and the first message made, before there is a connection to lose.
    recordings = [replaying.read_for(chosen, path, asset) for path in _files(files)]
    everything = itertools.chain.from_iterable(
        replaying.messages(chosen, recording, names, labels) for recording, names in recordings
    )
    first = list(itertools.islice(everything, 1))
    count = play(settings, itertools.chain(first, everything), speed=factor)
    typer.echo(f"{count} messages published", err=True)


@app.command()
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

    seconds = None if duration is None else _duration(duration)
    loaded = configuration.load(config)
    stop = _told_to_stop()
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


@app.command()
def discover(
    host: Annotated[str, typer.Option(help="The broker.")],
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Default: 1883, with TLS 8883.")
    ] = None,
    username: Annotated[str | None, typer.Option(metavar="NAME")] = None,
    password_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file with the password.")
    ] = None,
    ca_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Who has signed the broker's certificate; means TLS."),
    ] = None,
    allow_plaintext_password: Annotated[
        bool,
        typer.Option("--allow-plaintext-password", help="Send the password without TLS."),
    ] = False,
    duration: Annotated[str, typer.Option(metavar="T", help="How long to listen.")] = "2m",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A new file; default: stdout.")
    ] = None,
) -> None:
    """Listen to a broker and write a configuration to start from; nothing is sent there.

    Example: sensor-monitor discover --host 127.0.0.1 --duration 2m --out plant.toml
    """
    from monitor import draft
    from monitor.watching import watch

    given = {
        "host": host,
        "port": port,
        "username": username,
        "password_file": password_file and str(password_file.absolute()),
        "allow_plaintext_password": allow_plaintext_password or None,
        "tls": ca_file and {"ca_file": str(ca_file.absolute())},
    }
    broker = {key: value for key, value in given.items() if value is not None}
    if out is not None and out.exists():
        raise CannotWrite(f"{out}: is there already; wanted a new file")
    survey = watch(configuration.mqtt(broker), _duration(duration), _told_to_stop())
    text = draft.render(survey, broker)
    if out is None:
        typer.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8")
    typer.echo(f"{len(survey.topics)} topics heard", err=True)


@app.command()
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
    from monitor.daemon import filters_of, link_settings
    from monitor.link import Link

    settings = link_settings(loaded.mqtt, f"{loaded.mqtt.client_id}-check-{os.getpid()}")
    link = Link(settings, filters=filters_of(streams))
    link.start()
    try:
        if not link.wait_ready(10.0):
            raise BrokerUnavailable(
                f"{settings.host}:{settings.port}: {link.last_error or 'no answer'}; wanted an "
                "MQTT broker that grants our subscriptions"
            )
    finally:
        link.stop(timeout=1.0)


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


def _files(files: list[Path]) -> list[Path]:
    from models.recording import find

    return find(files)


def _stream(loaded: Config, name: str) -> Stream:
    wanted = [stream for stream in loaded.stream if stream.name == name]
    if not wanted:
        names = ", ".join(stream.name for stream in loaded.stream)
        raise typer.BadParameter(
            f"no stream is called {name!r}; found {names}", param_hint="--stream"
        )
    return open_streams(loaded.model_copy(update={"stream": tuple(wanted)}))[0]


def _labels(pairs: list[str] | None) -> dict[str, str]:
    labels: dict[str, str] = {}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{pair!r}; wanted NAME=VALUE", param_hint="--label")
        labels[name] = value
    return labels


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


def _told_to_stop() -> threading.Event:
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


def _duration(text: str) -> float:
    try:
        return duration_of(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}; {error}", param_hint="--duration") from None


def _fail(message: str, code: int) -> NoReturn:
    print(f"sensor-monitor: {message}", file=sys.stderr)
    sys.exit(code)
