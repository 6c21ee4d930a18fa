"""What a detector finds: faults put into normal stretches, scored and decided as the daemon would.

Plants have no labels; the smallest step that is found, in a sensor's own unit, is their proof.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from models.decision import Decision
from models.detector import Detector
from models.frame import SECOND, Bools, Floats, Ints
from models.manifest import FaultSpec, SensitivitySpec
from models.probes import LEAST_MOVE, LEAST_SWAP, differences
from models.stretches import Stretches, lead

LEAST_STEP, MOST_STEP, HALVINGS = 2.0**-6, 2.0**6, 7  # spreads; found to within 7 %
PASSES = 1 + HALVINGS + 4  # the largest step, the search, and the four faults
FOUND = 0.9  # share of the stretches in which a step must be found
DRIFT = 2.0  # spreads, at the end of a stretch
MOST_CELLS, FEWEST_STRETCHES = 1 << 14, 2  # of a window of each stretch: many sensors, fewer
TOGETHER, FRAMES = 64, 16  # cases, and windows of each, scored at once


# Frames from the last normal one on (k, m), changed in place; the sensor; the size in its unit.
Fault = Callable[[Floats, int, float], None]


def step(frames: Floats, sensor: int, size: float) -> None:
    """Another level."""
    frames[1:, sensor] += size


def stuck(frames: Floats, sensor: int, size: float) -> None:
    """The last normal value for ever."""
    del size
    frames[1:, sensor] = frames[0, sensor]


def drift(frames: Floats, sensor: int, size: float) -> None:
    """Away by the size until the end."""
    frames[:, sensor] += np.linspace(0, size, len(frames))


def swap(partner: Ints) -> Fault:
    """Exchanged with its partner, as two wires are."""

    def fault(frames: Floats, sensor: int, size: float) -> None:
        del size
        pair = [sensor, int(partner[sensor])]
        frames[1:, pair] = frames[1:, pair[::-1]]

    return fault


@dataclass(frozen=True, slots=True)
class Bench:
    """Normal stretches in which nothing is found, ready to take faults.

    Args:
        values: in the sensors' units, shape (stretches, frames, m).
        row: of the calibration, shape (stretches,).
        before: scores of the windows before a fault, shape (stretches, windows).
        onset: first frame of a fault.
        alarmed: stretches that were left out because something is found in them.
        passed: called after each pass over all sensors and stretches, PASSES times in all.
    """

    detector: Detector
    values: Floats
    row: Ints
    before: Floats
    onset: int
    alarmed: int
    passed: Callable[[], None]

    @property
    def spread(self) -> Floats:
        """Of the sensors in each stretch, shape (stretches, m)."""
        return self.detector.calibration.spread[self.row]

    @property
    def length(self) -> int:
        """Frames from the onset to the end of a stretch."""
        return self.values.shape[1] - self.onset

    def delays(self, fault: Fault, size: Floats, frames: int) -> Ints:
        """Frames from a fault's start to the first frame in alert; -1 without one.

        Args:
            size: of the fault in each sensor and stretch, in spreads, shape (m, stretches).
            frames: that the fault is followed for.
        """
        stretches = len(self.row)
        sensor, stretch = np.divmod(np.arange(size.size), stretches)
        # Every other stretch steps down.
        in_unit = (size * self.spread.T * np.where(np.arange(stretches) % 2, -1, 1)).ravel()
        found = np.full(size.size, -1)
        for start in range(0, size.size, TOGETHER):
            cases = range(start, min(start + TOGETHER, size.size))
            faulty = self.values[stretch[start : start + TOGETHER]]
            for index, case in enumerate(cases):
                fault(faulty[index, self.onset - 1 :], int(sensor[case]), in_unit[case])
            found[start : start + TOGETHER] = self._first_alert(
                faulty[:, : self.onset + frames], stretch[start : start + TOGETHER]
            )
        self.passed()
        return found.reshape(size.shape)

    def _first_alert(self, faulty: Floats, stretch: Ints) -> Ints:
        """Frames from the onset to the first one in alert, of some cases (cases, frames, m)."""
        detector, length = self.detector, self.detector.grid.window
        frames = detector.scale(faulty, self.row[stretch])
        decision = Decision(detector.rule)
        waiting = np.arange(len(stretch))
        decide(decision, waiting, 0, self.before[stretch])
        found = np.full(len(stretch), -1)
        for first in range(self.onset, frames.shape[1], FRAMES):
            ends = np.arange(first, min(first + FRAMES, frames.shape[1]))
            windows = frames[waiting[:, None, None], ends[:, None] + np.arange(1 - length, 1)]
            rows = np.repeat(self.row[stretch[waiting]], len(ends))
            raw = detector.score_windows(windows.reshape(-1, *windows.shape[2:]), rows).raw
            alert = decide(decision, waiting, first, raw.reshape(-1, len(ends)))
            hit = alert.any(axis=1)
            found[waiting[hit]] = first - self.onset + alert[hit].argmax(axis=1)
            waiting = waiting[~hit]
            if not len(waiting):
                break
        return found


def decide(decision: Decision, cases: Ints, first: int, raw: Floats) -> Bools:
    """Whether the verdict is open, of scores (cases, frames) that follow those before."""
    frames: int = raw.shape[1]
    verdicts = decision.step(
        np.repeat(cases, frames),
        np.tile(first + np.arange(frames), len(cases)),
        raw.ravel(),
        np.zeros(raw.size, bool),
    )
    return verdicts.anomalous.reshape(raw.shape)


def bench_of(detector: Detector, sample: Stretches, passed: Callable[[], None]) -> Bench:
    """The stretches in which the detector finds nothing as they are."""
    length, before = detector.grid.window, lead(detector.rule)
    frames = detector.scale(sample.values, sample.row)
    stretches, raw = len(sample.row), np.empty_like(sample.raw)
    for first in range(0, raw.shape[1], FRAMES):
        starts = np.arange(first, min(first + FRAMES, raw.shape[1]))
        windows = frames[:, starts[:, None] + np.arange(length)]  # (stretches, starts, L, m)
        rows = np.repeat(sample.row, len(starts))
        scores = detector.score_windows(windows.reshape(-1, *windows.shape[2:]), rows)
        raw[:, starts] = scores.raw.reshape(stretches, -1)
    quiet = ~decide(Decision(detector.rule), np.arange(stretches), 0, raw).any(axis=1)
    kept = np.flatnonzero(quiet)
    most = max(FEWEST_STRETCHES, MOST_CELLS // (length * len(detector.sensors)))
    if len(kept) > most:
        kept = kept[np.linspace(0, len(kept) - 1, most).astype(np.int64)]
    return Bench(
        detector,
        sample.values[kept],
        sample.row[kept],
        raw[kept, :before],
        length - 1 + before,
        int((~quiet).sum()),
        passed,
    )


def sensitivity(bench: Bench) -> list[SensitivitySpec]:
    """What is found in each sensor; empty where every stretch is in alert as it is."""
    if not len(bench.row):
        return []
    names, period = bench.detector.sensors, bench.detector.grid.period
    usual = np.ones((len(names), len(bench.row)))
    smallest = np.quantile(smallest_steps(bench), FOUND, axis=1, method="higher")
    partner = partners(bench)
    moves = (bench.values.std(axis=1) / bench.spread).mean(axis=0) >= LEAST_MOVE
    half = bench.length // 2
    stepped = bench.delays(step, usual * np.minimum(smallest, MOST_STEP)[:, None], half)
    drifted = bench.delays(drift, usual * DRIFT, bench.length)
    stopped = bench.delays(stuck, usual, bench.length)
    swapped = bench.delays(swap(partner), usual, bench.length)

    def outcome(delays: Ints) -> FaultSpec:
        hits = delays[delays >= 0]
        delay = float(np.median(hits)) * period / SECOND if len(hits) else None
        return FaultSpec(found=len(hits), of=len(delays), delay_s=delay)

    found: list[SensitivitySpec] = []
    for sensor, name in enumerate(names):
        size, unit = float(smallest[sensor]), float(bench.spread[:, sensor].mean())
        is_found, is_twin = np.isfinite(size), partner[sensor] == sensor
        found.append(
            SensitivitySpec(
                sensor=name,
                smallest_step=_short(size * unit) if is_found else None,
                in_spreads=_short(size) if is_found else None,
                step=outcome(stepped[sensor]) if is_found else None,
                drift=outcome(drifted[sensor]),
                stuck=outcome(stopped[sensor]) if moves[sensor] else None,
                swap=None if is_twin else outcome(swapped[sensor]),
                swapped_with=None if is_twin else names[int(partner[sensor])],
            )
        )
    return found


def smallest_steps(bench: Bench) -> Floats:
    """Of each sensor in each stretch (m, stretches), in spreads; infinite where none is found."""
    shape = (len(bench.detector.sensors), len(bench.row))
    low, high = np.full(shape, LEAST_STEP), np.full(shape, MOST_STEP)
    never = bench.delays(step, high, bench.length // 2) < 0
    for _ in range(HALVINGS):
        middle = np.sqrt(low * high)
        hit = bench.delays(step, middle, bench.length // 2) >= 0
        low, high = np.where(hit, low, middle), np.where(hit, middle, high)
    return np.where(never, np.inf, high)


def partners(bench: Bench) -> Ints:
    """The sensor most like each that is no twin, in the sensors' units; itself without one."""
    spread = bench.spread.mean(axis=0)
    apart = differences(bench.values.reshape(-1, len(spread)))
    apart = apart / np.minimum(spread[:, None], spread)
    apart[apart < LEAST_SWAP] = np.inf
    nearest = apart.argmin(axis=1)
    sensor = np.arange(len(spread))
    return np.where(np.isfinite(apart[sensor, nearest]), nearest, sensor)


def _short(number: float) -> float:
    """Three digits: more than a step is found to."""
    return float(f"{number:.3g}")
