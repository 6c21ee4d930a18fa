import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.frame import Ints
from models.split import (
    LEAST_HELD_OUT,
    LEAST_TRAINING,
    NormalFrames,
    TrainingError,
    covered,
    scaling,
    scalings,
    splits,
)
from tests.models.plant import normal, values

WINDOW = 8


@st.composite
def ends_of_tracks(draw: st.DrawFn) -> tuple[Ints, Ints, Ints, int]:
    """Ends, ticks and length of the complete windows of some tracks with gaps in them."""
    window = draw(st.integers(2, 40))
    ends: list[Ints] = []
    ticks: list[Ints] = []
    start = 0
    for _ in range(draw(st.integers(1, 4))):
        length = draw(st.integers(window, 900) | st.just(7000))
        first_tick = draw(st.sampled_from([0, 300, 1_790_000_000]))
        inside = np.arange(window - 1, length)
        for gap in draw(st.lists(st.integers(0, length), max_size=3)):
            inside = inside[(inside < gap) | (inside >= gap + window)]
        ends.append(start + inside)
        ticks.append(first_tick + inside)
        start += length
    lengths = [len(one) for one in ends]
    row = np.repeat([draw(st.integers(0, 2)) for _ in lengths], lengths)
    return np.concatenate(ends), np.concatenate(ticks), row, window


@given(ends_of_tracks().filter(lambda tracks: len(tracks[0])))
def test_train_and_held_out_windows_share_no_frame_and_are_split_in_order_of_time(
    tracks: tuple[Ints, Ints, Ints, int],
) -> None:
    ends, ticks, row, window = tracks
    tick_of = dict(zip(ends.tolist(), ticks.tolist(), strict=True))
    row_of = dict(zip(ends.tolist(), row.tolist(), strict=True))

    def moments(part: Ints) -> set[tuple[int, int]]:
        return {
            (row_of[end], tick_of[end] - back) for end in part.tolist() for back in range(window)
        }

    def times(part: Ints, asset: int) -> list[int]:
        return [tick_of[end] for end in part.tolist() if row_of[end] == asset]

    try:
        found = splits(ends, ticks, row, window)
    except TrainingError:
        return
    for split in found:
        assert len(split.train) >= LEAST_TRAINING
        assert min(len(split.validation), len(split.calibration)) >= LEAST_HELD_OUT
        assert not moments(split.train) & moments(split.validation)
        assert not moments(split.train) & moments(split.calibration)
        for asset in set(row_of.values()):
            held = times(split.calibration, asset)
            assert held == sorted(held)
            known = not held or times(split.train, asset)
            assert known, "held out where only other assets tell its scaling"
    if len(found) > 1:
        every = np.concatenate([split.calibration for split in found])
        kept = np.unique([row_of[end] for end in every.tolist()])
        assert sorted(every.tolist()) == sorted(ends[np.isin(row, kept)].tolist())
        assert all(np.array_equal(split.validation, split.calibration) for split in found)
    else:
        (split,) = found
        assert not moments(split.validation) & moments(split.calibration)
        for asset in set(row_of.values()):
            train, validation, calibration = (
                times(part, asset) for part in (split.train, split.validation, split.calibration)
            )
            assert max(train, default=-1) < min(validation, default=2**62)
            assert max(validation, default=-1) < min(calibration, default=2**62)


@pytest.mark.parametrize("windows", [1, 3, 29, 100, 150])
def test_too_few_windows_are_refused_with_what_was_found_and_wanted(windows: int) -> None:
    ends = np.arange(windows) + WINDOW

    with pytest.raises(
        TrainingError, match=rf"{windows} windows of 8 frames leave .* learn from .* at least 100"
    ):
        splits(ends, ends, 0 * ends, WINDOW)


def test_a_window_as_long_as_the_held_out_part_is_refused_in_words() -> None:
    ends = np.arange(6000) + 5000

    with pytest.raises(TrainingError, match="0 to hold out"):
        splits(ends, ends, 0 * ends, 2000)


def test_scaling_sees_the_training_frames_alone() -> None:
    numbers = np.full((100, 1), 1e9)
    numbers[20:41, 0] = np.linspace(-1, 1, 21)

    center, spread = scalings(normal(numbers), np.arange(27, 41), 8)

    assert center.tolist() == [[pytest.approx(0, abs=1e-12)]]
    assert spread.tolist() == [[pytest.approx(numbers[20:41].std())]]
    assert covered(np.arange(27, 41), 8, 100).nonzero()[0].tolist() == list(range(20, 41))


def test_the_spread_has_a_floor_of_1_percent_of_the_range_and_of_a_constants_value() -> None:
    numbers = np.zeros((10_001, 4))
    numbers[5000, 0] = 100.0  # deviates once
    numbers[:, 1] = -50.0
    numbers[:, 3] = np.nextafter(7.0, 8.0)

    _, spread = scaling(numbers)

    np.testing.assert_allclose(spread, [1.0, 0.5, 1.0, 0.07])


def test_values_that_cannot_be_squared_are_refused_in_words() -> None:
    numbers = values(50)
    numbers[20, 1] = 1e200

    with pytest.raises(TrainingError, match=r"1e\+200"):
        scaling(numbers)


def test_each_asset_is_scaled_by_its_own_frames_and_a_stranger_by_all() -> None:
    one, other = values(60), 10 * values(60)
    frames = NormalFrames(np.concatenate((one, other)), np.repeat([1, 2], 60), ("a", "b", "c"))

    center, spread = scalings(frames, np.r_[7:60, 67:120], WINDOW)

    for row, part in ((0, frames.values), (1, one), (2, other), (3, frames.values)):
        wanted = scaling(part)
        np.testing.assert_array_equal((center[row], spread[row]), wanted)
    np.testing.assert_allclose(frames.scale(center, spread)[:60].std(axis=0), 1, rtol=1e-5)
    np.testing.assert_allclose(frames.scale(center, spread)[60:].std(axis=0), 1, rtol=1e-5)


def test_every_part_has_windows_of_every_asset_whenever_it_was_recorded() -> None:
    ends = np.r_[7:400, 407:800]
    tick = np.r_[7:400, 5007:5400]

    for split in splits(ends, tick, np.repeat([1, 2], 393), WINDOW):
        for part in (split.train, split.validation, split.calibration):
            assert (part < 400).sum() == pytest.approx((part > 400).sum(), abs=2)


def test_an_asset_too_short_to_be_known_where_it_is_held_out_is_trained_on_alone() -> None:
    long, short = np.arange(63, 400), np.arange(463, 530)
    ends = np.r_[long, short]

    for split in splits(ends, ends, np.repeat([1, 2], [len(long), len(short)]), 64):
        assert split.train[split.train > 400].tolist() == short.tolist()
        assert split.validation.max() < 400
        assert split.calibration.max() < 400
