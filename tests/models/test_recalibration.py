"""`calibrate`: what it calibrates on, what it renews, and what it says of both."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models import bundle
from models.manifest import DEFAULT, DataSpec
from models.recalibration import SEEN, unseen
from models.recording import Recording
from models.selection import Selection, Stretch
from tests.models.command import Run, runner
from tests.models.plant import START, recording, values, write_csv

SECOND = 1_000_000_000


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs sensor-trainer in this process, to its exit code."""
    return runner(monkeypatch, capsys)


@pytest.fixture
def longer(tmp_path: Path) -> Path:
    """A recording of which a bundle in the same folder has seen rows 100 to 500."""
    return write_csv(tmp_path / "longer.csv", values(900))


@pytest.fixture
def trained(run: Run, longer: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "trained"
    done = run("fit", longer, "--rows", "100:500", "--out", folder, "--model", "pca", "--window=8")
    assert done.code == 0
    return folder


def seconds(left: Recording) -> list[int]:
    return ((left.time - START) // SECOND).tolist()


def test_rows_that_the_network_was_trained_on_are_refused(
    run: Run, longer: Path, trained: Path, tmp_path: Path
) -> None:
    done = run("calibrate", trained, longer, "--rows", "150:400", "--out", tmp_path / "new")

    assert done.code == 65
    assert done.err == (
        f"sensor-trainer: the network was trained on 250 of 250 rows of {longer}: wanted "
        "recordings that it has not seen\n"
    )
    assert not (tmp_path / "new").exists()


def test_a_rest_that_is_too_short_is_refused_and_the_rows_trained_on_are_told(
    run: Run, longer: Path, trained: Path, tmp_path: Path
) -> None:
    done = run("calibrate", trained, longer, "--rows", "50:550", "--out", tmp_path / "new")

    assert done.code == 65
    assert f"trained on 400 of 500 rows of {longer}; of the others: too little" in done.err
    assert "86 windows of 8 frames" in done.err
    assert done.err.count("\n") == 1


def test_the_other_rows_of_a_file_are_calibrated_on_as_if_they_were_alone(
    run: Run, longer: Path, trained: Path, tmp_path: Path
) -> None:
    whole = run("calibrate", trained, longer, "--out", tmp_path / "whole")
    alone = run("calibrate", trained, longer, "--rows", "500:", "--out", tmp_path / "alone")

    assert (whole.code, alone.code) == (0, 0)
    assert f"400 rows left out: excluded ({SEEN})" in whole.out
    assert "left out" not in alone.out
    known, _ = bundle.verify(tmp_path / "whole")
    assert known.calibrations[DEFAULT].threshold.days == pytest.approx((93 + 393) / 86_400)
    assert [one.rows for one in known.calibration_data[0].excluded] == [400]
    judged = json.loads(run("evaluate", tmp_path / "whole", longer, "--json").out)
    assert judged["rows_seen_in_training"] == 900


def test_what_was_not_trained_on_is_told_by_file_asset_row_and_stretch() -> None:
    numbers = values(40)
    two = replace(
        recording(numbers),
        assets=("a", "b"),
        asset=np.arange(40) % 2,
        time=START + np.arange(40)[::-1] * SECOND,
    )
    repair = Stretch(START + 10 * SECOND, START + 20 * SECOND, why="repair")
    used = two.select(Selection(assets=("a",), excluded=(repair,)))
    elsewhere = DataSpec.of(replace(two, sha256="1" * 64))

    left = unseen(two, [DataSpec.of(used), elsewhere])

    assert sorted(seconds(left)) == sorted([*range(0, 40, 2), *range(11, 20, 2)])
    assert {(one.asset, one.why) for one in left.selection.excluded} == {("a", SEEN)}
    assert sum(one.rows for one in left.selection.excluded) == 15
    assert seconds(unseen(two, [elsewhere])) == seconds(two)


def test_what_was_left_out_before_stays_told() -> None:
    one = recording(values(40))
    repair = Stretch(START, START + 10 * SECOND, why="repair")
    chosen = one.select(Selection(rows=(0, 40), excluded=(repair,)))

    left = unseen(chosen, [DataSpec.of(replace(one, rows=(20, 40)))])

    assert seconds(left) == [*range(10, 20)]
    assert [(one.why, one.rows) for one in left.selection.excluded] == [("repair", 10), (SEEN, 20)]
    assert left.selection.rows == (0, 40)
