import csv
import json
import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest

from models import bundle
from models.cli import main
from models.words import duration
from tests.models.command import Done, Run, runner
from tests.models.plant import values, write_csv

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs sensor-trainer in this process, to its exit code."""
    return runner(monkeypatch, capsys)


def test_a_machine_is_learnt_scored_judged_and_shown(
    run: Run, plant: Path, faulty: Path, tmp_path: Path
) -> None:
    folder, scores = tmp_path / "bundles" / "plant", tmp_path / "out" / "scores.csv"

    fitted = run("fit", plant, "--out", folder, "--model", "pca", "--window", "8")
    scored = run("score", folder, faulty, "--out", scores)
    judged = run("evaluate", folder, faulty)
    shown = run("inspect", folder)

    assert [done.code for done in (fitted, scored, judged, shown)] == [0, 0, 0, 0]
    assert "audited: no identity map; the smallest step that is found is 0." in fitted.out
    assert "windows of 8 frames of 1 s: 393 kept (100.0%)" in fitted.out
    assert "validation loss" in fitted.out
    assert "with 95 % confidence" in fitted.out
    assert "warning:" in fitted.err
    assert "cannot support 0.1 false alarms per day (wanted 30 days)" in fitted.err
    assert bundle.load(folder).digest[:16] in fitted.out
    assert scored.out == ""
    assert "event_recall" in judged.out
    assert "always-alarm" in judged.out
    for text in ("plant", "pca", "current", "flow", "heat", "plant.csv", "0:400"):
        assert text in shown.out
    assert sorted(path.name for path in tmp_path.rglob(".*")) == []


def test_scores_csv_has_a_row_per_frame_in_the_inputs_own_spelling(
    run: Run, pristine: Path, tmp_path: Path
) -> None:
    numbers = values(60, seed=1)
    stamps = [f"2026-09-21T14:{row // 60:02d}:{row % 60:02d}+02:00" for row in range(60)]
    lines = [
        f"{stamps[row]},p7,{','.join(map(str, numbers[row]))}" for row in range(60) if row != 30
    ]
    data = tmp_path / "data.csv"
    data.write_text("\n".join(["timestamp,asset,current,flow,heat", *lines]))

    assert run("score", pristine, data, "--out", tmp_path / "scores.csv").code == 0

    with (tmp_path / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        *("timestamp", "asset", "score", "raw", "alert"),
        *("share:current", "share:flow", "share:heat"),
    ]
    spelled = [*stamps[:30], "2026-09-21T12:00:30Z", *stamps[31:]]
    assert [row["timestamp"] for row in rows] == spelled
    assert {row["asset"] for row in rows} == {"p7"}
    assert {row["alert"] for row in rows} == {"0"}
    for index, row in enumerate(rows):
        shares = [row[key] for key in row if key.startswith("share:")]
        if index < 7:
            assert [row["score"], row["raw"], *shares] == [""] * 5
        else:
            assert float(row["score"]) > 0
            assert float(row["raw"]) > 0
            assert sum(map(float, shares)) == pytest.approx(1, abs=1e-5)
    raw = np.array([float(row["raw"]) for row in rows[7:]])
    assert float(rows[20]["score"]) == pytest.approx(raw[9:14].mean(), rel=1e-5)


def test_alert_is_1_while_the_verdict_is_anomalous(
    run: Run, pristine: Path, faulty: Path, tmp_path: Path
) -> None:
    run("score", pristine, faulty, "--out", tmp_path / "scores.csv")

    with (tmp_path / "scores.csv").open() as file:
        alert = np.array([int(row["alert"]) for row in csv.DictReader(file)])
    assert alert[205:240].all()
    assert not alert[:200].any()


def test_evaluate_gives_json_per_file_mean_pooled_and_always_alarm(
    run: Run, pristine: Path, faulty: Path, tmp_path: Path
) -> None:
    second = write_csv(tmp_path / "other.csv", values(100, seed=2), label=[0] * 100)

    report = json.loads(run("evaluate", pristine, faulty, second, "--json").out)

    assert list(report["files"]) == [str(faulty), str(second)]
    assert report["pooled"]["event_recall"] == 1
    assert report["pooled"]["events"] == 1
    assert report["files"][str(second)]["event_recall"] is None
    assert report["mean"]["windows"] == (293 + 93) / 2
    assert report["always-alarm"]["pooled"]["far"] == 1
    assert report["rows_seen_in_training"] == 0
    for figures in (report["pooled"], report["mean"], *report["files"].values()):
        assert figures.keys() >= {
            *("f1", "mcc", "precision", "recall", "far", "mar", "auc_pr", "auc_roc"),
            *("vus_pr", "vus_roc", "affiliation_f1", "rows_seen_in_training"),
            *("event_precision", "event_recall", "event_f1", "detection_delay_s"),
            *("false_alarms_per_day", "time_in_alert_ratio", "prevalence", "windows"),
            "unscored_ratio",
        }


def test_evaluate_without_labels_gives_the_alarm_figures_and_counts_rows_seen(
    run: Run, plant: Path, tmp_path: Path
) -> None:
    run("fit", plant, "--out", tmp_path / "b", "--model", "pca", "--rows", "100:")

    report = json.loads(run("evaluate", tmp_path / "b", plant, "--json").out)
    told = run("evaluate", tmp_path / "b", plant, "--rows", ":150").out

    assert report["rows_seen_in_training"] == 300
    assert "always-alarm" not in report
    assert report["pooled"].keys() == {
        *("windows", "unscored_ratio", "time_in_alert_ratio", "alerts", "alerts_per_day"),
        "rows_seen_in_training",
    }
    assert "50 rows of these recordings were trained or calibrated on" in told


def test_evaluate_writes_a_page_beside_what_it_prints_and_replaces_its_own(
    run: Run, pristine: Path, faulty: Path, tmp_path: Path
) -> None:
    page = tmp_path / "pages" / "plant.html"

    told = run("evaluate", pristine, faulty, "--report", page)
    first = page.read_text()
    page.write_text(first + "old")
    as_json = run("evaluate", pristine, faulty, "--json", "--report", page)

    assert told.out.endswith(f"{page}: written\n")
    assert json.loads(as_json.out)["pooled"]["event_recall"] == 1
    assert page.read_text() == first
    assert "Finds 1 of 1 event" in first
    assert [one.name for one in page.parent.iterdir()] == [page.name]


def test_a_page_that_could_not_be_written_is_refused_before_the_work(
    run: Run, faulty: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.html"
    other.write_text("<p>somebody else's</p>")
    nowhere = tmp_path / "no bundle"

    named = run("evaluate", nowhere, faulty, "--report", tmp_path / "page.txt")
    taken = run("evaluate", nowhere, faulty, "--report", other)
    inside_a_file = run("evaluate", nowhere, faulty, "--report", faulty / "page.html")
    a_folder = tmp_path / "folder.html"
    a_folder.mkdir()

    assert (named.code, taken.code, inside_a_file.code) == (2, 73, 73)
    assert "page.txt: wanted a name that ends in .html" in named.err
    assert "other.html: cannot be written (exists, and is no page of sensor-trainer)" in taken.err
    assert run("evaluate", nowhere, faulty, "--report", a_folder).code == 73
    assert other.read_text() == "<p>somebody else's</p>"


def test_inspect_gives_the_manifest_as_json(run: Run, pristine: Path) -> None:
    shown = json.loads(run("inspect", pristine, "--json").out)

    assert shown == json.loads((pristine / "bundle.json").read_text())
    assert shown["digest"] == bundle.load(pristine).digest


def test_audit_shows_probes_and_the_smallest_step_of_each_sensor(run: Run, pristine: Path) -> None:
    told, shown = run("audit", pristine), run("inspect", pristine)
    report = json.loads(run("audit", pristine, "--json").out)

    assert (told.code, told.err) == (0, "")
    assert report == json.loads((pristine / "bundle.json").read_text())["audit"]
    assert report["refused"] is None
    for text in ("audited on 4 stretches", "white noise", "1.000", "not applicable", "rebuilds 9"):
        assert text in told.out
    for one in report["sensors"]:
        line = next(line for line in told.out.splitlines() if one["sensor"] in line)
        assert f" {one['smallest_step']:.3g} " in line
        assert f" {one['in_spreads']:.2g} " in line
        assert f" {duration(one['drift']['delay_s'])} " in line
    assert told.out in shown.out


def test_a_bundle_that_copies_what_it_is_given_is_refused_with_1_and_fit_warns_of_it(
    run: Run, plant: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "b"
    fit = run("fit", plant, "--out", folder, "--model", "pca", "--set", "variance=1")

    told, as_json = run("audit", folder), run("audit", folder, "--json")

    assert fit.code == 0
    assert "warning: the audit refuses it: it rebuilds 9" in fit.err
    assert "audited" not in fit.out
    assert (told.code, as_json.code) == (1, 1)
    assert "refused: it rebuilds 9" in told.out
    assert "of white noise (wanted under 90%)" in json.loads(as_json.out)["refused"]
    assert told.err == as_json.err == ""


def test_data_that_no_probe_differs_from_are_said_to_prove_nothing(
    run: Run, tmp_path: Path
) -> None:
    still = write_csv(tmp_path / "still.csv", np.tile([5.0, 0.0, -2.0], (400, 1)))
    run("fit", still, "--out", tmp_path / "b", "--model", "pca")

    done = run("audit", tmp_path / "b")

    assert done.code == 0
    assert "to say whether it is an identity map" in done.out


def test_a_bundle_without_a_sample_cannot_be_audited_and_fit_warns_of_it(
    run: Run, plant: Path, tmp_path: Path
) -> None:
    header, *lines = plant.read_text().splitlines()
    broken = [line for row, line in enumerate(lines) if row % 30 < 20]
    (tmp_path / "broken.csv").write_text("\n".join([header, *broken]))
    folder = tmp_path / "b"

    fit = run("fit", tmp_path / "broken.csv", "--out", folder, "--model", "pca", "--window", "8")
    told, shown = run("audit", folder), run("inspect", folder)

    assert fit.code == 0
    assert "warning: not audited: no two stretches of the normal data are unbroken" in fit.err
    assert told.code == 65
    assert "golden.safetensors: holds no sample of held-out normal data" in told.err
    assert "not audited" in shown.out


def test_names_with_brackets_are_shown_as_they_are(run: Run, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "plant.csv", values(400))
    path.write_text(path.read_text().replace("flow", "flow[bold]", 1))
    folder = tmp_path / "p[red]"

    assert run("fit", path, "--out", folder, "--model", "pca").code == 0
    shown = run("inspect", folder)

    assert "flow[bold]" in shown.out
    assert "p[red]" in shown.out


def test_windows_with_labels_are_left_out_and_counted(
    run: Run, faulty: Path, tmp_path: Path
) -> None:
    done = run("fit", faulty, "--out", tmp_path / "b", "--model", "pca", "--window", "8")

    assert "windows of 8 frames of 1 s: 246 kept (84.0%), left out: 47 labelled" in done.out


def test_a_machine_that_rests_is_learnt_scored_and_judged_only_while_it_runs(
    run: Run, tmp_path: Path
) -> None:
    numbers = values(800)
    numbers[np.arange(800) % 200 >= 160] = 0
    data, folder = write_csv(tmp_path / "plant.csv", numbers), tmp_path / "b"
    condition = ("--running", "current > 1 and not (heat < 0)", "--settle", "5s")

    fitted = run("fit", data, "--out", folder, "--model", "pca", "--window", "10", *condition)
    shown = run("inspect", folder)
    judged = json.loads(run("evaluate", folder, data, "--json").out)
    run("score", folder, data, "--out", tmp_path / "scores.csv")

    kept = 4 * 160 - 3 * (5 + 9) - (5 + 9)
    assert f"{kept} kept ({kept / (kept + 202):.1%}), left out: 202 idle" in fitted.out
    assert "idle unless current > 1 and not (heat < 0) for 5 s" in shown.out
    assert judged["pooled"]["windows"] == kept
    with (tmp_path / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["score"] != "" for row in rows] == [14 <= n % 200 < 160 for n in range(800)]


def test_spans_assets_and_excluded_stretches_are_used_the_same_way_by_every_command(
    run: Run, pristine: Path, tmp_path: Path
) -> None:
    """Two machines in one file; the second is mad, and the first is under repair for a minute."""
    numbers = values(400)
    lines = ["timestamp,asset,current,flow,heat"]
    for row, (current, flow, heat) in enumerate(numbers.tolist()):
        repaired = 200 <= row < 260
        lines += [
            f"{1_790_000_000 + row},p1,{-50 if repaired else current},{flow},{heat}",
            f"{1_790_000_000 + row},p2,{flow},{heat},{current}",
        ]
    data, folder = tmp_path / "plant.csv", tmp_path / "b"
    data.write_text("\n".join(lines))
    stretches = tmp_path / "out.csv"
    stretches.write_text("asset,start,end,why\np1,1790000200,1790000260,repair\n")
    chosen = ["--from", "2026-09-21T14:13:30Z", "--to", "1790000390", "--assets", "p1"]
    chosen += ["--exclude", str(stretches)]

    fitted = run("fit", data, "--out", folder, "--model", "pca", "--window", "8", *chosen)
    judged = json.loads(run("evaluate", folder, data, *chosen, "--json").out)
    whole = json.loads(run("evaluate", folder, data, "--json").out)
    run("score", folder, data, *chosen, "--out", tmp_path / "scores.csv")
    renewed = run("calibrate", pristine, data, *chosen, "--out", tmp_path / "c")

    # Of seconds 10 to 390 without 200 to 260: two parts, in each 7 frames until a window is full.
    kept = (190 - 7) + (130 - 7)
    for done in (fitted, renewed):
        assert f"{kept} kept ({kept / (kept + 7):.1%}), left out: 7 excluded" in done.out
        assert "60 rows left out: excluded (repair)" in done.out
    assert judged["pooled"]["windows"] == kept
    assert judged["rows_seen_in_training"] == 190 + 130
    assert whole["rows_seen_in_training"] == 190 + 130
    with (tmp_path / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["asset"] for row in rows} == {"p1"}
    seconds = [int(row["timestamp"]) - 1_790_000_000 for row in rows]
    assert seconds == [*range(10, 200), *range(260, 390)]
    assert [int(row["timestamp"]) - 1_790_000_000 for row in rows if row["score"]] == [
        *range(17, 200),
        *range(267, 390),
    ]
    manifest, _ = bundle.verify(folder)
    assert [*manifest.calibrations] == ["default", "p1"]


def test_rows_out_of_order_beyond_the_lateness_are_counted(
    run: Run, plant: Path, tmp_path: Path
) -> None:
    lines = plant.read_text().splitlines()
    lines[100], lines[200] = lines[200], lines[100]
    plant.write_text("\n".join(lines))

    done = run("fit", plant, "--out", tmp_path / "b", "--model", "pca", "--window", "8")

    # The row of second 199 comes first and closes what ends by 197; that of 99 comes last of all.
    assert "98 rows left out: out of order by more than 2 s" in done.out


def test_sensors_period_and_settings_are_taken_from_the_command_line(
    run: Run, plant: Path, tmp_path: Path
) -> None:
    arguments = ["--sensors", "heat,current", "--period", "2", "--window", "8", "--seed", "4"]
    arguments += ["--set", "hidden=[12,3]", "--set", "epochs=1", "--set", "tail=5", "--jobs", "1"]
    arguments += ["--unit", "heat=°C"]

    done = run("fit", plant, "--out", tmp_path / "b", "--model", "stacked", *arguments)

    manifest, _ = bundle.verify(tmp_path / "b")
    assert done.code == 0
    assert [(sensor.name, sensor.unit) for sensor in manifest.sensors] == [
        ("heat", "°C"),
        ("current", None),
    ]
    assert (manifest.period_ns, manifest.window, manifest.tail) == (2_000_000_000, 8, 5)
    assert manifest.parameters == {"hidden": (12, 3)}
    assert (manifest.training.seed, manifest.training.epochs) == (4, 1)


def test_an_existing_output_is_left_alone_unless_forced(
    run: Run, plant: Path, pristine: Path, tmp_path: Path
) -> None:
    folder, scores = tmp_path / "b", tmp_path / "scores.csv"
    fit = ("fit", plant, "--out", folder, "--model", "pca")
    score = ("score", pristine, plant, "--out", scores)

    assert [run(*command).code for command in (fit, score)] == [0, 0]
    refused = [run(*command) for command in (fit, score)]
    assert [done.code for done in refused] == [73, 73]
    assert all("exists; --force replaces it" in done.err for done in refused)
    before = scores.read_text()
    assert [run(*command, "--force").code for command in (fit, score)] == [0, 0]
    assert bundle.load(tmp_path / "b.previous").digest == bundle.load(folder).digest
    assert (tmp_path / "scores.csv.previous").read_text() == scores.read_text() == before


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "Usage"),
        (["guess"], 2, "No such command"),
        (["fit"], 2, "DATA: is missing"),
        (["fit", "{plant}"], 2, "--out: is missing"),
        (["fit", "{plant}", "--out", "{new}", "--model", "guess"], 2, "wanted one of pca, stacked"),
        (["fit", "{plant}", "--out", "{new}", "--set", "x=1"], 2, "--set x=1: no such key"),
        (
            ["fit", "{plant}", "--out", "{new}", "--window", "1"],
            2,
            "--window': Input should be greater than or equal to 2",
        ),
        (
            ["fit", "{plant}", "--out", "{new}", "--seed", "-1"],
            2,
            "--seed': Input should be greater than or equal to 0",
        ),
        (["fit", "{plant}", "--out", "{new}", "--period", "0"], 2, "--period 0: wanted 1e-06 to"),
        (["fit", "{plant}", "--out", "{new}", "--period", "nan"], 2, "--period nan: wanted"),
        (["fit", "{plant}", "--out", "{new}", "--period", "inf"], 2, "--period inf: wanted"),
        (
            ["fit", "{plant}", "--out", "{new}", "--false-alarms-per-day", "nan"],
            2,
            "--false-alarms-per-day nan: wanted",
        ),
        (
            ["fit", "{plant}", "--out", "{new}", "--running", "current >"],
            2,
            "--running 'current >': character 10: found the end; wanted a sensor or a number",
        ),
        (
            ["fit", "{plant}", "--out", "{new}", "--running", "speed > 1"],
            2,
            "--running 'speed > 1': character 1: found 'speed'; wanted one of the sensors current",
        ),
        (
            ["fit", "{plant}", "--out", "{new}", "--settle", "5m"],
            2,
            "--settle 5m: wanted --running as well",
        ),
        *(
            (
                ["fit", "{plant}", "--out", "{new}", "--running", "flow > 1", "--settle", text],
                2,
                f"--settle {text}: wanted seconds, or 500ms, 30s, 5m, 2h, 1d, at most",
            )
            for text in ("-1", "soon", "5 weeks", "9999d", "nan", "1e3")
        ),
        (
            ["fit", "{plant}", "--model", "pca", "--out", "{new}", "--running", "heat > 999"],
            65,
            "left out: 0 gap, 0 held, 400 idle, 0 excluded, 0 labelled",
        ),
        *(
            ([*command, *options], code, message)
            for command in (
                ["fit", "{plant}", "--out", "{new}"],
                ["calibrate", "{pristine}", "{plant}", "--out", "{new}"],
                ["score", "{pristine}", "{plant}", "--out", "{new}"],
                ["evaluate", "{pristine}", "{plant}"],
            )
            for options, code, message in (
                (["--from", "today"], 2, "--from today: wanted ISO 8601 with an offset or Z"),
                (["--to", "2026-09-21T14:00:00"], 2, "--to 2026-09-21T14:00:00: has no offset"),
                (["--from", "7", "--to", "7"], 2, "--from 7 --to 7: wanted an end after the start"),
                (["--to", "7"], 65, "plant.csv: holds no rows of what was chosen"),
                (["--assets", "p1,,p2"], 2, "--assets p1,,p2: has '' twice, or a name is empty"),
                (["--assets", "p1,plant"], 66, "--assets: 'p1' is in no recording; found plant"),
                (["--exclude", "{text}"], 65, "text.csv: line 1: has the columns"),
                (["--exclude", "{all}"], 65, "plant.csv: holds no rows of what was chosen"),
                (["--exclude", "{nowhere}"], 66, "nowhere.csv: no such file"),
                (["--rows", "5"], 2, "--rows 5: wanted A:B"),
            )
        ),
        (
            ["calibrate", "{pristine}", "{plant}", "--out", "{new}", "--asset", "p1"],
            66,
            "--assets: 'p1' is in no recording; found plant",
        ),
        (
            [
                *("calibrate", "{pristine}", "{plant}", "--out", "{new}"),
                *("--asset", "plant", "--assets", "plant"),
            ],
            2,
            "--assets plant: wanted this or --asset, not both",
        ),
        (["fit", "{plant}", "--out", "{new}", "--rows", "a:b"], 2, "--rows a:b: wanted A:B"),
        (["fit", "{plant}", "--out", "{new}", "--rows", "-5:9"], 2, "--rows -5:9: wanted A:B"),
        (["fit", "{plant}", "{plant}", "--out", "{new}", "--rows", "0:9"], 2, "is for one file"),
        (["fit", "{plant}", "--out", "/"], 2, "wanted a path that ends in a name"),
        (
            ["fit", "{plant}", "--out", "{new}", "--ignore", "colour"],
            66,
            "--ignore: 'colour' is in no recording; found current",
        ),
        (
            ["score", "{pristine}", "{plant}", "--out", "{pristine}", "--force"],
            73,
            "is no file; nothing else is ever replaced",
        ),
        (
            ["fit", "--config", "{text}", "--model", "pca", "--seed", "1"],
            2,
            "wanted only --jobs and --force beside it, found model, seed",
        ),
        (["fit", "{plant}", "--out", "{new}", "--unit", "speed=rpm"], 2, "speed: is no sensor"),
        (["fit", "{plant}", "--out", "{new}", "--unit", "heat"], 2, "wanted SENSOR=UNIT"),
        (["fit", "{plant}", "--out", "{new}", "--sensors", "speed"], 65, "has no sensor 'speed'"),
        (["fit", "{plant}", "--out", "{new}", "--sensors", "flow,flow"], 2, "has 'flow' twice"),
        (["fit", "{plant}", "--out", "{new}", "--rows", "0:90"], 65, "too little normal data"),
        (["fit", "{plant}", "--out", "{new}", "--rows", "9:9"], 65, "holds no rows"),
        (["fit", "{plant}", "--out", "{new}", "--rows", "9:10"], 65, "no period can be told"),
        (["fit", "{text}", "--out", "{new}"], 65, "line 2, column 'mode': 'on' is no number"),
        (["fit", "{plant}", "--model", "pca", "--out", "{new}", "--strict"], 65, "cannot support"),
        (["fit", "{nowhere}", "--out", "{new}"], 66, "nowhere.csv: no such file or folder"),
        (["fit", "{plant}", "--out", "{plant}/b"], 73, "cannot be written"),
        (["score", "{broken}", "{plant}", "--out", "{new}"], 65, "model.onnx: is missing"),
        (["score", "{nowhere}", "{plant}", "--out", "{new}"], 66, "no such bundle"),
        (["score", "{pristine}", "{nowhere}", "--out", "{new}"], 66, "no such file or folder"),
        (["score", "{pristine}", "{text}", "--out", "{new}"], 65, "has no sensor 'current'"),
        (["score", "{pristine}", "{plant}", "--out", "{plant}/s"], 73, "cannot be written"),
        (["evaluate", "{broken}", "{plant}"], 65, "model.onnx: is missing"),
        (["inspect", "{broken}"], 65, "model.onnx: is missing"),
        (["audit", "{broken}"], 65, "model.onnx: is missing"),
        (["audit", "{nowhere}"], 66, "no such bundle"),
        (["audit"], 2, "Missing argument"),
        (["inspect", "{nowhere}"], 66, "no such bundle"),
    ],
)
def test_what_cannot_be_done_is_one_message_and_an_exit_code(
    run: Run,
    plant: Path,
    pristine: Path,
    tmp_path: Path,
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    (tmp_path / "text.csv").write_text("timestamp,mode\n0,on\n")
    (tmp_path / "all.csv").write_text("asset,start,end,why\n,0,4000000000,all of it\n")
    (tmp_path / "broken").mkdir()
    for name in ("bundle.json", "weights.safetensors", "golden.safetensors"):
        (tmp_path / "broken" / name).write_bytes((pristine / name).read_bytes())
    places = {
        "plant": plant,
        "pristine": pristine,
        "text": tmp_path / "text.csv",
        "all": tmp_path / "all.csv",
        "broken": tmp_path / "broken",
        "new": tmp_path / "new",
        "nowhere": tmp_path / "nowhere.csv",
    }

    done = run(*(argument.format(**places) for argument in arguments))

    assert done.code == code
    # Usage errors are drawn in a frame by the library of the command line.
    said = re.sub(r"[\s│]+", " ", done.out + done.err)
    assert message in said
    assert "Traceback" not in said
    if code != 2:
        assert done.err.startswith("sensor-trainer: ")
        assert done.err.count("\n") == 1
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.glob(".*"))


def test_a_fault_of_our_own_is_70_with_a_traceback(
    run: Run, pristine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.bundle.load", lambda folder: 1 / 0)  # pyright: ignore[reportUnknownLambdaType]

    done = run("inspect", pristine)

    assert done.code == 70
    assert "ZeroDivisionError" in done.err
    assert done.err.endswith("please report it with the lines above\n")


def python(code: str, *arguments: str | Path) -> Done:
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NO_COLOR": "1"},
    )
    return Done(done.returncode, done.stdout, done.stderr)


def test_without_torch_fit_says_what_to_install_and_the_other_commands_work(
    pristine: Path, plant: Path, faulty: Path, tmp_path: Path
) -> None:
    without = """
