"""train.toml: many bundles, each made once."""

import subprocess
import sys
from pathlib import Path

import pytest

from models import bundle
from models.jobs import JobsError, read
from tests.models.plant import values, write_csv

TOML = """\
[fit]
model = "pca"
window = 16
[[bundle]]
out = "bundles/one"
data = ["one.csv"]
[[bundle]]
out = "bundles/two"
data = ["two.csv"]
window = 24
ignore = ["heat", "flow"]
seed = 3
set = { variance = 0.8 }
"""


def written(folder: Path, text: str = TOML) -> Path:
    for seed, name in enumerate(("one", "two")):
        write_csv(folder / f"{name}.csv", values(400, seed))
    path = folder / "train.toml"
    path.write_text(text)
    return path


def fit(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "models.cli", "fit", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_bundles_own_settings_come_before_those_for_all(tmp_path: Path) -> None:
    one, two = read(written(tmp_path))

    assert one.arguments == (
        *(f"{tmp_path}/one.csv", "--out", f"{tmp_path}/bundles/one"),
        *("--model", "pca", "--window", "16"),
    )
    assert two.arguments == (
        *(f"{tmp_path}/two.csv", "--out", f"{tmp_path}/bundles/two"),
        *("--model", "pca", "--window", "24", "--ignore", "heat", "--ignore", "flow"),
        *("--seed", "3", "--set", "variance=0.8"),
    )


def test_what_of_the_data_is_used_is_said_as_on_the_command_line(tmp_path: Path) -> None:
    text = """\
[fit]
exclude = "repairs.csv"
from = "2026-01-01T00:00:00Z"
[[bundle]]
out = "b"
data = ["one.csv"]
to = "1800000000"
assets = ["p1", "p2"]
unit = { heat = "°C" }
"""
    (job,) = read(written(tmp_path, text))

    assert job.arguments[3:] == (
        *("--from", "2026-01-01T00:00:00Z", "--exclude", f"{tmp_path}/repairs.csv"),
        *("--to", "1800000000", "--assets", "p1,p2", "--unit", "heat=°C"),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[fit", "is no TOML"),
        ("", "bundle: Field required"),
        ("bundle = []", "bundle: List should have at least 1 item"),
        ('[[bundle]]\nout = "b"', r"bundle.0.data: Field required"),
        (
            '[[bundle]]\nout = "b"\ndata = ["d"]\nwindw = 3',
            r"bundle.0.windw: no such key; did you mean window",
        ),
        ('[fit]\nwindow = "8"\n[[bundle]]\nout = "b"\ndata = ["d"]', "fit.window: .* found '8'"),
        (2 * '[[bundle]]\nout = "b"\ndata = ["d"]\n', "bundle: two of them have the out .*/b"),
    ],
)
def test_a_wrong_train_toml_is_refused_with_its_place(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(JobsError, match=f"train.toml: {message}"):
        read(written(tmp_path, text))


def test_all_bundles_are_made_once_and_one_that_fails_does_not_stop_the_others(
    tmp_path: Path,
) -> None:
    path = written(tmp_path, TOML + '[[bundle]]\nout = "bundles/three"\ndata = ["three.csv"]\n')

    first = fit("--config", path, "--jobs", 2)
    assert first.returncode == 66
    assert "1 of 3 bundles failed: three" in first.stderr
    assert "three.csv: no such file" in first.stdout
    two = bundle.load(tmp_path / "bundles/two")
    assert (two.sensors, two.grid.window) == (("current",), 24)
    made = (tmp_path / "bundles/two/bundle.json").stat().st_mtime_ns

    write_csv(tmp_path / "one.csv", values(500))
    write_csv(tmp_path / "three.csv", values(400))
    second = fit("--config", path, "--jobs", 1, "--force")

    assert second.returncode == 0, second.stderr
    assert "bundles/two: is made of this already" in second.stdout
    assert second.stdout.count("is made of this already") == 1
    assert (tmp_path / "bundles/two/bundle.json").stat().st_mtime_ns == made
    assert (tmp_path / "bundles/one.previous").is_dir()


def test_a_bundle_made_otherwise_is_replaced_only_by_force(tmp_path: Path) -> None:
    path = written(tmp_path)
    arguments = (tmp_path / "one.csv", "--out", tmp_path / "b", "--model", "pca")
    assert fit(*arguments, "--window", 16).returncode == 0

    assert fit(*arguments, "--window", 16, "--skip-done").returncode == 0
    other = fit(*arguments, "--window", 20, "--skip-done")

    assert (other.returncode, "exists; --force" in other.stderr) == (73, True)
    assert fit("--config", path, tmp_path / "one.csv").returncode == 2
    assert fit("--config", tmp_path / "none.toml").returncode == 66
