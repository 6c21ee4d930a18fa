"""The demo: broker, simulated pumps, the daemon and a live view, in one process."""

import itertools
import math
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from rich.console import Console

from models.frame import SECOND
from monitor.alert import Alert
from monitor.board import State
from monitor.config import Config
from monitor.daemon import Daemon, link_settings
from monitor.demo.broker import Address, broker
from monitor.demo.plant import ASSETS, SENSORS, Fault, Plant, payload, schedule, stamp
from monitor.demo.view import AssetRow, Finding, Snapshot, View, summary
from monitor.player import play
from monitor.stream import Stream, open_streams

BUNDLE = Path(__file__).with_name("bundle")
STREAM = "pumps"
LEAST_SECONDS, LEAST_TICKS = 15, 900
SPEED = 20  # seconds of plant time in a second, where the demo is long enough
FRAMES_PER_SECOND = 8
SETTLING = 90  # ticks after a fault in which its alert may still open
BY_CHANCE = 3  # ticks for which a sensor may have kept its value before it got stuck
HISTORY = 40


@dataclass(slots=True)
class Show:
    """What is needed while the demo runs, and for its end."""

    address: Address
    ticks: int
    seconds: float
    started: datetime
    faults: tuple[Fault, ...]
    alerts: list[Alert] = field(default_factory=list[Alert])
    history: dict[str, deque[float]] = field(
        default_factory=lambda: {asset: deque[float](maxlen=HISTORY) for asset in ASSETS}
    )
    published: int = 0


def run(seconds: int, console: Console) -> int:
    """Play the demo and return the number of faults that were not found.

    Args:
        seconds: of the wall clock; at least LEAST_SECONDS.
        console: for the view and the summary.
    """
    stop = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        del number, frame
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    with ExitStack() as stack:
        address = stack.enter_context(broker())
        ticks = max(LEAST_TICKS, SPEED * seconds)
        # Plant time runs ahead of the wall clock, so it starts in the past and ends now.
        started = datetime.fromtimestamp(int(time.time()) - ticks, UTC)
        show = Show(address, ticks, seconds, started, schedule(ticks))
        config = _config(address)
        streams = open_streams(config)
        daemon = Daemon(config, streams, show.alerts.append)
        daemon.start()
        stack.callback(daemon.stop, "the demo is over")
        _introduce(console, address, daemon)
        if not daemon.link.wait_ready(10.0):
            raise TimeoutError(f"the demo's {address.kind} did not answer within 10 s")
        player = threading.Thread(target=_play, args=(show, config, stop), daemon=True)
        player.start()
        with View(console) as view:
            _watch(show, streams[0], view, stop, player)
        findings, false_alerts = judge(show.faults, show.alerts, show.started)
    console.print(summary(findings, false_alerts))
    return sum(not finding.found for finding in findings)


def _config(address: Address) -> Config:
    return Config.model_validate(
        {
            "mqtt": {
                "host": address.host,
                "port": address.port,
                "client_id": "demo",
                "protocol": "3.1.1" if address.kind == "amqtt" else "5",
                "session_expiry": 0 if address.kind == "amqtt" else 3600,
            },
            "stream": [
                {
                    "name": STREAM,
                    "model": str(BUNDLE),
                    "topic": "demo/{asset}/telemetry",
                    "time": "time",
                    "sensors": {one.name: {"path": one.name, "unit": one.unit} for one in SENSORS},
                }
            ],
            "http": {"listen": "127.0.0.1:0"},
        }
    )


def _introduce(console: Console, address: Address, daemon: Daemon) -> None:
    console.print(
        f"broker: {address.kind} on {address.host}:{address.port}", highlight=False, soft_wrap=True
    )
    if daemon.server:
        host, port = daemon.server.address
        console.print(f"metrics: http://{host}:{port}/metrics", highlight=False, soft_wrap=True)
    console.print(
        f"alerts: mosquitto_sub -h {address.host} -p {address.port} "
        "-t 'sensor-monitor/demo/+/+/alerts'",
        highlight=False,
        soft_wrap=True,
    )


