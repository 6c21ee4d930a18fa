"""The demo's plant: what its pumps do, and that its faults can be found."""

import csv
import gzip
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitor.demo.plant import (
    ASSETS,
    SENSOR_NAMES,
    SENSORS,
    Fault,
    Floats,
    Plant,
    payload,
    schedule,
    stamp,
    write_recording,
)

SPEED, FLOW, PRESSURE, CURRENT, VIBRATION, TEMPERATURE = range(len(SENSORS))


def play(seed: int, ticks: int, faults: tuple[Fault, ...] = ()) -> Floats:
    """All samples, of shape (ticks, assets, sensors)."""
    plant = Plant(seed, faults)
    return np.stack([plant.sample(tick) for tick in range(ticks)])


@pytest.fixture(scope="module")
def normal() -> Floats:
    return play(1, 14400)


def test_a_sample_does_not_depend_on_what_was_asked_before() -> None:
    whole, other = play(5, 50), Plant(5)
    for tick in (49, 3, 3, 20):
        np.testing.assert_array_equal(other.sample(tick), whole[tick])


def test_a_sample_is_the_callers_to_change() -> None:
    plant = Plant(5)
    plant.sample(3)[:] = 0
    assert plant.sample(3).all()


def test_another_seed_is_another_day() -> None:
    assert not np.array_equal(Plant(1).sample(10), Plant(2).sample(10))


def test_a_tick_before_the_start_is_refused() -> None:
    with pytest.raises(ValueError, match="tick -1"):
        Plant(1).sample(-1)


def test_normal_values_keep_to_their_usual_ranges(normal: Floats) -> None:
    for column, sensor in enumerate(SENSORS):
        values = normal[:, :, column]
        assert sensor.low < values.min(), sensor.name
        assert values.max() < sensor.high, sensor.name
        assert np.ptp(values) > 0.7 * (sensor.high - sensor.low), sensor.name


def test_sensors_of_a_pump_move_together(normal: Floats) -> None:
    for pump in range(len(ASSETS)):
        correlation: Floats = np.asarray(np.corrcoef(normal[:, pump].T))
        assert correlation[SPEED, [FLOW, PRESSURE, CURRENT, TEMPERATURE]].min() > 0.85
        assert correlation[SPEED, VIBRATION] > 0.4


def test_loads_change_and_each_pump_has_its_own(normal: Floats) -> None:
    speed = normal[:, :, SPEED]
    assert speed.std(axis=0).min() > 30
    assert np.abs(np.corrcoef(speed.T) - np.eye(len(ASSETS))).max() < 0.7


def test_temperature_lags_the_load(normal: Floats) -> None:
    power, warmth = normal[:, 0, CURRENT], normal[:, 0, TEMPERATURE]
    lags = range(0, 120, 5)
    match = [np.corrcoef(power[: len(power) - lag], warmth[lag:])[0, 1] for lag in lags]
    assert 15 <= lags[int(np.argmax(match))] <= 60


@pytest.mark.parametrize("fault", schedule(1200), ids=lambda fault: fault.kind)
def test_a_fault_touches_only_its_pump_from_its_start(fault: Fault) -> None:
    healthy, faulty = play(3, fault.end + 5), play(3, fault.end + 5, (fault,))
    pump = ASSETS.index(fault.asset)
    np.testing.assert_array_equal(faulty[: fault.start], healthy[: fault.start])
    np.testing.assert_array_equal(np.delete(faulty, pump, 1), np.delete(healthy, pump, 1))
    assert not np.array_equal(faulty[fault.start : fault.end], healthy[fault.start : fault.end])
    if fault.kind != "broken correlation":
        np.testing.assert_array_equal(faulty[fault.end :], healthy[fault.end :])


def test_in_a_broken_correlation_every_value_stays_usual() -> None:
    fault = Fault("broken correlation", "p5", "flow", 200, 340)
    for seed in range(5):
        rows = play(seed, 400, (fault,))[200:340, ASSETS.index("p5")]
        for column, sensor in enumerate(SENSORS):
            assert sensor.low < rows[:, column].min(), sensor.name
            assert rows[:, column].max() < sensor.high, sensor.name
        held = rows[30:80]
        assert (held[:, FLOW] / held[:, SPEED]).mean() < 0.9 * 100 / 1500


