"""What a message costs from its bytes to its verdict, beside the script one would write.

`scripts/bench end_to_end` plays 256 machines of 8 sensors, one message a second each, to an LSTM
encoder-decoder of 64 units over 64 frames. Ours is the daemon's own path: decoding, frames, window
ring, ONNX Runtime, decision and alerts, in the batches that a scorer finds waiting. The script is
json.loads, a deque for each machine and one torch forward with a decoder loop for each message.
Both have the same weights and one thread, and their scores must be equal. Neither has MQTT in it.
The weights are drawn, not trained: what they are does not change what they cost.
"""

import argparse
import json
import platform
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from models.decision import Decision, Rule
from models.detector import Calibration, Detector, Scores
from models.families.lstm import LstmAutoencoder
from models.frame import SECOND, Float32s, Floats, Framer, Grid, Ints
from models.packing import export
from models.recording import iso
from models.runtime import OnnxRuntime
from monitor.config import AlertsConfig, StreamConfig
from monitor.lives import AlertBook
from monitor.pipeline import Pipeline
from monitor.reading import Message, Reader
from monitor.stream import Stream
from monitor.window import WindowRing
from tests.benchmarks._shared import shown, spread_of

ASSETS, SENSORS, WINDOW, HIDDEN, TAIL = 256, 8, 64, 64, 20
BATCHES = (1, 64, 256, 1024)  # 1: an idle daemon takes each message as it comes
NATURAL = 256  # the batch that the goal is about
TOLERANCE = 1e-4
GOAL = 20.0
START = 1_767_225_600  # seconds since the epoch
NAMES = tuple(f"s{column}" for column in range(SENSORS))
PERIOD = SECOND
WARM_UP = WINDOW + 8  # ticks before the first that is measured
BEHIND = 3  # ticks that a frame waits for stragglers


@dataclass(slots=True)
class Costs:
    """CPU microseconds a message, one number a round."""

    naive: list[float] = field(default_factory=list[float])
    ours: dict[int, list[float]] = field(default_factory=lambda: {batch: [] for batch in BATCHES})


@dataclass(frozen=True, slots=True)
class Recorder(Detector):
    """A detector that keeps the raw scores it gives, in the order of its windows."""

    heard: list[Floats] = field(default_factory=list[Floats])

    def score_windows(self, windows: Float32s, rows: Ints | int = 0) -> Scores:
        found = Detector.score_windows(self, windows, rows)
        self.heard.append(found.raw)
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--ticks", type=int, default=12, help="seconds of the plant in a round")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    network = drawn_network()
    ticks = WARM_UP + arguments.rounds * arguments.ticks
    values = readings(ticks)
    messages = as_messages(values)
    calibration = calibrated(network, values)

    ours = {batch: Ours(network, calibration) for batch in BATCHES}
    naive = Naive(network, calibration)
    naive_scores: dict[int, Floats] = {}
    costs = Costs()
    for batch, one in ours.items():
        one.play(messages[: WARM_UP * ASSETS], batch)
    naive.learn(messages[: (WARM_UP - BEHIND) * ASSETS])
    for tick in range(WARM_UP, ticks, arguments.ticks):
        part = messages[tick * ASSETS : (tick + arguments.ticks) * ASSETS]
        for batch, one in ours.items():
            costs.ours[batch].append(one.play(part, batch))
        # Of the script one second is enough; the others only enter its windows.
        first = (tick - BEHIND) * ASSETS
        spent, naive_scores[tick - BEHIND] = naive.play(messages[first : first + ASSETS])
        costs.naive.append(spent)
        naive.learn(messages[first + ASSETS : first + arguments.ticks * ASSETS])

    worst = max(difference(one.scores, naive_scores) for one in ours.values())
    stages = profile(Ours(network, calibration), messages)
    report(arguments.json, costs, worst, stages)
    if worst > TOLERANCE:
        sys.exit(f"the scores differ by {worst:.2g} relative; wanted at most {TOLERANCE:g}")


def drawn_network() -> LstmAutoencoder:
    network = LstmAutoencoder(WINDOW, SENSORS, HIDDEN)
    network.initialise(torch.Generator().manual_seed(0))
    return network.eval()


def readings(ticks: int) -> Floats:
    """What the machines measure, shape (ticks, ASSETS, SENSORS), to three decimals."""
    random = np.random.default_rng(0)
    phase = random.uniform(0, 2 * np.pi, (1, ASSETS, SENSORS))
    speed = random.uniform(0.02, 0.2, (1, ASSETS, SENSORS))
    wave = np.sin(speed * np.arange(ticks)[:, None, None] + phase)
    noise = 0.3 * random.standard_normal((ticks, ASSETS, SENSORS))
    return np.round(50.0 + 10.0 * np.arange(SENSORS) + 5.0 * (wave + noise), 3)


