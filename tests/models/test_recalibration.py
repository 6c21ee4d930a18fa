"""`calibrate`: what it calibrates on, what it renews, and what it says of both."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models import bundle
from models.manifest import DEFAULT, DataSpec
from models.recalibration import SEEN, unseen
from models.recording import Recording
from models.selection import Selection, Stretch
from models.threshold import poisson_bound
from tests.models.command import Run, runner
from tests.models.plant import START, recalibrated, recording, values, write_csv, written

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


def fleet_csv(path: Path, rows: dict[str, int], seed: int = 0) -> Path:
    """Some machines in one file, each with a level of its own."""
    lines = ["timestamp,asset,current,flow,heat"]
    for number, (asset, count) in enumerate(rows.items()):
        for row, numbers in enumerate((values(count, seed + number) + 10 * number).tolist()):
            lines.append(f"{1_790_000_000 + row},{asset},{','.join(map(str, numbers))}")
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
def fleet(run: Run, tmp_path: Path) -> Path:
    data, folder = fleet_csv(tmp_path / "f.csv", {"p1": 400, "p2": 400}), tmp_path / "fleet"
    assert run("fit", data, "--out", folder, "--model", "pca", "--window=64").code == 0
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


def test_an_asset_with_too_little_data_is_named_by_fit(run: Run, tmp_path: Path) -> None:
    data = fleet_csv(tmp_path / "f.csv", {"p1": 400, "p2": 400, "p3": 130})

    done = run("fit", data, "--out", tmp_path / "b", "--model", "pca", "--window=64")

    assert (done.code, "all 2 assets" in done.out) == (0, True)
    assert "warning: p3: too little data, uncalibrated\n" in done.err


def test_where_no_asset_has_enough_data_fit_says_that_one_calibration_is_for_all(
    run: Run, tmp_path: Path
) -> None:
    data = fleet_csv(tmp_path / "f.csv", {f"p{number}": 36 for number in range(14)})

    done = run("fit", data, "--out", tmp_path / "b", "--model", "pca", "--window=8")

    assert done.code == 0
    assert "p7 and 2 more: too little data of each, so one calibration" in done.err
    assert [*bundle.verify(tmp_path / "b")[0].calibrations] == [DEFAULT]


def test_calibrate_names_what_it_could_not_add_and_what_stays_as_it_was(
    run: Run, fleet: Path, tmp_path: Path
) -> None:
    data = fleet_csv(tmp_path / "new.csv", {"p1": 130, "p3": 130, "p4": 400}, seed=7)

    done = run("calibrate", fleet, data, "--out", tmp_path / "new")

    assert done.code == 0
    assert "warning: p1: too little data, not renewed\n" in done.err
    assert "warning: p3: too little data, uncalibrated\n" in done.err
    assert "p4: threshold" in done.out
    assert "p1: threshold" not in done.out
    before, after = (bundle.verify(one)[0].calibrations for one in (fleet, tmp_path / "new"))
    assert [*after] == [DEFAULT, "p1", "p2", "p4"]
    assert after["p1"] == before["p1"]


def test_an_asset_whose_rows_were_all_trained_on_is_not_renewed(
    run: Run, fleet: Path, tmp_path: Path
) -> None:
    data = fleet_csv(tmp_path / "new.csv", {"p3": 400}, seed=7)

    done = run("calibrate", fleet, tmp_path / "f.csv", data, "--out", tmp_path / "new")

    assert done.code == 0
    assert f"800 rows left out: excluded ({SEEN})" in done.out
    assert "warning: p1, p2: too little data, not renewed\n" in done.err
    assert [*bundle.verify(tmp_path / "new")[0].calibrations] == [DEFAULT, "p1", "p2", "p3"]


def test_calibrate_is_refused_where_it_would_renew_nothing(
    run: Run, pristine: Path, tmp_path: Path
) -> None:
    data = fleet_csv(tmp_path / "new.csv", {f"p{number}": 36 for number in range(14)})

    done = run("calibrate", pristine, data, "--out", tmp_path / "new")

    assert done.code == 65
    assert (
        "p7 and 2 more: too little normal data; wanted at least 30 windows of 8 frames to hold"
        in done.err
    )
    assert not (tmp_path / "new").exists()


def test_what_each_calibrate_used_counts_as_seen_as_long_as_it_matters(
    run: Run, fleet: Path, tmp_path: Path
) -> None:
    p4, p5 = (
        write_csv(tmp_path / f"{name}.csv", values(400, ord(name[1]))) for name in ("p4", "p5")
    )
    second, third, again = (tmp_path / name for name in ("second", "third", "again"))

    run("calibrate", fleet, p4, "--asset", "p4", "--out", second)
    run("calibrate", second, p5, "--asset", "p5", "--out", third)
    run("calibrate", third, p5, "--asset", "p5", "--out", again)

    for folder in (third, again):
        seen = bundle.verify(folder)[0].calibration_data
        assert [one.file for one in seen] == ["p4.csv", "p5.csv"]
    judged = json.loads(run("evaluate", third, p4, "--json").out)
    assert judged["rows_seen_in_training"] == 400


def test_where_one_calibration_is_for_all_the_newer_replaces_what_it_was_made_of(
    pristine: Path, tmp_path: Path
) -> None:
    first = recalibrated(pristine, [replace(recording(values(300, 1)), path=Path("one.csv"))])
    folder = written(tmp_path / "first", first)

    second = recalibrated(folder, [replace(recording(values(300, 2)), path=Path("two.csv"))])

    assert [one.file for one in first.manifest.calibration_data] == ["one.csv"]
    assert [one.file for one in second.manifest.calibration_data] == ["two.csv"]


STRANGERS = "any other asset is uncalibrated and does not alert\n"


def test_assets_told_from_file_names_are_said_to_be_so(
    run: Run, trained: Path, fleet: Path, tmp_path: Path
) -> None:
    a, b = (write_csv(tmp_path / f"{name}.csv", values(400, ord(name))) for name in "ab")
    told = f"warning: assets told from file names: a, b; {STRANGERS}"

    assert told in run("fit", a, b, "--out", tmp_path / "1", "--model", "pca").err
    assert told in run("calibrate", trained, a, b, "--out", tmp_path / "2").err
    assert STRANGERS not in run("calibrate", fleet, a, b, "--out", tmp_path / "3").err
    assert STRANGERS not in run("fit", a, "--out", tmp_path / "4", "--model", "pca").err
    assert STRANGERS not in run("calibrate", trained, a, "--out", tmp_path / "5").err
    alone = run("calibrate", trained, a, "--asset", "a", "--out", tmp_path / "6")
    assert f"file names: a; {STRANGERS}" in alone.err
    assert "all 1 asset: 0 false alarms" in alone.out


def test_assets_that_the_files_name_are_none_to_warn_of_but_where_the_bundle_was_for_all(
    run: Run, trained: Path, tmp_path: Path
) -> None:
    for name in ("p1", "p2"):
        (tmp_path / "days" / name).mkdir(parents=True)
        write_csv(tmp_path / "days" / name / "2026-09-21.csv", values(400))
    column = fleet_csv(tmp_path / "column.csv", {"p1": 400, "p2": 400})

    for number, data in enumerate((tmp_path / "days", column)):
        fitted = run("fit", data, "--out", tmp_path / f"f{number}", "--model", "pca")
        renewed = run("calibrate", trained, data, "--out", tmp_path / f"c{number}")
        assert (fitted.code, renewed.code) == (0, 0)
        assert STRANGERS not in fitted.err
        told = f"warning: the bundle was for every asset, and is for p1, p2 alone: {STRANGERS}"
        assert told in renewed.err


def test_calibrate_tells_the_false_alarms_of_the_whole_fleet(
    run: Run, fleet: Path, tmp_path: Path
) -> None:
    p3 = write_csv(tmp_path / "p3.csv", values(400, 3))

    done = run("calibrate", fleet, p3, "--asset", "p3", "--out", tmp_path / "new")

    bound = 3 * poisson_bound(0) / ((400 - 63) / 86_400)
    assert f"all 3 assets: 0 false alarms per day, at most {bound:.3g}" in done.out
    heads = [line.partition(": threshold ")[0] for line in done.out.splitlines()]
    assert heads[1:3] == ["p3", DEFAULT]


def test_calibrate_on_data_for_all_tells_one_threshold(
    run: Run, plant: Path, pristine: Path, tmp_path: Path
) -> None:
    done = run("calibrate", pristine, plant, "--out", tmp_path / "new")

    assert (done.code, done.out.count("threshold ")) == (0, 1)


def test_a_strict_calibrate_refuses_what_the_data_cannot_support_of_what_it_renews(
    run: Run, fleet: Path, tmp_path: Path
) -> None:
    p3 = write_csv(tmp_path / "p3.csv", values(400, 3))
    asked = ("calibrate", fleet, p3, "--asset", "p3", "--strict", "--out", tmp_path / "new")

    refused = run(*asked)
    assert refused.code == 65
    assert refused.err.startswith("sensor-trainer: p3: 0.0039 days of held-out normal data cannot")
    assert not (tmp_path / "new").exists()

    assert run(*asked, "--false-alarms-per-day", "1000").code == 0


def test_the_card_tells_what_was_asked_what_speaks_against_it_and_what_was_left_out(
    run: Run, longer: Path, tmp_path: Path
) -> None:
    stretches, folder = tmp_path / "out.csv", tmp_path / "b"
    stretches.write_text("asset,start,end,why\n,1790000200,1790000260,bearing [new]\n")
    run("fit", longer, "--rows", ":500", "--exclude", stretches, "--out", folder, "--model", "pca")
    run("calibrate", folder, longer, "--from", "1790000500", "--out", tmp_path / "c")

    first, second = run("inspect", folder).out, run("inspect", tmp_path / "c").out

    assert "asked for was 0.1 per day, which they cannot support" in re.sub(r"\s+", " ", first)
    assert "caution: 0.0" in first
    assert "cannot support 0.1 false alarms per day (wanted 30 days)" in first
    assert "2026-09-21 14:16:40" in first
    assert "2026-09-21 14:17:40" in first
    assert "bearing [new]" in first
    assert "calibrated on" not in first
    after = second[second.index("calibrated on") :]
    assert "longer.csv" in after
    assert "0:900 from 2026-09-21 14:21:40" in after


def test_the_card_of_a_fleet_tells_of_each_asset_what_was_asked_and_whether_it_is_supported(
    run: Run, fleet: Path, tmp_path: Path
) -> None:
    p3 = write_csv(tmp_path / "p3.csv", values(400, 3))
    new = tmp_path / "new"
    run("calibrate", fleet, p3, "--asset=p3", "--out", new, "--false-alarms-per-day=1000")

    rows = [re.split(r"[\s│┃]+", line.strip("│ ")) for line in run("inspect", new).out.splitlines()]

    of_asset = {row[0]: row for row in rows if row[0] in ("p1", "p3")}
    assert of_asset["p1"][4:6] == ["0.1", "no"]
    assert of_asset["p3"][4:6] == ["1e+03", "yes"]
