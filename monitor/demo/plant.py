"""Simulated pumps worth watching: correlated sensors, normal load changes, faults on request."""

import csv
import gzip
import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import TextIOWrapper
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
FaultKind = Literal["drift", "spike", "broken correlation", "stuck"]


@dataclass(frozen=True, slots=True)
class Sensor:
    """One channel of a pump; low and high bound its usual range over all normal loads."""

    name: str
    unit: str
    decimals: int
    low: float
    high: float


SENSORS = (
    Sensor("speed", "rpm", 1, 1130.0, 1500.0),
    Sensor("flow", "l/min", 2, 71.0, 103.0),
    Sensor("pressure", "bar", 3, 2.2, 4.1),
    Sensor("current", "A", 3, 4.8, 9.0),
    Sensor("vibration", "mm/s", 3, 1.3, 2.9),
    Sensor("temperature", "°C", 2, 39.0, 57.0),
)
SENSOR_NAMES = tuple(sensor.name for sensor in SENSORS)
_SPEED, _VIBRATION = SENSOR_NAMES.index("speed"), SENSOR_NAMES.index("vibration")
ASSETS = tuple(f"p{number}" for number in range(1, 7))
RECORDING_START = datetime(2026, 1, 5, tzinfo=UTC)

_RATED_SPEED = 1500.0  # rpm
_SLOWEST, _FASTEST, _STAGE = 1180.0, 1440.0, 50.0  # rpm: setpoints, and one step between them
_SPEED_LAG = 12.0  # s, motor and drive
_FLOW_LAG = 3.0  # s, the water column
_THERMAL_LAG = 30.0  # s, the bearing housing
_CYCLE = 3600.0  # s, a day of plant demand, compressed
_NOISE = np.array([9.0, 1.2, 0.05, 0.14, 0.15, 0.3])  # in each sensor's own unit
_COLOURED = 0.3  # share of the noise that is slow turbulence, the rest is the sensor's own
_TURBULENCE = 0.5  # its memory from one second to the next

_DRIFT_PER_TICK = 0.004  # of the usual range
_DRIFT_TAIL = 20.0  # s in which a drifting sensor comes back when the pump is put right
_BURST_EVERY, _BURST_LENGTH, _BURST_HEIGHT = 8, 3, 1.3  # ticks, ticks, usual ranges
_BLOCKED_LEVEL, _COMPENSATED_LEVEL = 0.3, 0.75  # places in the usual range
_BLOCKING, _CLEARING = 15.0, 50.0  # s

