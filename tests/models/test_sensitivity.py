"""Faults put into normal stretches: what is found, how large and how soon."""

from dataclasses import replace

import numpy as np
import pytest

from models.decision import Rule
from models.detector import Calibration, Detector
from models.evaluation import score_recordings
from models.frame import SECOND, Float32s, Floats, Grid
from models.manifest import SensitivitySpec
from models.runtime import Outputs
from models.sensitivity import MOST_STEP, PASSES, bench_of, sensitivity
from models.stretches import Stretches
from tests.models.plant import START, recording

WINDOW, TAIL = 16, 8
LEAD = 9  # of the default rule
FRAMES = WINDOW - 1 + LEAD + 64


def zero(windows: Float32s) -> Outputs:
    """Expects the center, whatever comes."""
    return Outputs(np.zeros_like(windows), np.square(windows))


def detector(
    sensors: int, threshold: float, *, center: Floats | float = 0.0, spread: Floats | float = 1.0
) -> Detector:
    ones = np.ones((1, sensors))
    return Detector(
        "plant",
        "",
        0.0,
        tuple(f"s{sensor}" for sensor in range(sensors)),
        (None,) * sensors,
        Grid(2 * SECOND, WINDOW),
        Rule(),
        "mean-square",
        TAIL,
        Calibration(
            (),
            center * ones,
            spread * ones,
            ones,
            np.array([threshold]),
            np.zeros(1),
            np.zeros(1),
        ),
        zero,
    )


def sample(values: Floats) -> Stretches:
    stretches, frames, _ = values.shape
    raw = np.zeros((stretches, frames - WINDOW + 1))
    return Stretches(values, raw, np.zeros(stretches, np.int64))


def found(by: Detector, values: Floats) -> list[SensitivitySpec]:
    return sensitivity(bench_of(by, sample(values), lambda: None))


def square_wave(sensors: int, stretches: int = 4) -> Floats:
    """1, -1, 1, -1 …: its mean square is 1, and that of a step d added to it 1 + d²."""
    wave = np.where(np.arange(FRAMES) % 2, -1.0, 1.0)
    return np.tile(wave[:, None], (stretches, 1, sensors))


def still(sensors: int, stretches: int = 4) -> Floats:
    """All sensors at their center: a step d in one of them scores d²/m."""
    return np.zeros((stretches, FRAMES, sensors))


@pytest.mark.parametrize(("sensors", "threshold"), [(1, 1.5), (1, 5.0), (3, 1.2)])
def test_the_smallest_step_is_the_one_whose_square_reaches_the_threshold(
    sensors: int, threshold: float
) -> None:
    wanted = np.sqrt(sensors * threshold)

    for one in found(detector(sensors, threshold), still(sensors)):
        assert one.in_spreads is not None
        assert wanted <= one.in_spreads <= 1.07 * wanted


def test_a_fault_is_found_at_the_frame_at_which_scoring_the_whole_recording_finds_it() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2, FRAMES, 2))
    by = detector(2, 2.6)

    spec = found(by, values)[0]

    assert spec.step is not None
    assert spec.in_spreads is not None
    onset, delays = WINDOW - 1 + LEAD, list[int]()
    for stretch, sign in zip(values, (1, -1), strict=True):
        faulty = stretch.copy()
        faulty[onset:, 0] += sign * spec.in_spreads
        time = START + np.arange(FRAMES) * 2 * SECOND
        (scores,) = score_recordings(by, [recording(faulty, names=by.sensors, time=time)])
        delays.append(int(np.flatnonzero(scores.verdicts.anomalous)[0]) - onset)
    assert spec.step.found == spec.step.of == 2
    assert spec.step.delay_s == pytest.approx(2 * np.median(delays), rel=0.02)


def test_units_change_the_step_in_units_and_nothing_else() -> None:
    values = np.random.default_rng(1).normal(size=(4, FRAMES, 2))
    scale, shift = np.array([1000.0, 0.01]), np.array([273.0, -5.0])

    plain = found(detector(2, 2.6), values)
    other = found(detector(2, 2.6, center=shift, spread=scale), values * scale + shift)

    for one, same, unit in zip(plain, other, scale, strict=True):
        assert one.smallest_step is not None
        assert same.smallest_step == pytest.approx(unit * one.smallest_step, rel=5e-3)
        # In units, wires are exchanged between another level and another spread.
        hidden = {"smallest_step": None, "swap": None, "swapped_with": None}
        assert one.model_copy(update=hidden) == same.model_copy(update=hidden)