def test_a_stuck_sensor_repeats_one_usual_value_for_longer_than_the_daemon_waits() -> None:
    (fault,) = (fault for fault in schedule(800) if fault.kind == "stuck")
    rows = play(3, fault.end + 5, (fault,))[:, ASSETS.index(fault.asset)]
    held = rows[fault.start : fault.end, SENSOR_NAMES.index(fault.sensor)]
    assert len(held) > 80
    np.testing.assert_array_equal(held, held[0])
    assert (np.ptp(rows[fault.start : fault.end], axis=0) == 0).sum() == 1


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"asset": "p9"}, "p1, p2, p3, p4, p5, p6"),
        ({"sensor": "colour"}, "speed, flow, pressure, current, vibration, temperature"),
        ({"kind": "broken correlation", "sensor": "speed"}, "another sensor"),
        ({"start": 10, "end": 10}, "0 <= start < end"),
        ({"start": -1, "end": 10}, "0 <= start < end"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(change: dict[str, Any], wanted: str) -> None:
    good: dict[str, Any] = {"kind": "drift", "asset": "p1", "sensor": "flow", "start": 0, "end": 9}
    with pytest.raises(ValueError, match=wanted):
        Fault(**(good | change))


@pytest.mark.parametrize("seconds", [800, 900, 1200, 1599, 2400, 3200, 12000])
def test_the_schedule_has_every_fault_after_warm_up_with_quiet_between(seconds: int) -> None:
    faults = schedule(seconds)
    assert {fault.kind for fault in faults} == {"spike", "drift", "broken correlation", "stuck"}
    edges = [0, *(tick for fault in faults for tick in (fault.start, fault.end)), seconds]
    quiet = np.diff(edges)[::2]
    assert quiet[0] >= 128
    assert quiet.min() >= 50
    for one, other in pairwise(faults):
        assert one.asset != other.asset


def test_a_demo_too_short_for_its_faults_is_refused() -> None:
    with pytest.raises(ValueError, match=r"799 s .* at least 800 s"):
        schedule(799)


def test_stamps_are_plant_time_in_utc() -> None:
    start = datetime.fromisoformat("2026-03-01T01:00:00+01:00")
    assert stamp(0, start) == "2026-03-01T00:00:00Z"
    assert stamp(3661, start) == "2026-03-01T01:01:01Z"


def test_a_payload_is_flat_json_of_stamp_and_sensors() -> None:
    row = Plant(1).sample(0)[0]
    message = json.loads(payload(row, stamp(0, datetime(2026, 3, 1, tzinfo=UTC))))
    assert message.pop("time") == "2026-03-01T00:00:00Z"
    assert message == dict(zip(SENSOR_NAMES, row.tolist(), strict=True))


def test_a_recording_holds_what_the_plant_said_and_labels_its_faults(tmp_path: Path) -> None:
    fault = Fault("spike", "p2", "vibration", 3, 6)
    write_recording(tmp_path / "plant.csv", 8, (fault,), seed=4)
    with (tmp_path / "plant.csv").open(encoding="utf-8", newline="") as text:
        header, *rows = csv.reader(text)
    assert header == ["timestamp", "asset", *SENSOR_NAMES, "label"]
    assert rows[0][:2] == ["2026-01-05T00:00:00Z", "p1"]
    values = np.array([row[2:-1] for row in rows], dtype=float)
    expected = play(4, 8, (fault,)).reshape(-1, len(SENSORS))
    np.testing.assert_array_equal(values, expected)
    labelled = {(row[0][-3:-1], row[1]) for row in rows if row[-1] == "1"}
    assert labelled == {("03", "p2"), ("04", "p2"), ("05", "p2")}


def test_equal_recordings_have_equal_bytes_and_gz_is_compressed(tmp_path: Path) -> None:
    for name in ("one.csv", "one.csv.gz", "other.csv.gz"):
        write_recording(tmp_path / name, 20)
    packed = (tmp_path / "one.csv.gz").read_bytes()
    assert packed == (tmp_path / "other.csv.gz").read_bytes()
    assert packed[4:8] == bytes(4)  # no time of writing
    assert gzip.decompress(packed) == (tmp_path / "one.csv").read_bytes()


@dataclass
class WindowPCA:
    """The plainest detector that can find the faults: a window PCA, its residual, a maximum."""

    mean: Floats
    spread: Floats
    centre: Floats
    components: Floats
    error: Floats
    threshold: float = 1.0

    LENGTH, NEWEST, SMOOTH = 32, 20, 5

    @classmethod
    def fit(cls, train: Floats, held_out: Floats) -> "WindowPCA":
        mean, spread = train.mean(axis=(0, 1)), train.std(axis=(0, 1))
        model = cls(mean, spread, np.zeros(1), np.zeros((1, 1)), np.ones(len(SENSORS)))
        windows = np.concatenate([model.windows(pump)[::2] for pump in train.swapaxes(0, 1)])
        model.centre = windows.mean(axis=0)
        variance, axes = np.linalg.eigh(np.cov(windows.T))
        kept = np.cumsum(variance[::-1]) / variance.sum() < 0.9
        model.components = axes[:, ::-1][:, : int(kept.sum()) + 1]
        pumps = held_out.swapaxes(0, 1)
        model.error = np.concatenate([model.squares(pump) for pump in pumps]).mean(axis=(0, 1))
        model.threshold = max(model.score(pump)[0].max() for pump in pumps)
        return model

    def windows(self, rows: Floats) -> Floats:
        scaled = (rows - self.mean) / self.spread
        view = np.lib.stride_tricks.sliding_window_view(scaled, self.LENGTH, axis=0)
        return view.swapaxes(1, 2).reshape(len(view), -1)

    def squares(self, rows: Floats) -> Floats:
        windows = self.windows(rows) - self.centre
        left = windows - windows @ self.components @ self.components.T
        return left.reshape(len(left), self.LENGTH, -1)[:, -self.NEWEST :] ** 2

    def score(self, rows: Floats) -> tuple[Floats, Floats]:
        """Smoothed scores and the sensors' part in them, from the first full window on."""
        parts = (self.squares(rows) / self.error).mean(axis=1)
        raw = parts.mean(axis=1)
        smooth = np.convolve(raw, np.ones(self.SMOOTH) / self.SMOOTH)[: len(raw)]
        smooth[: self.SMOOTH] = raw[: self.SMOOTH]
        return smooth / self.threshold, parts


@pytest.fixture(scope="module")
def detector(normal: Floats) -> WindowPCA:
    return WindowPCA.fit(normal[:9000], normal[9050:])


@pytest.mark.parametrize("seconds", [900, 1200])  # the demo takes 900 at least
@pytest.mark.parametrize("seed", [7, 8])
def test_a_window_pca_finds_all_but_the_stuck_one_names_its_sensor_and_keeps_quiet_else(
    detector: WindowPCA, seed: int, seconds: int
) -> None:
    faults = schedule(seconds)
    rows = play(seed, seconds, faults)
    for pump, asset in enumerate(ASSETS):
        scores, parts = detector.score(rows[:, pump])
        quiet = np.ones(len(scores), dtype=bool)
        for fault in (f for f in faults if f.asset == asset and f.kind != "stuck"):
            first = fault.start - detector.LENGTH + 1
            during = slice(first, first + fault.end - fault.start)
            quiet[first : during.stop + detector.LENGTH] = False
            assert scores[during].max() > 1.5, fault
            delay = int(np.argmax(scores[during] > 1.0))
            assert delay <= (90 if fault.kind == "drift" else 40), fault
            pair = {fault.sensor, "speed" if fault.kind == "broken correlation" else fault.sensor}
            strongest = parts[during][int(np.argmax(scores[during]))].argmax()
            assert SENSOR_NAMES[int(strongest)] in pair, fault
        assert scores[quiet].max() < 1.0, asset