_WARM_UP = 160  # ticks before the first fault: a full window, and time to see what normal is
_SHORTEST = 800  # ticks in which the four faults can still be told apart
_ROUND = 1600  # ticks; a demo twice as long has every fault twice
_ROTA = ("p2", "p5", "p3", "p6", "p1", "p4")
_CAST: tuple[tuple[FaultKind, str, float, int], ...] = (  # share of a round, and at most so long
    ("spike", "vibration", 0.09, 70),
    ("broken correlation", "flow", 0.17, 140),
    ("drift", "temperature", 0.25, 160),
    ("stuck", "vibration", 0.15, 90),
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of one pump over the ticks [start, end).

    ``drift`` lets the sensor creep away, ``spike`` strikes it with bursts. ``broken correlation``
    keeps it near the low end of its usual range while the drive, in want of flow, runs fast: a
    partial blockage, in which every single value stays usual. ``stuck`` repeats the first value.
    """

    kind: FaultKind
    asset: str
    sensor: str
    start: int
    end: int

    def __post_init__(self) -> None:
        """Refuse what the plant has not.

        Raises:
            ValueError: if asset, sensor or window make no sense.
        """
        if self.asset not in ASSETS:
            raise ValueError(f"fault: no asset {self.asset!r}; wanted one of {', '.join(ASSETS)}")
        if self.sensor not in SENSOR_NAMES:
            raise ValueError(
                f"fault: no sensor {self.sensor!r}; wanted one of {', '.join(SENSOR_NAMES)}"
            )
        if self.kind == "broken correlation" and self.sensor == "speed":
            raise ValueError("fault: speed cannot stop following speed; wanted another sensor")
        if not 0 <= self.start < self.end:
            raise ValueError(
                f"fault: window [{self.start}, {self.end}) is empty or before tick 0; "
                "wanted 0 <= start < end"
            )

    def active(self, tick: int) -> bool:
        """Whether the fault is in its pump at this tick."""
        return self.start <= tick < self.end


class Plant:
    """Six pumps that share a site: one tick is one second of plant time.

    Faults change nothing but their own pump in their own window (and what its bearing takes to
    cool down again), so two plants of one seed differ only by their faults.
    """

    def __init__(self, seed: int, faults: Sequence[Fault] = ()) -> None:
        """Build a plant at rest before tick 0.

        Args:
            seed: decides load changes and noise; the pumps themselves are always the same six.
            faults: what goes wrong, and when.
        """
        self._seed = seed
        self._faults = tuple(faults)
        # Manufacturing tolerances, at most a percent: the same machines in every plant.
        self._make = 1 + 0.004 * np.random.default_rng(1500).standard_normal((len(ASSETS), 3))
        self._rewind()

    def _rewind(self) -> None:
        count = len(ASSETS)
        self._random = np.random.default_rng(self._seed)
        # Apart from the noise, so that a load plan does not depend on how noise is drawn.
        self._plans = [np.random.default_rng((self._seed, pump)) for pump in range(count)]
        self._setpoint = np.array([plan.uniform(_SLOWEST, _FASTEST) for plan in self._plans])
        self._goal = self._setpoint.copy()
        self._slope = np.full(count, np.inf)  # rpm per s on the way to the goal
        self._next_change = np.array([int(plan.uniform(60, 240)) for plan in self._plans])
        self._turbulence = np.zeros((count, len(SENSORS)))
        self._speed = self._setpoint.copy()
        self._flow_speed = self._speed.copy()
        self._heat = (self._speed / _RATED_SPEED) ** 3
        self._stuck: dict[Fault, float] = {}  # what each repeats
        self._tick = -1
        self._row: Floats = np.empty((count, len(SENSORS)))

    def sample(self, tick: int) -> Floats:
        """What all sensors say at a tick, the same for whatever was asked before.

        Going forward costs one step a tick; going back starts again from tick 0.

        Returns:
            float64 of shape (assets, sensors), in the order of ASSETS and SENSORS, rounded as
            the sensors round.
        """
        if tick < 0:
            raise ValueError(f"tick {tick} is before the plant's start; wanted 0 or more")
        if tick < self._tick:
            self._rewind()
        while self._tick < tick:
            self._tick += 1
            self._row = self._step(self._tick)
        return self._row.copy()

    def _step(self, tick: int) -> Floats:
        self._change_loads(tick)
        self._speed += (self._wanted_speed(tick) - self._speed) / _SPEED_LAG
        self._flow_speed += (self._speed - self._flow_speed) / _FLOW_LAG
        load = self._speed / _RATED_SPEED
        power = load**3
        self._heat += (power - self._heat) / _THERMAL_LAG
        noise = self._noise()
        level = 0.006 * np.sin(2 * np.pi * tick / 2500.0)  # the suction tank fills and empties

        speed = self._speed
        flow = 100.0 * self._make[:, 0] * self._flow_speed / _RATED_SPEED
        pressure = 4.1 * (load**2 + level)
        current = 2.0 + 7.0 * self._make[:, 1] * power
        vibration = 0.9 + 1.5 * self._make[:, 2] * load**2
        temperature = 27.0 + 30.0 * self._heat
        noise[:, _VIBRATION] *= load  # a faster pump shakes less evenly
        clean = np.stack([speed, flow, pressure, current, vibration, temperature], axis=1)
        row = self._with_faults(tick, clean) + noise
        for column, sensor in enumerate(SENSORS):
            row[:, column] = np.round(row[:, column], sensor.decimals)
        for fault in self._faults:
            if fault.kind == "stuck" and fault.active(tick):
                at = ASSETS.index(fault.asset), SENSOR_NAMES.index(fault.sensor)
                row[at] = self._stuck.setdefault(fault, float(row[at]))
        return row

    def _change_loads(self, tick: int) -> None:
        for pump in np.flatnonzero(self._next_change <= tick):
            plan, before = self._plans[pump], self._setpoint[pump]
            if plan.random() < 0.5:
                # Steps are of one size: a few hours then hold the strangest of what is normal.
                up = before < _SLOWEST + _STAGE or (
                    before <= _FASTEST - _STAGE and plan.random() < 0.5
                )
                self._goal[pump] = before + (_STAGE if up else -_STAGE)
                self._slope[pump] = np.inf
            else:
                self._goal[pump] = plan.uniform(_SLOWEST, _FASTEST)
                self._slope[pump] = plan.uniform(0.8, 1.6)
            self._next_change[pump] = tick + int(plan.uniform(120, 300))
        way = self._goal - self._setpoint
        self._setpoint += np.clip(way, -self._slope, self._slope)

    def _wanted_speed(self, tick: int) -> Floats:
        wanted = self._setpoint + 25.0 * np.sin(2 * np.pi * tick / _CYCLE)
        speed = SENSORS[_SPEED]
        fast = speed.low + _COMPENSATED_LEVEL * (speed.high - speed.low)
        for fault in self._faults:
            if fault.kind == "broken correlation" and fault.active(tick):
                pump = ASSETS.index(fault.asset)
                wanted[pump] += _grip(fault, tick) * (fast - wanted[pump])
        return wanted

    def _noise(self) -> Floats:
        shape = (len(ASSETS), len(SENSORS))
        fresh = np.sqrt(1 - _TURBULENCE**2) * self._random.standard_normal(shape)
        self._turbulence = _TURBULENCE * self._turbulence + fresh
        own = self._random.standard_normal(shape)
        mixed = np.sqrt(_COLOURED) * self._turbulence + np.sqrt(1 - _COLOURED) * own
        return _NOISE * mixed

    def _with_faults(self, tick: int, clean: Floats) -> Floats:
        for fault in self._faults:
            if not fault.active(tick):
                continue
            pump, column = ASSETS.index(fault.asset), SENSOR_NAMES.index(fault.sensor)
            sensor, since = SENSORS[column], tick - fault.start
            usual = sensor.high - sensor.low
            if fault.kind == "drift":
                left = min(1.0, (fault.end - tick) / _DRIFT_TAIL)
                clean[pump, column] += _DRIFT_PER_TICK * usual * since * left
            elif fault.kind == "spike":
                if since % _BURST_EVERY < _BURST_LENGTH:
                    burst = np.random.default_rng((self._seed, pump, tick)).uniform(0.7, 1.3)
                    clean[pump, column] += _BURST_HEIGHT * usual * burst
            elif fault.kind == "broken correlation":
                blocked = sensor.low + _BLOCKED_LEVEL * usual
                clean[pump, column] += _grip(fault, tick) * (blocked - clean[pump, column])
        return clean


def _grip(fault: Fault, tick: int) -> float:
    """How far a blockage has closed, 0 to 1: it comes quickly and is cleared with care."""
    return min(1.0, (tick - fault.start) / _BLOCKING, (fault.end - tick) / _CLEARING)


def schedule(seconds: int) -> tuple[Fault, ...]:
    """The demo's faults, one pump at a time, with quiet time after each.

    Args:
        seconds: the demo's length in plant time, which is its number of ticks.

    Raises:
        ValueError: if the faults would not fit.
    """
    if seconds < _SHORTEST:
        raise ValueError(
            f"{seconds} s of plant time are too short for the demo's faults; "
            f"wanted at least {_SHORTEST} s"
        )
    rounds = max(1, seconds // _ROUND)
    body = (seconds - _WARM_UP) // rounds
    lengths = [min(int(share * body), longest) for _, _, share, longest in _CAST]
    quiet = (body - sum(lengths)) // len(_CAST)
    faults: list[Fault] = []
    tick = _WARM_UP
    for _ in range(rounds):
        for (kind, sensor, _, _), length in zip(_CAST, lengths, strict=True):
            asset = _ROTA[len(faults) % len(_ROTA)]
            faults.append(Fault(kind, asset, sensor, tick, tick + length))
            tick += length + quiet
    return tuple(faults)


def stamp(tick: int, start: datetime) -> str:
    """The event time of a tick, as ISO 8601 in UTC, where tick 0 is at start (a whole second)."""
    time = start.astimezone(UTC) + timedelta(seconds=tick)
    return time.isoformat(timespec="seconds").replace("+00:00", "Z")


def payload(row: Floats, time: str) -> bytes:
    """What one pump sends at a tick: a JSON object of its stamp and its sensors.

    Args:
        row: float64 of shape (sensors,), one row of Plant.sample.
        time: the tick's stamp.
    """
    values = zip(SENSOR_NAMES, row.tolist(), strict=True)
    return json.dumps({"time": time, **dict(values)}, separators=(",", ":")).encode()


def write_recording(path: Path, ticks: int, faults: Sequence[Fault] = (), *, seed: int = 1) -> None:
    """Write what all pumps say as a recording: timestamp, asset, sensors, label.

    Equal arguments give equal bytes. A path that ends in ``.gz`` is compressed.
    """
    plant = Plant(seed, faults)
    with ExitStack() as files:
        raw = files.enter_context(path.open("wb"))
        out = raw
        if path.suffix == ".gz":
            out = files.enter_context(gzip.GzipFile("", "wb", fileobj=raw, mtime=0))
        text = files.enter_context(TextIOWrapper(out, encoding="utf-8", newline=""))
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(["timestamp", "asset", *SENSOR_NAMES, "label"])
        for tick in range(ticks):
            time = stamp(tick, RECORDING_START)
            for asset, row in zip(ASSETS, plant.sample(tick).tolist(), strict=True):
                label = any(fault.asset == asset and fault.active(tick) for fault in faults)
                rows.writerow([time, asset, *row, int(label)])


if __name__ == "__main__":
    write_recording(Path(sys.argv[1]), 8 * 3600)
