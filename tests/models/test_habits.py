from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models import bundle
from models.frame import SECOND, Grid
from models.habits import habits_of
from models.manifest import HabitSpec
from models.recalibration import recalibrate
from models.recording import tracks_of
from models.running import Condition
from tests.models.plant import NAMES, START, fitted, recording, request, values, written

GRID = Grid(SECOND, 8)


def flats(
    *columns: Sequence[float], grid: Grid = GRID, label: list[int] | None = None
) -> list[object]:
    """The longest runs of some sensors, by their values a second."""
    numbers = np.array(columns).T
    marked = None if label is None else np.array(label, np.uint8)
    names = NAMES[: len(columns)]
    found = habits_of(tracks_of([recording(numbers, names=names, label=marked)], grid))
    return [one and one.flat for one in found]


def test_the_longest_run_of_one_value_is_known_and_a_constant_has_none() -> None:
    assert flats([1, 2, 2, 2, 1, 1], [0, 1, 2, 3, 4, 5], [7] * 6) == [3, 1, None]


def test_a_hole_neither_ends_a_run_nor_lengthens_it() -> None:
    nan = float("nan")
    assert flats([2, 2, nan, nan, nan, nan, nan, 2, 1], [0] * 8 + [1]) == [3, 8]


def test_a_sensor_without_a_reading_has_no_habit() -> None:
    assert flats([0, 1, 2], [float("nan")] * 3) == [1, None]


def test_what_is_labelled_anomalous_or_idle_is_no_habit() -> None:
    assert flats([1, 5, 5, 5, 5, 2], [0, 1, 1, 1, 1, 2], label=[0, 0, 1, 1, 1, 0]) == [1, 1]
    running = Grid(SECOND, 8, running=Condition(f"{NAMES[1]} > 0", NAMES[:2]))
    assert flats([1, 5, 5, 5, 5, 2], [1, 2, 0, 0, 0, 3], grid=running) == [1, 1]


def test_the_range_holds_all_but_the_strangest_of_a_thousand() -> None:
    numbers = np.arange(2001.0).reshape(-1, 1)
    numbers[1000] = 1e9
    (habit,) = habits_of(tracks_of([recording(numbers, names=NAMES[:1])], GRID))
    assert habit is not None
    assert (habit.low, habit.high) == pytest.approx((2, 1999))


def test_a_bundle_knows_the_habits_of_its_sensors(tmp_path: Path) -> None:
    numbers = values(400)
    numbers[:, 1] = numbers[:, 1].round()
    numbers[:, 2] = 300
    habits = bundle.load(written(tmp_path / "b", fitted([recording(numbers)], request()))).habits
    assert habits is not None
    assert habits.flat[0] == 1
    assert habits.flat[1] > 1
    assert habits.flat[2] == 0
    assert (habits.low <= np.quantile(numbers, 0.01, axis=0)).all()
    assert (habits.high >= np.quantile(numbers, 0.99, axis=0)).all()


def test_a_bundle_without_habits_still_loads_and_knows_of_none(tmp_path: Path) -> None:
    done = fitted([recording(values(400))], request())
    bare = [sensor.model_copy(update={"habit": None}) for sensor in done.manifest.sensors]
    folder = tmp_path / "b"
    bundle.write(
        folder, done.manifest.model_copy(update={"sensors": bare}), done.files, force=False
    )
    habits = bundle.load(folder).habits
    assert habits is not None
    assert habits.flat.tolist() == [0, 0, 0]
    assert np.isinf(habits.low).all()
    assert np.isinf(habits.high).all()


def test_a_range_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="low 2 is over high 1"):
        HabitSpec(flat=1, low=2, high=1)


def test_calibrate_adds_what_sensors_do_in_its_data(tmp_path: Path) -> None:
    folder = written(tmp_path / "b", fitted([recording(values(400))], request()))
    manifest, files = bundle.verify(folder)
    detector = bundle.load(folder)
    numbers = values(400, seed=1) + np.array([100, 0, 0])
    numbers[50:57, 1] = numbers[50, 1]
    recordings = [replace(recording(numbers), sha256="1" * 64)]

    changed = recalibrate(manifest, files, detector, recordings, "two", START).manifest

    known, wider = (
        [sensor.habit for sensor in one.sensors if sensor.habit] for one in (manifest, changed)
    )
    assert [one.flat for one in known] == [1, 1, 1]
    assert [one.flat for one in wider] == [1, 7, 1]
    assert wider[0].low == known[0].low
    assert wider[0].high == pytest.approx(known[0].high + 100, abs=2)
