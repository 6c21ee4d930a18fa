"""What a window costs in every family, beside `lstm`, on ONNX Runtime and in torch.

`scripts/bench families` scores batches of 64 windows of drawn networks with their default sizes on
one thread: what the weights are does not change what they cost. Families take turns in every round,
so that a machine with other work slows all of them. The goal is for `transformer` alone: half of
what `lstm` costs from 128 frames on.
"""

import argparse
import json
import time

import numpy as np
import torch

from models.families import FAMILIES
from models.frame import Floats
from models.packing import export
from models.runtime import MICRO_BATCH, OnnxRuntime, Runtime, TorchRuntime

SENSORS = 8
WINDOWS = (32, 64, 128, 256)
LONG = 128
GOAL = 2.0
Costs = dict[tuple[str, str, int], Floats]  # runtime, family, frames → CPU µs a window, by round


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    costs: Costs = {}
    for window in WINDOWS:
        costs |= measured(window, arguments.rounds)
    ratios = {key: costs[key[0], "lstm", key[2]] / cost for key, cost in costs.items()}
    if arguments.json:
        print(json.dumps([as_row(key, costs[key], ratios[key]) for key in costs], indent=1))
    else:
        report(costs, ratios, arguments.rounds)


def measured(window: int, rounds: int) -> Costs:
    """CPU microseconds a window, one number a round, of every family and runtime."""
    given = np.random.default_rng(0).normal(size=(MICRO_BATCH, window, SENSORS)).astype(np.float32)
    runtimes: dict[tuple[str, str, int], Runtime] = {}
    for family, build in FAMILIES.items():
        network = build(window, SENSORS)
        network.initialise(torch.Generator().manual_seed(0))
        network.prepare(torch.from_numpy(given))
        runtimes["ONNX Runtime", family, window] = OnnxRuntime(export(network))
        runtimes["torch", family, window] = TorchRuntime(network)
    spent: dict[tuple[str, str, int], list[float]] = {key: [] for key in runtimes}
    for _ in range(rounds + 1):  # the first warms up
        for key, run in runtimes.items():
            began = time.process_time()
            run(given)
            spent[key].append((time.process_time() - began) / MICRO_BATCH * 1e6)
    return {key: np.array(each[1:]) for key, each in spent.items()}


def as_row(key: tuple[str, str, int], cost: Floats, ratio: Floats) -> dict[str, str | float]:
    runtime, family, window = key
    return {
        "runtime": runtime,
        "family": family,
        "window": window,
        "sensors": SENSORS,
        "cpu_us_a_window": float(np.median(cost)),
        "times_less_than_lstm": float(np.median(ratio)),
    }


def report(costs: Costs, ratios: Costs, rounds: int) -> None:
    print(f"CPU µs a window of {SENSORS} sensors in batches of {MICRO_BATCH}, one thread, and how")
    print(f"many times less than lstm; medians of {rounds} rounds\n")
    for runtime in ("ONNX Runtime", "torch"):
        print(f"{runtime:14}" + "".join(f"{f'{window} frames':>18}" for window in WINDOWS))
        for family in FAMILIES:
            keys = [(runtime, family, window) for window in WINDOWS]
            cells = (f"{np.median(costs[k]):9.1f} ({np.median(ratios[k]):.2f}×)" for k in keys)
            print(f"  {family:12}" + "".join(f"{cell:>18}" for cell in cells))
        print()
    least = min(
        float(np.median(ratio))
        for (_, family, window), ratio in ratios.items()
        if family == "transformer" and window >= LONG
    )
    verdict = "reached" if least >= GOAL else "MISSED"
    print(f"goal: transformer {GOAL:g} times less from {LONG} frames on; {least:.2f}, {verdict}")


if __name__ == "__main__":
    main()
