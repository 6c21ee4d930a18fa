"""Probes: windows made of normal ones, and when they say something about the data."""

import numpy as np
import pytest

from models.decision import Rule
from models.detector import Calibration, Detector
from models.frame import SECOND, Float32s, Floats, Grid
from models.manifest import ProbeSpec
from models.probes import PROBES, Normal, auc, normal_windows, partners, probe, rebuilt
from models.references import nearest_window, neighbouring_frames
from models.runtime import Outputs, Runtime

WINDOW = 16


def zero(windows: Float32s) -> Outputs:
    """Expects the center, whatever comes."""
    return Outputs(np.zeros_like(windows), np.square(windows))


def identity(windows: Float32s) -> Outputs:
    """Rebuilds anything, up to rounding."""
    expected = windows * np.float32(1 + 1e-6)
    return Outputs(expected, np.square(windows - expected))


def detector(runtime: Runtime, sensors: int) -> Detector:
    ones = np.ones((1, sensors))
    return Detector(
        "plant",
        "",
        0.0,
        tuple(f"s{sensor}" for sensor in range(sensors)),
        (None,) * sensors,
        Grid(SECOND, WINDOW),
        Rule(),
        "mean-square",
        WINDOW,
        Calibration((), 0 * ones, ones, ones, np.ones(1), np.zeros(1), np.zeros(1)),
        runtime,
    )


def probed(numbers: Floats, runtime: Runtime = zero) -> dict[str, ProbeSpec]:
    """The probes of eight stretches of some scaled data."""
    return probe(detector(runtime, numbers.shape[1]), of(numbers, runtime))


def of(numbers: Floats, runtime: Runtime = zero) -> Normal:
    sensors = numbers.shape[1]
    frames = numbers.astype(np.float32).reshape(8, -1, sensors)
    ends = frames.shape[1] - WINDOW + 1
    windows = frames[:, np.arange(ends)[:, None] + np.arange(WINDOW)]
    raw = detector(runtime, sensors).score_windows(windows.reshape(-1, WINDOW, sensors)).raw
    return normal_windows(frames, raw.reshape(8, ends), np.zeros(8, np.int64))


