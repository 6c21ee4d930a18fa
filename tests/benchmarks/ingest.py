"""What a message costs from its bytes to a frame in the window ring, and what a large fleet costs.

`scripts/bench ingest` plays machines of 8 sensors, one JSON message a second each, to the daemon's
own decoder, frames and ring, in the batches that a scorer finds waiting, and the same messages to
the script one would write: json.loads, a pydantic model and a deque for each machine. Then it plays
fleets of both sizes to a whole stream, with its states, sensor health and a detector without a
network: cost and memory of an asset must not grow with their number. One thread, no MQTT.
"""

import argparse
import gc
import json
import platform
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from pydantic import BaseModel, create_model

from models.decision import Rule
from models.detector import Calibration, Detector, scale
from models.frame import SECOND, Framer, Grid, rounds
from models.recording import iso
from monitor import sources
from monitor.config import AlertsConfig, StreamConfig
from monitor.reading import AssetTable, Message, Reader
from monitor.stream import Stream
from monitor.window import WindowRing
from tests.benchmarks._shared import shown, spread_of, squared

SENSORS, WINDOW, PERIOD = 8, 64, SECOND
FEW, MANY = 256, 10_000
NATURAL = 256  # the batch that the goals are about
BATCHES = (1, 64, NATURAL, 1024)  # 1: an idle daemon takes each message as it comes
GOAL, GROWTH = 8.0, 1.25
START = 1_767_225_600  # seconds since the epoch
NAMES = tuple(f"s{column}" for column in range(SENSORS))
CONFIG = StreamConfig(
    name="plant",
    topic="plant/{asset}/telemetry",
    time="time",
    sensors={name: name for name in NAMES},  # pyright: ignore[reportArgumentType]
    max_assets=MANY,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()

    players: dict[str, Callable[[Sequence[Message]], None]] = {"script": Script().play}
    players |= {f"{batch} at once": in_batches(Ours().play, batch) for batch in BATCHES}
    some = messages(FEW, 4 * (arguments.rounds + 1))
    gc.freeze()  # the messages are no part of either
    spent = interleaved(players, some, 4 * FEW)
    ratio = {name: spent["script"] / cost for name, cost in spent.items() if name != "script"}

    fleets = {FEW: Fleet(), MANY: Fleet()}
    costs = fleet_costs(fleets)
    growth = costs[MANY] / np.median(costs[FEW])
    found = {
        "workload": {"assets": FEW, "sensors": SENSORS, "window": WINDOW},
        "python": platform.python_version(),
        "machine": platform.machine(),
        "unit": "CPU microseconds a message",
        "cost": {name: spread_of(cost) for name, cost in spent.items()},
        "ratio": {name: spread_of(one) for name, one in ratio.items()},
        "goal": GOAL,
        "fleet": {count: spread_of(cost) for count, cost in costs.items()},
        "growth": spread_of(growth),
        "most_growth": GROWTH,
        "bytes_per_asset": {count: fleet.bytes_per_asset for count, fleet in fleets.items()},
    }
    if arguments.json:
        print(json.dumps(found, indent=1))
        return
    print(f"CPU µs from a message's bytes to its frame in the ring, {FEW} machines of {SENSORS}")
    print(f"sensors; median (least–most) of {arguments.rounds} rounds\n")
    for name, cost in spent.items():
        less = f"   {shown(ratio[name], 2)} times less" if name in ratio else ""
        print(f"{name:16}{shown(cost, 2)}{less}")
    reached = "reached" if np.median(ratio[f"{NATURAL} at once"]) >= GOAL else "MISSED"
    print(f"\ngoal: {GOAL:g} times less at {NATURAL} at once; {reached}\n")
    for count, cost in costs.items():
        size = fleets[count].bytes_per_asset
        print(f"{count:6} assets   {shown(cost, 2)} µs a message, {size:,} bytes an asset")
    reached = "reached" if np.median(growth) <= GROWTH else "MISSED"
    print(f"\ngoal: at most {GROWTH:g} times; {np.median(growth):.2f}, {reached}")


def messages(assets: int, ticks: int, first: int = 0) -> list[Message]:
    """One message for each machine and second from the first on, in the order of their arrival."""
    values = np.random.default_rng(first).normal(50, 5, (ticks, assets, SENSORS)).round(3)
    found: list[Message] = []
    for tick, rows in enumerate(values.tolist()):
        arrival = (START + first + tick) * SECOND + 123_456_000
        stamp = iso(arrival)
        for asset, row in enumerate(rows):
            document = {"time": stamp, **dict(zip(NAMES, row, strict=True))}
            payload = json.dumps(document).encode()
            found.append(Message(f"plant/m{asset:05d}/telemetry", payload, arrival, retained=False))
    return found


def in_batches(
    play: Callable[[Sequence[Message]], object], batch: int
) -> Callable[[Sequence[Message]], None]:
    def played(some: Sequence[Message]) -> None:
        for start in range(0, len(some), batch):
            play(some[start : start + batch])

    return played


def interleaved(
    players: dict[str, Callable[[Sequence[Message]], None]], some: list[Message], size: int
) -> dict[str, np.ndarray]:
    """CPU microseconds a message of each player, one number a round; all take the same messages."""
    spent: dict[str, list[float]] = {name: [] for name in players}
    for start in range(0, len(some), size):
        part = some[start : start + size]
        for name, play in players.items():
            began = time.process_time()
            play(part)
            spent[name].append((time.process_time() - began) / len(part) * 1e6)
    return {name: np.array(costs[1:]) for name, costs in spent.items()}  # the first warms up


class Ours:
    """The daemon's own parts, without what comes after the ring."""

    def __init__(self) -> None:
        compiled = sources.compiled(CONFIG, NAMES)
        self._reader = Reader(
            compiled,
            AssetTable(MANY),
            sources.unread(compiled),
            largest=int(CONFIG.max_payload),
            accept_retained=False,
        )
        self._framer = Framer(Grid(PERIOD, WINDOW), SENSORS)
        self._ring = WindowRing(WINDOW, SENSORS)
        self._center, self._spread = np.full(SENSORS, 50.0), np.full(SENSORS, 5.0)

    def play(self, some: Sequence[Message]) -> None:
        readings, _ = self._reader.read(some, refuse)
        now = some[-1].arrival + SECOND // 10
        frames, _ = self._framer.step(readings.asset, readings.time, readings.values, now)
        scaled = scale(frames.values, self._center, self._spread)
        for turn in rounds(frames.asset):
            self._ring.push(frames.asset[turn], scaled[turn])


class Script:
    """The script: one message after the other."""

    def __init__(self) -> None:
        fields: dict[str, Any] = {"time": (datetime, ...)} | dict.fromkeys(NAMES, (float, ...))
        self._model: type[BaseModel] = create_model("Telemetry", **fields)
        self._windows: dict[str, deque[BaseModel]] = {}

    def play(self, some: Sequence[Message]) -> None:
        for message in some:
            asset = message.topic.split("/")[1]
            reading = self._model.model_validate(json.loads(message.payload))
            self._windows.setdefault(asset, deque(maxlen=WINDOW)).append(reading)


class Fleet:
    """A stream of the daemon, without its network thread and without a network."""

    def __init__(self) -> None:
        one, none = np.ones(1), np.zeros(1)
        level, spread = np.full((1, SENSORS), 50.0), np.full((1, SENSORS), 5.0)
        never = np.full(1, 1e9)
        detector = Detector(
            "none",
            "0" * 64,
            0.0,
            NAMES,
            (None,) * SENSORS,
            Grid(PERIOD, WINDOW),
            Rule(),
            "mean-square",
            20,
            Calibration((), level, spread, np.ones_like(level), never, none, one),
            squared,
        )
        self._stream = Stream(CONFIG, AlertsConfig(), {None: detector})

    @property
    def bytes_per_asset(self) -> int:
        return self._stream.pipeline.bytes_per_asset

    def take(self, some: Sequence[Message]) -> None:
        self._stream.take(some, some[-1].arrival + SECOND // 10)


def fleet_costs(fleets: dict[int, Fleet]) -> dict[int, np.ndarray]:
    """CPU microseconds a message by turns, all of a fleet's assets sending in batches of NATURAL.

    A turn of the small fleet is as many of its ticks as have the messages of one of the large.
    """
    spent: dict[int, list[float]] = {count: [] for count in fleets}
    plays = {count: in_batches(fleet.take, NATURAL) for count, fleet in fleets.items()}
    second = dict.fromkeys(fleets, 0)
    for turn in range(WINDOW + 12):
        for count, play in plays.items():
            ticks = 1 if turn < WINDOW + 2 else MANY // count  # windows are complete from there on
            part = messages(count, ticks, second[count])
            second[count] += ticks
            began = time.process_time()
            play(part)
            spent[count].append((time.process_time() - began) / len(part) * 1e6)
    return {count: np.array(costs[WINDOW + 2 :]) for count, costs in spent.items()}


def refuse(sensor: int, reason: str, count: int) -> None:
    raise AssertionError(f"{count} of sensor {sensor}: {reason}")


if __name__ == "__main__":
    main()
