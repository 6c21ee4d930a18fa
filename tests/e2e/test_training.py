"""A `sensor-trainer fit` that is killed: nothing half-written is seen, nothing learnt is lost."""

import subprocess
import sys
from pathlib import Path
from signal import SIGKILL

import pytest

from models.bundle import MANIFEST, verify
from models.cli import main
from tests.e2e.program import BIN
from tests.models.plant import values, write_csv
from tests.mosquitto import wait_until

SETTINGS = ("--model", "stacked", "--window", "8", "--jobs", "1", "--set", "epochs=3")


def test_a_fit_killed_in_training_goes_on_where_it_was_and_writes_the_same_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_csv(tmp_path / "plant.csv", values(500))
    whole, out = tmp_path / "whole" / "plant", tmp_path / "killed" / "plant"
    checkpoints = out.with_name(".plant.checkpoint")
    fit = ["fit", str(data), *SETTINGS, "--out"]
    command = [sys.executable, BIN / "sensor-trainer", *fit, out]

    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as killed:
        wait_until(lambda: (checkpoints / "stacked-1.0").exists() or killed.poll() is not None, 90)
        killed.kill()
    assert killed.returncode == -SIGKILL
    assert list(out.parent.iterdir()) == [checkpoints]
    resumed = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    assert resumed.returncode == 0
    assert list(out.parent.iterdir()) == [out]

    monkeypatch.setattr(sys, "argv", ["sensor-trainer", *fit, str(whole)])
    with pytest.raises(SystemExit):
        main()
    (one, files), (other, others) = verify(out), verify(whole)
    assert one.digest == other.digest
    assert {name for name in files if files[name] != others[name]} == {MANIFEST}