def _play(show: Show, config: Config, stop: threading.Event) -> None:
    plant = Plant(seed=2, faults=show.faults)
    settings = link_settings(config.mqtt, "demo-pumps")

    def messages() -> Iterator[tuple[float, str, bytes]]:
        for tick in range(show.ticks):
            if stop.is_set():
                return
            for asset, row in zip(ASSETS, plant.sample(tick), strict=True):
                show.published += 1
                yield tick, f"demo/{asset}/telemetry", payload(row, stamp(tick, show.started))

    play(settings, messages(), speed=show.ticks / show.seconds)


def _watch(
    show: Show, stream: Stream, view: View, stop: threading.Event, player: threading.Thread
) -> None:
    began = time.monotonic()
    for turn in itertools.count():
        view.show(snapshot(show, stream, time.monotonic() - began, note=turn % 2 == 0))
        done = not player.is_alive() and stream.books.received >= show.published
        late = time.monotonic() - began > show.seconds + 10
        if done or late or stop.wait(1 / FRAMES_PER_SECOND):
            break
    view.show(snapshot(show, stream, time.monotonic() - began, note=True))


def snapshot(show: Show, stream: Stream, elapsed: float, *, note: bool) -> Snapshot:
    """The moment as the view shows it; `note` adds the scores to the history."""
    board, names = stream.pipeline.board, stream.assets.names
    lives = stream.pipeline.groups[0].alerts.lives
    rows: list[AssetRow] = []
    for asset in ASSETS:
        if asset not in names or (index := names.index(asset)) >= len(board.state):
            rows.append(AssetRow(asset, State.WARMING.label))
            continue
        score = float(board.score[index])
        known = not math.isnan(score)
        if note and known:
            show.history[asset].append(score)
        life = lives.get(index)
        last = life.last if life is not None and life.firing else None
        worst = last.sensors[0] if last else None
        rows.append(
            AssetRow(
                asset,
                State(int(board.state[index])).label,
                score if known else None,
                tuple(show.history[asset]),
                worst.name if worst else "",
                worst.unit if worst else "",
                worst.actual if worst else None,
                worst.expected if worst else None,
                datetime.fromtimestamp(last.onset / SECOND, UTC).strftime("%H:%M:%S")
                if last
                else "",
            )
        )
    return Snapshot(
        elapsed,
        show.seconds,
        f"{show.address.kind} on {show.address.host}:{show.address.port}",
        stream.books.received,
        stream.books.scored,
        tuple(rows),
        tuple(alert.summary for alert in show.alerts),
    )


def judge(
    faults: tuple[Fault, ...], alerts: list[Alert], started: datetime
) -> tuple[list[Finding], int]:
    """Which faults were found, by alerts of their kind alone; and how many had no fault."""
    origin = int(started.timestamp()) * SECOND
    unexplained = {alert.alert_id for alert in alerts}
    findings: list[Finding] = []
    for fault in faults:
        kind = "stuck" if fault.kind == "stuck" else "anomaly"
        first, last = origin + fault.start * SECOND, origin + (fault.end + SETTLING) * SECOND
        mine = [
            alert
            for alert in alerts
            if (alert.asset, alert.kind) == (fault.asset, kind)
            and first - BY_CHANCE * SECOND <= alert.onset < last
        ]
        unexplained -= {alert.alert_id for alert in mine}
        opened = [alert for alert in mine if alert.step == "opened"]
        strongest = dict.fromkeys(alert.sensors[0].name for alert in mine if alert.sensors)
        delay = (opened[0].time - first) / SECOND if opened else None
        findings.append(
            Finding(fault.kind, fault.asset, fault.sensor, bool(opened), tuple(strongest), delay)
        )
    return findings, len(unexplained)