def noise(sensors: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(size=(800, sensors))


SECONDS = np.arange(800)
WAVES = np.sqrt(2) * np.column_stack((np.sin(SECONDS / 9), np.cos(SECONDS / 4)))
SAW = (SECONDS / 25 % 1 - 0.5)[:, None] * np.sqrt(12)
MACHINE = np.column_stack((WAVES, SAW)) + 0.1 * noise(3)


def test_every_probe_says_something_about_a_machine_of_different_sensors() -> None:
    # A detector that knows nothing: every "not told" is a reference's doing.
    verdicts = {name: found.verdict for name, found in probed(MACHINE).items()}

    assert verdicts == dict.fromkeys(PROBES, "not told")


def test_no_probe_says_anything_about_white_noise() -> None:
    verdicts = {name: found.verdict for name, found in probed(noise(3)).items()}

    assert verdicts == dict.fromkeys(PROBES, "not applicable")


@pytest.mark.parametrize(
    ("numbers", "silent"),
    [
        (MACHINE[:, :1], {"sensor-swap", "time-reversed"}),
        (np.repeat(MACHINE[:, 2:], 2, axis=1) + 0.1 * noise(2), {"sensor-swap"}),
        (np.column_stack((MACHINE[:, 2], np.zeros(800))), {"sensor-swap"}),
        (WAVES[:, :1] * [[1, -1]] + 0.05 * noise(2), {"sensor-swap", "time-reversed"}),
        (np.zeros((800, 2)), set(PROBES)),
    ],
    ids=[
        "one sensor",
        "twins",
        "a constant beside another",
        "symmetric in time and sensors",
        "constants",
    ],
)
def test_a_probe_that_normal_data_do_not_differ_from_is_not_applicable(
    numbers: Floats, silent: set[str]
) -> None:
    found = probed(numbers)

    assert {name for name, one in found.items() if one.verdict == "not applicable"} == silent


def test_an_identity_map_tells_nothing_though_rounding_grows_with_the_values() -> None:
    found = probed(MACHINE * [[1, 0.5, 0.2]], identity)

    assert {name: one.verdict for name, one in found.items()} == dict.fromkeys(PROBES, "not told")
    assert {one.auc for one in found.values()} == {0.5}


def test_a_detector_that_knows_its_data_is_told_so() -> None:
    def slow(windows: Float32s) -> Outputs:
        smooth = windows.copy()
        smooth[:, 1:-1] = (windows[:, :-2] + windows[:, 2:]) / 2
        return Outputs(smooth, np.square(windows - smooth))

    found = probed(WAVES + 0.05 * noise(2), slow)

    assert found["white-noise"] == ProbeSpec(auc=1.0, verdict="told")
    assert found["shuffled"].verdict == "told"


def test_probes_are_made_of_the_normal_windows_and_change_nothing_else() -> None:
    normal = of(np.column_stack((MACHINE, np.full(800, 0.5))))
    random = np.random.default_rng(0)
    made = {name: make(normal, random) for name, make in PROBES.items()}

    kept = normal.windows
    assert normal.moves.tolist() == [True, True, True, False]
    for windows in made.values():
        assert windows.shape == kept.shape
        assert (windows[..., 3] == 0.5).all()
    assert (made["constant"] == kept[:, -1:]).all()
    np.testing.assert_array_equal(made["time-reversed"][:, ::-1], kept)
    np.testing.assert_array_equal(np.sort(made["shuffled"][..., 0]), np.sort(kept[..., 0]))
    rows = {tuple(frame) for frame in kept.reshape(-1, 4).tolist()}
    assert {tuple(frame) for frame in made["shuffled"].reshape(-1, 4).tolist()} == rows
    assert abs(made["white-noise"][..., :3].std() - 1) < 0.05


def test_sensors_are_exchanged_with_the_one_least_like_them_but_twins_and_constants_stay() -> None:
    one, two, three = noise(3).T
    frames = np.column_stack((one, one + 0.1 * two, -one, three, 0 * one))

    assert partners(frames, frames.std(axis=0) > 0.1).tolist() == [3, 2, 1, 0, 4]
    twins = frames[:, :2]
    assert partners(twins, np.array([True, True])).tolist() == [0, 1]


def test_the_share_rebuilt_is_of_the_power_in_sensors_that_move() -> None:
    def half(windows: Float32s) -> Outputs:
        half = np.float32(0.5) * windows
        return Outputs(half, np.square(half))

    normal = of(np.column_stack((MACHINE, np.full(800, 7.0))))

    assert rebuilt(detector(half, 4), normal) == pytest.approx((0.75, 0.75))
    assert rebuilt(detector(zero, 4), normal) == (0, 0)
    assert rebuilt(detector(identity, 4), normal) == pytest.approx((1, 1))
    assert rebuilt(detector(half, 2), of(np.zeros((800, 2)))) == (0, 0)


def test_the_windows_to_compare_are_bounded_in_number_and_cells() -> None:
    assert len(of(MACHINE).windows) == 8 * 64
    frames = np.zeros((2, 600, 100), np.float32)
    assert normal_windows(frames, np.zeros((2, 200)), np.zeros(2, int)).windows.shape == (
        2 * 52,
        401,
        100,
    )


@pytest.mark.parametrize(
    ("strange", "normal", "wanted"),
    [([3, 4], [1, 2], 1.0), ([1, 2], [3, 4], 0.0), ([1, 1], [1, 1], 0.5), ([2], [1, 2, 3], 0.5)],
)
def test_auc_is_the_chance_to_rank_higher_and_ties_count_half(
    strange: list[float], normal: list[float], wanted: float
) -> None:
    assert auc(np.array(strange, float), np.array(normal, float)) == wanted


def test_references_see_a_window_from_other_stretches_only() -> None:
    windows = noise(2)[: 4 * 16].reshape(4, 16, 2).astype(np.float32)
    stretch = np.array([0, 0, 1, 1])

    nearest = nearest_window(windows, stretch)(windows)
    neighbours = neighbouring_frames(windows, stretch)(windows)

    apart = np.square(windows[:, None] - windows).sum(axis=(2, 3))
    wanted = [apart[0, 2:].min(), apart[1, 2:].min(), apart[2, :2].min(), apart[3, :2].min()]
    np.testing.assert_allclose(nearest, wanted, rtol=1e-5)
    pairs = np.concatenate((windows[:, 1:], windows[:, :-1]), axis=2).astype(float)
    known = pairs[2:].reshape(-1, 4)
    precision = np.linalg.inv(np.cov(known.T) + 1e-4 * np.eye(4))
    off = pairs[0] - known.mean(axis=0)
    assert neighbours[0] == pytest.approx(np.mean([row @ precision @ row for row in off]))