def test_every_other_stretch_steps_down() -> None:
    # One sensor beyond its threshold when it is over, far from it when it is under the center.
    values = square_wave(1, stretches=2) + 1.0
    by = detector(1, 4.0)

    (one,) = found(by, values)

    # 2 + 2d + d² > 4 up; 2 - 2d + d² > 4 down: both must be found.
    assert one.in_spreads == pytest.approx(1 + np.sqrt(3), rel=0.07)


def test_a_step_must_be_found_in_nine_of_ten_stretches_and_no_fault_in_all() -> None:
    values = square_wave(1, stretches=8)
    values[:3] *= 0.5

    (one,) = found(detector(1, 2.0), values)

    # The calmer three need sqrt(2 - 1/4).
    assert one.in_spreads == pytest.approx(np.sqrt(1.75), rel=0.07)
    assert one.step is not None
    assert (one.step.found, one.step.of) == (8, 8)


def test_what_is_never_found_is_none() -> None:
    (one,) = found(detector(1, 1.1 * MOST_STEP**2), square_wave(1))

    assert (one.smallest_step, one.in_spreads, one.step) == (None, None, None)
    assert (one.drift.found, one.drift.of, one.drift.delay_s) == (0, 4, None)


def test_drift_is_two_spreads_until_the_end_and_stuck_is_the_last_normal_value() -> None:
    values = 0.5 * square_wave(1)
    values[:, WINDOW - 2 + LEAD] = 3.0

    (one,) = found(detector(1, 2.0), values)

    # Two spreads squared pass 2 - 1/4 after two thirds of 64 frames of two seconds.
    assert one.drift.delay_s is not None
    assert 2 * 64 * np.sqrt(1.75) / 2 < one.drift.delay_s < 2 * 64 * 0.8
    # Stuck at 3, the mean of 8 squares passes 2 after two frames, and three times after some more.
    assert one.stuck is not None
    assert one.stuck.found == 4
    assert one.stuck.delay_s is not None
    assert one.stuck.delay_s <= 2 * 8


def test_sensors_are_exchanged_in_their_units_with_the_one_most_like_them() -> None:
    rng = np.random.default_rng(0)
    values = 0.1 * rng.normal(size=(4, FRAMES, 4)) + [0, 0.05, 5, 100]
    by = detector(4, 2.5, center=np.array([0, 0.05, 5, 100]), spread=0.1)

    specs = found(by, values)

    assert [spec.swapped_with for spec in specs] == ["s1", "s0", "s1", "s2"]
    assert all(spec.swap is not None and spec.swap.found == 4 for spec in specs[2:])


def test_what_a_fault_does_not_change_is_not_applicable() -> None:
    rng = np.random.default_rng(0)
    one = rng.normal(size=(4, FRAMES))
    values = np.stack((one, one + 0.1, np.full_like(one, 0.2)), axis=2)

    specs = found(detector(3, 2.0), values)

    assert [spec.stuck is None for spec in specs] == [False, False, True]
    assert [spec.swapped_with for spec in specs[:2]] == ["s2", "s2"]
    assert [spec.swap for spec in found(detector(2, 2.6), values[..., :2])] == [None, None]
    assert [spec.swap for spec in found(detector(1, 2.6), values[..., :1])] == [None]


def test_stretches_in_alert_as_they_are_take_no_fault_and_are_counted() -> None:
    values = square_wave(1)
    values[1, 40:60] += 3

    bench = bench_of(detector(1, 2.0), sample(values), lambda: None)
    (one,) = sensitivity(bench)

    assert bench.alarmed == 1
    assert one.drift.of == 3
    everywhere = bench_of(detector(1, 2.0), sample(values + 3), lambda: None)
    assert (everywhere.alarmed, sensitivity(everywhere)) == (4, [])


def test_with_many_sensors_fewer_stretches_are_used_but_two() -> None:
    used = [
        len(bench_of(detector(m, 9.0), sample(square_wave(m, 8)), lambda: None).row)
        for m in (100, 250, 1000)
    ]

    assert used == [8, 4, 2]


def test_every_pass_is_told_and_windows_of_faults_that_are_found_are_not_scored_further() -> None:
    passes, windows = list[None](), list[int]()

    def counted(given: Float32s) -> Outputs:
        windows.append(len(given))
        return zero(given)

    by = replace(detector(2, 0.5), runtime=counted)
    bench = bench_of(by, sample(still(2)), lambda: passes.append(None))
    windows.clear()
    sensitivity(bench)

    assert len(passes) == PASSES
    everything = ((PASSES - 3) * 32 + 3 * 64) * len(bench.row) * 2
    assert sum(windows) < 0.75 * everything
