"""`sensor-trainer compare`, from its arguments to its table."""

import json
from pathlib import Path

import pytest

from models import bundle
from tests.models.command import Run, runner
from tests.models.plant import values, write_csv


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `sensor-trainer compare` in this process, on a terminal of 80 columns."""
    return runner(
        monkeypatch, capsys, ("compare",), ("--window", "8", "--set", "epochs=2"), columns=80
    )


def test_families_stand_beside_the_baseline_and_the_advice_is_in_words(
    run: Run, plant: Path, faulty: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "all"

    done = run(plant, "--models", "stacked", "--test", faulty, "--out", folder)

    assert (done.code, done.err) == (0, "")
    assert "windows of 8 frames of 1 s: 393 kept" in done.out
    assert all(len(line) <= 80 for line in done.out.splitlines())
    header = next(line for line in done.out.splitlines() if "stacked" in line)
    assert header.index("pca (baseline)") < header.index("stacked")
    for text in ("vus_pr", "event_f1", "smallest step", "audit", "trained in", "µs", "kB"):
        assert text in done.out
    assert "judged on 1 recording with labels" in done.out
    assert "were trained on" not in done.out
    assert ": take " in " ".join(done.out.split())
    assert sorted(path.name for path in folder.iterdir()) == ["pca", "stacked"]
    for path in folder.iterdir():
        assert bundle.load(path).name == path.name


def test_without_test_files_the_datas_own_labels_judge_and_it_is_said(
    run: Run, faulty: Path
) -> None:
    report = json.loads(run(faulty, "--models", "pca", "--json").out)
    told = run(faulty, "--models", "pca").out

    (entry,) = report["models"].values()
    assert entry["judged"]["vus_pr"] > 0.5
    assert entry["judged"]["event_f1"] == 1
    assert "300 of their rows were trained on" in told


def test_json_has_all_figures_of_each_family(run: Run, plant: Path) -> None:
    done = run(plant, "--models", "stacked,pca", "--json")

    report = json.loads(done.out)
    assert done.err == ""
    assert list(report["models"]) == ["pca", "stacked"]
    assert report["best"] in report["models"]
    assert "than pca" in report["why"]
    for entry in report["models"].values():
        assert entry["judged"] is None
        assert entry["refused"] is None
        assert entry["smallest_step"].keys() == {"current", "flow", "heat"}
        assert entry["bound_per_day"] > entry["expected_per_day"] == 0
        for key in ("validation_loss", "train_s", "score_us", "bytes"):
            assert entry[key] > 0


def test_a_setting_is_for_the_families_that_have_it(run: Run, plant: Path, tmp_path: Path) -> None:
    run(plant, "--models", "stacked", "--set", "hidden=[6,3]", "--out", tmp_path / "all")

    given = {path.name: bundle.verify(path)[0].parameters for path in (tmp_path / "all").iterdir()}
    assert given["stacked"]["hidden"] == (6, 3)
    assert "hidden" not in given["pca"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["{plant}", "--models", "guess"], 2, "--models guess: wanted one of pca, stacked"),
        (["{plant}", "--models", "lstm,lstm"], 2, "has 'lstm' twice"),
        (["{plant}", "--models", "stacked", "--set", "heads=2"], 2, "no such key for pca"),
        (["{plant}", "--test", "{plant}"], 65, "has no column label to judge by"),
        (["{plant}", "--test", "{healthy}"], 65, "holds no row with label 1 to judge on"),
        (["{plant}", "--test", "{nowhere}"], 66, "no such file or folder"),
        (["{nowhere}"], 66, "no such file or folder"),
        (["{plant}", "--rows", "0:90"], 65, "too little normal data"),
        (["{plant}", "--models", "pca", "--out", "{taken}"], 73, "exists; --force replaces it"),
    ],
)
def test_what_cannot_be_compared_is_one_message_and_an_exit_code(
    run: Run, plant: Path, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    (tmp_path / "taken" / "pca").mkdir(parents=True)
    healthy = write_csv(tmp_path / "healthy.csv", values(100), label=[0] * 100)
    places = {name: tmp_path / name for name in ("taken", "nowhere")}
    places |= {"plant": plant, "healthy": healthy}

    done = run(*(argument.format(**places) for argument in arguments))

    assert done.code == code
    assert message in done.err
    assert done.err.count("\n") == 1