import sys
for name in ("torch", "sklearn", "onnx"):
    sys.modules[name] = None
from models.cli import main
main()
"""
    fit = python(without, "fit", plant, "--out", tmp_path / "new")
    score = python(without, "score", pristine, faulty, "--out", tmp_path / "scores.csv")
    judged = python(without, "evaluate", pristine, faulty, "--json")
    audited = python(without, "audit", pristine, "--json")

    assert (fit.code, fit.out) == (69, "")
    assert 'pip install "sensor-monitor[train]" (torch is missing)' in fit.err
    assert (score.code, score.err) == (0, "")
    assert json.loads(judged.out)["pooled"]["auc_pr"] > 0.5
    assert (audited.code, json.loads(audited.out)["refused"]) == (0, None)


def test_without_the_drawing_libraries_only_the_page_is_missing(
    pristine: Path, faulty: Path, tmp_path: Path
) -> None:
    without = """
import sys
sys.modules["matplotlib"] = None
from models.cli import main
main()
"""
    page = python(without, "evaluate", pristine, faulty, "--report", tmp_path / "page.html")
    table = python(without, "evaluate", pristine, faulty)

    assert (page.code, page.out) == (69, "")
    assert page.err == (
        'sensor-trainer: --report draws pictures: pip install "sensor-monitor[train]" '
        "(matplotlib is missing)\n"
    )
    assert (table.code, table.err) == (0, "")
    assert not (tmp_path / "page.html").exists()


def test_help_is_there_for_every_command_with_an_example_and_brings_no_torch() -> None:
    code = r"""