def as_messages(values: Floats) -> list[Message]:
    """One message for each machine and second, in the order of their arrival."""
    found: list[Message] = []
    for tick, rows in enumerate(values.tolist()):
        time_ns = (START + tick) * SECOND
        stamp = iso(time_ns)
        for asset, row in enumerate(rows):
            document = {"time": stamp, **dict(zip(NAMES, row, strict=True))}
            topic = f"plant/m{asset:03d}/telemetry"
            found.append(Message(topic, json.dumps(document).encode(), time_ns, retained=False))
    return found


def calibrated(network: LstmAutoencoder, values: Floats) -> Calibration:
    """As `fit` would calibrate, with a threshold that normal scores stay below."""
    center = values.mean(axis=(0, 1))
    spread = values.std(axis=(0, 1))
    windows = np.ascontiguousarray(values[:WINDOW].transpose(1, 0, 2))
    scaled = ((windows - center) / spread).astype(np.float32)
    with torch.inference_mode():
        _, error = network(torch.from_numpy(scaled))
    scale = error.double().mean(dim=(0, 1)).numpy()
    numbers = (np.array([number]) for number in (3.0, 0.0, 1.0))
    return Calibration((), center[None], spread[None], scale[None], *numbers)


class Ours:
    """A stream of the daemon, without its network thread."""

    def __init__(self, network: LstmAutoencoder, calibration: Calibration) -> None:
        runtime = OnnxRuntime(export(network))
        runtime.settle(WINDOW, SENSORS)
        self._raw: list[Floats] = []
        detector = Recorder(
            name="drawn",
            digest="0" * 64,
            created=0.0,
            sensors=NAMES,
            units=(None,) * SENSORS,
            grid=Grid(PERIOD, WINDOW),
            rule=Rule(),
            score="mean-square",
            tail=TAIL,
            calibration=calibration,
            runtime=runtime,
            heard=self._raw,
        )
        config = StreamConfig(name="plant", topic="plant/{asset}/telemetry", time="time")
        self.stream = Stream(config, AlertsConfig(), {None: detector})

    def play(self, messages: Sequence[Message], batch: int) -> float:
        """CPU microseconds a message."""
        began = time.process_time()
        for start in range(0, len(messages), batch):
            part = messages[start : start + batch]
            self.stream.take(part, part[-1].arrival + SECOND // 10)
        return (time.process_time() - began) / len(messages) * 1e6

    @property
    def scores(self) -> Floats:
        """All raw scores, shape (ticks, ASSETS), from that of tick WINDOW - 1 on."""
        together = np.concatenate(self._raw)
        return together[: len(together) // ASSETS * ASSETS].reshape(-1, ASSETS)


class Naive:
    """The script: one message after the other, a deque and a forward pass for each.

    Its loop steps an LSTMCell, the cheapest way to write it: nn.LSTM called for each step costs
    three times as much.
    """

    def __init__(self, network: LstmAutoencoder, calibration: Calibration) -> None:
        self._windows: dict[str, deque[Floats]] = {}
        self._calibration = calibration
        self._encoder, self._output = network.encoder, network.output
        self._cell = torch.nn.LSTMCell(SENSORS, HIDDEN)
        self._cell.load_state_dict(
            {
                name.removesuffix("_l0"): weight
                for name, weight in network.decoder.state_dict().items()
            }
        )

    def learn(self, messages: Sequence[Message]) -> None:
        """Take messages without scoring them."""
        for message in messages:
            self._window(message.topic, message.payload)

    def play(self, messages: Sequence[Message]) -> tuple[float, Floats]:
        """CPU microseconds a message, and the scores."""
        scores: list[float] = []
        began = time.process_time()
        for message in messages:
            window = self._window(message.topic, message.payload)
            if len(window) == WINDOW:
                scores.append(self._score(window))
        return (time.process_time() - began) / len(messages) * 1e6, np.array(scores)

    def _window(self, topic: str, payload: bytes) -> deque[Floats]:
        document = json.loads(payload)
        asset = topic.split("/")[1]
        window = self._windows.setdefault(asset, deque(maxlen=WINDOW))
        row = np.array([document[name] for name in NAMES])
        window.append((row - self._calibration.center[0]) / self._calibration.spread[0])
        return window

    def _score(self, window: deque[Floats]) -> float:
        scaled = torch.from_numpy(np.array(window, np.float32)[None])  # (1, L, m)
        with torch.inference_mode():
            _, (hidden, cell) = self._encoder(scaled)
            hidden, cell = hidden[0], cell[0]
            outputs = [self._output(hidden)]
            for _ in range(WINDOW - 1):
                hidden, cell = self._cell(outputs[-1], (hidden, cell))
                outputs.append(self._output(hidden))
            expected = torch.stack(outputs[::-1], dim=1)  # (1, L, m)
            error = (scaled - expected).square()[0, -TAIL:].double()
            recent = ((error[-1] + error.mean(dim=0)) / 2).numpy()
        known = self._calibration
        return float((recent / known.error_scale[0]).mean() / known.threshold[0])


def difference(ours: Floats, naive: dict[int, Floats]) -> float:
    """The largest relative difference of any score that both have given."""
    return max(
        float(np.max(np.abs(ours[tick - WINDOW + 1] / wanted - 1)))
        for tick, wanted in naive.items()
    )


# Where the time goes: (stage, its functions). What they call is taken off them.
STAGES: tuple[tuple[str, tuple[tuple[type[Any], str], ...]], ...] = (
    ("decode", ((Reader, "read"),)),
    ("frames and ring", ((Framer, "step"), (WindowRing, "push"), (WindowRing, "windows"))),
    ("network", ((OnnxRuntime, "__call__"),)),
    ("score", ((Recorder, "scale"), (Recorder, "score_windows"))),
    ("decision and alerts", ((Decision, "step"), (AlertBook, "step"))),
    ("the rest", ((Pipeline, "step"), (Stream, "take"))),
)


def profile(one: Ours, messages: Sequence[Message]) -> dict[str, float]:
    """CPU microseconds a message by stage, in batches of NATURAL."""
    one.play(messages[: WARM_UP * ASSETS], NATURAL)
    with timed() as spent:
        total = one.play(messages[WARM_UP * ASSETS :], NATURAL)
    count = len(messages) - WARM_UP * ASSETS
    return {
        **{stage: seconds / count * 1e6 for stage, seconds in spent.items()},
        "all, with the timers": total,
    }


@contextmanager
def timed() -> Generator[dict[str, float]]:
    """Time the functions of STAGES while inside."""
    spent = dict.fromkeys((stage for stage, _ in STAGES), 0.0)
    within: list[float] = [0.0]
    originals: list[tuple[type[Any], str, Any]] = []

    def wrapped(function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        def measured(*arguments: Any) -> Any:
            within.append(0.0)
            began = time.thread_time()
            try:
                return function(*arguments)
            finally:
                took = time.thread_time() - began
                spent[stage] += took - within.pop()
                within[-1] += took

        return measured

    for stage, functions in STAGES:
        for owner, name in functions:
            original = getattr(owner, name)
            originals.append((owner, name, owner.__dict__.get(name)))
            setattr(owner, name, wrapped(original, stage))
    try:
        yield spent
    finally:
        for owner, name, original in originals:
            if original is None:
                delattr(owner, name)
            else:
                setattr(owner, name, original)


def report(as_json: bool, costs: Costs, worst: float, stages: dict[str, float]) -> None:
    naive = np.array(costs.naive)
    rows = {batch: np.array(ours) for batch, ours in costs.ours.items()}
    ratios = {batch: naive / ours for batch, ours in rows.items()}
    if as_json:
        print(
            json.dumps(
                {
                    "workload": {
                        "assets": ASSETS,
                        "sensors": SENSORS,
                        "window": WINDOW,
                        "hidden": HIDDEN,
                    },
                    "python": platform.python_version(),
                    "machine": platform.machine(),
                    "unit": "CPU microseconds a message",
                    "naive": spread_of(naive),
                    "ours": {batch: spread_of(ours) for batch, ours in rows.items()},
                    "ratio": {batch: spread_of(ratio) for batch, ratio in ratios.items()},
                    "largest_difference": worst,
                    "goal": GOAL,
                    "stages": stages,
                },
                indent=1,
            )
        )
        return
    print(f"CPU µs from a message's bytes to its verdict, {ASSETS} machines of {SENSORS} sensors,")
    print(f"{WINDOW} frames, LSTM of {HIDDEN}; median (least–most) of {len(naive)} rounds\n")
    print(f"{'the script, message by message':32}{shown(naive, 0)}")
    for batch, ours in rows.items():
        print(
            f"{f'ours, {batch} at once':32}{shown(ours, 1)}   {shown(ratios[batch], 1)} times less"
        )
    median = float(np.median(ratios[NATURAL]))
    print(f"\ngoal: {GOAL:g} times less; {'reached' if median >= GOAL else 'MISSED'}")
    print(f"scores equal to {worst:.1e} relative\n\nours, {NATURAL} at once, by stage:")
    for stage, cost in stages.items():
        print(f"  {stage:22}{cost:8.2f}")


if __name__ == "__main__":
    main()
