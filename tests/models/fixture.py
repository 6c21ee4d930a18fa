"""A pump behind a valve, whose sensors hang together but not linearly, and five kinds of fault.

Flow grows with the speed, pressure with its square and power with its cube (the affinity laws); how
far the valve is open bends all three, temperatures follow late, vibration has a resonance. In
normal operation speed and valve change all the time, so that a level alone is never strange, only
how the sensors fit together.
"""

from dataclasses import dataclass
from typing import Final, cast

import numpy as np
from scipy import signal

from models.frame import SECOND, Codes, Floats

PERIOD: Final = 60 * SECOND
NAMES: Final = ("speed", "flow", "pressure", "power", "motor", "drive", "free", "vibration")
NOISE: Final = np.array([0.7, 1.0, 0.06, 0.4, 0.3, 0.3, 0.3, 0.06])
KINDS: Final = ("spike", "step", "drift", "stuck", "swap")
# In units of the sensor's deviation in normal operation.
SPIKE, STEP, DRIFT = 5.0, 1.5, 3.0
PROMPT: Final = (0, 1, 2, 3, 7)  # sensors that follow the load at once: stuck, they show
TWINS: Final = (5, 6)  # the bearings' temperatures, whose cables can be swapped
EVERY, LASTING = 240, 60  # frames from fault to fault, and of a fault


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
    return _measured(_levels(rows, random), _levels(rows, random), random)


def faulty(each: int, seed: int) -> tuple[Floats, Codes, list[Fault]]:
    """Operation with some faults of every kind, where the speed changes.

    Returns:
        Values (rows, 8), labels (rows,) and the faults in order of time.
    """
    random = np.random.default_rng(seed)
    kinds: list[str] = random.permutation(np.repeat(KINDS, each)).tolist()
    rows = (len(kinds) + 1) * EVERY
    speed = _levels(rows, random)
    for start in range(EVERY, rows, EVERY):
        level = speed[start - 1]
        speed[start : start + LASTING] = level + (0.35 if level < 0.65 else -0.35)
    values = _measured(speed, _levels(rows, random), random)
    deviation = values.std(axis=0)
    label = np.zeros(rows, np.uint8)
    faults: list[Fault] = []
    for kind, start in zip(kinds, range(EVERY, rows, EVERY), strict=True):
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
            part[:, fault.sensor] += np.linspace(0, DRIFT * unit, len(part))
        case "stuck":
            part[:, fault.sensor] = values[fault.start - 1, fault.sensor]
        case _:
            part[:, TWINS] = part[:, TWINS[::-1]]


def _levels(rows: int, random: np.random.Generator) -> Floats:
    """Set points from 0.3 to 1, each for 20 to 90 minutes, shape (rows,)."""
    dwell = random.integers(20, 90, size=rows // 20 + 1)
    return np.repeat(random.uniform(0.3, 1.0, size=len(dwell)), dwell)[:rows]


def _measured(speed: Floats, valve: Floats, random: np.random.Generator) -> Floats:
    """What the sensors read for set points of speed and valve, all of shape (rows,)."""
    speed, valve = _late(speed, 4), _late(valve, 4)
    day = 2 * np.pi * np.arange(len(speed)) / 1440
    outside = 20 + 3 * np.sin(day + random.uniform(0, 2 * np.pi))
    through = valve / np.sqrt(1 + valve**2)  # flow at full speed, of a valve that throttles it
    power = 1 + 40 * speed**3 * (0.4 + 0.8 * through)
    truth = (
        100 * speed,
        140 * speed * through,
        6 * speed**2 * (1.2 - through**2),
        power,
        outside + _late(power, 20),
        outside + _late(32 * speed**2, 10),
        outside + _late(28 * speed * through, 10),
        0.5 + 2 * speed**2 + 2 * np.exp(-(((speed - 0.6) / 0.06) ** 2)) + 2 * (0.7 - through) ** 2,
    )
    return np.column_stack(truth) + NOISE * random.normal(size=(len(speed), len(truth)))


def _late(of: Floats, minutes: float) -> Floats:
    """What follows with a time constant, shape (rows,)."""
    share = 1 / minutes
    late, _ = signal.lfilter([share], [1, share - 1], of, zi=[(1 - share) * of[0]])
    return cast(Floats, late)