import sys
from models.cli import app
for command in (
    *([], ["fit"], ["calibrate"], ["score"], ["evaluate"], ["audit"], ["compare"], ["inspect"]),
    ["experiment"],
    ["--version"],
):
    try:
        app([*command, *([] if command == ["--version"] else ["--help"])])
    except SystemExit as left:
        assert not left.code
print(sorted({"torch", "sklearn", "onnx", "scipy", "matplotlib", "jinja2"} & sys.modules.keys()))
"""
    done = python(code)

    assert done.code == 0, done.err
    assert done.out.endswith("[]\n")
    assert done.out.count("Example: sensor-trainer") == 9
    assert "never point-adjusted" in re.sub(r"\s+", " ", done.out)
    assert "bundle schema 2" in done.out


def test_the_console_script_is_this_program() -> None:
    (script,) = entry_points(group="console_scripts", name="sensor-trainer")

    assert script.load() is main


def test_rows_out_of_order_are_told_of(
    run: Run, pristine: Path, plant: Path, tmp_path: Path
) -> None:
    header, *rows = plant.read_text().splitlines()
    backwards = tmp_path / "backwards.csv"
    backwards.write_text("\n".join((header, *reversed(rows))) + "\n")

    fitted = run("fit", backwards, "--model", "pca", "--out", tmp_path / "new")
    scored = run("score", pristine, backwards, "--out", tmp_path / "scores.csv")

    assert fitted.code == 65
    assert "rows out of order by more than 2 s" in fitted.err
    assert "out of the order of time" in scored.err
