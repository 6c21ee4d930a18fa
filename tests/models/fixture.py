"""A pump whose sensors hang together by its speed, but not linearly, and five kinds of fault.

By the affinity laws flow grows with the speed, pressure with its square and power with its cube;
temperatures follow late, and vibration has a resonance. In normal operation the speed changes all
the time, so that a level alone is never strange, only how the sensors fit together.
"""

from dataclasses import dataclass
from typing import Final, cast

import numpy as np
from scipy import signal

from models.frame import SECOND, Codes, Floats

PERIOD: Final = 60 * SECOND
NAMES: Final = ("speed", "flow", "pressure", "power", "motor", "drive", "free", "vibration")
NOISE: Final = np.array([0.7, 0.8, 0.05, 0.4, 0.4, 0.3, 0.2, 0.05])
KINDS: Final = ("spike", "step", "drift", "stuck", "swap")
# Of a sensor that lies, in units of its deviation in normal operation.
SPIKE, STEP, DRIFT = 5.0, 1.0, 3.0
PROMPT: Final = (0, 1, 2, 3, 7)  # sensors that follow the speed at once: stuck, they show
TWINS: Final = (5, 6)  # the bearings' temperatures, whose cables can be swapped
EVERY, LASTING = 360, 120  # frames from fault to fault, and of a fault


@dataclass(frozen=True, slots=True)
class Fault:
    """Frames [start, end) in which a sensor, or the pair of twins, does not tell the truth."""

    kind: str
    sensor: int
    start: int
    end: int


def normal(rows: int, seed: int) -> Floats:
    """Normal operation, shape (rows, 8)."""
    random = np.random.default_rng(seed)
    return _measured(_setpoint(rows, random), random)


def faulty(each: int, seed: int) -> tuple[Floats, Codes, list[Fault]]:
    """Operation with some faults of every kind, each where the speed changes.

    Returns:
        Values (rows, 8), labels (rows,) and the faults in order of time.
    """
    random = np.random.default_rng(seed)
    kinds: list[str] = random.permutation(np.repeat(KINDS, each)).tolist()
    starts = [EVERY * number for number in range(1, len(kinds) + 1)]
    setpoint = _setpoint(EVERY * (len(kinds) + 1), random)
    for start in starts:
        level = setpoint[start - 1]
        setpoint[start : start + LASTING // 2] = level + (0.35 if level < 0.65 else -0.35)
    values = _measured(setpoint, random)
    deviation = values.std(axis=0)
    label = np.zeros(len(values), np.uint8)
    faults: list[Fault] = []
    for kind, start in zip(kinds, starts, strict=True):
        sensor = int(random.choice(PROMPT if kind == "stuck" else len(NAMES)))
        fault = Fault(kind, sensor, start, start + (3 if kind == "spike" else LASTING))
        _lie(values, fault, random.choice([-1, 1]) * deviation[sensor])
        label[fault.start : fault.end] = 1
        faults.append(fault)
    return values, label, faults


def _lie(values: Floats, fault: Fault, unit: float) -> None:
    part = values[fault.start : fault.end]
    match fault.kind:
        case "spike":
            part[:, fault.sensor] += SPIKE * unit
        case "step":
            part[:, fault.sensor] += STEP * unit
        case "drift":
            part[:, fault.sensor] += DRIFT * unit * np.linspace(0, 2, len(part)).clip(max=1)
        case "stuck":
            part[:, fault.sensor] = values[fault.start - 1, fault.sensor]
        case _:
            part[:, TWINS] = part[:, TWINS[::-1]]


def _setpoint(rows: int, random: np.random.Generator) -> Floats:
    """Speeds from 0.3 to 1, each for half an hour to three hours, shape (rows,)."""
    dwell = random.integers(30, 180, size=rows // 30 + 1)
    return np.repeat(random.uniform(0.3, 1.0, size=len(dwell)), dwell)[:rows]


def _measured(setpoint: Floats, random: np.random.Generator) -> Floats:
    """What the sensors read while the speed follows its set point (rows,), shape (rows, 8)."""
    speed = _late(setpoint, 4)
    day = 2 * np.pi * np.arange(len(speed)) / 1440
    outside = 20 + 3 * np.sin(day + random.uniform(0, 2 * np.pi))
    power = 1 + 40 * speed**3
    resonance = np.exp(-(((speed - 0.6) / 0.06) ** 2))
    truth = (
        100 * speed,
        120 * speed,
        6 * speed**2,
        power,
        outside + _late(power, 30),
        outside + _late(32 * speed**2, 15),
        outside + _late(32 * speed, 15),
        0.5 + 3 * speed**2 + 2.5 * resonance,
    )
    return np.column_stack(truth) + NOISE * random.normal(size=(len(speed), len(truth)))


def _late(of: Floats, minutes: float) -> Floats:
    """What follows with a time constant, shape (rows,)."""
    share = 1 / minutes
    late, _ = signal.lfilter([share], [1, share - 1], of, zi=[(1 - share) * of[0]])
    return cast(Floats, late)
