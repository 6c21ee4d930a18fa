"""A training that is killed goes on where its newest checkpoint is, and ends as if nothing was."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import torch as tensors

from models.checkpoint import Checkpoint, fingerprint
from models.families import FAMILIES
from models.plan import Settings
from models.split import Split
from models.training import Fitted, train
from tests.models.plant import normal, values

WINDOW = 8
SETTINGS = Settings(epochs=4, patience=2)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


class Killed(BaseException):
    """Stands for the end of the process."""


def fit(
    model: str,
    checkpoint: Path | None,
    *,
    kill: int | None = None,
    settings: Settings = SETTINGS,
    held: bool = True,
    seed: int = 0,
) -> tuple[Fitted, list[int]]:
    """A training, and the epochs that it did; killed after one of them, if asked."""
    seen: list[int] = []

    def note(done: int, most: int) -> None:
        seen.append(done)
        if done == kill:
            raise Killed

    ends = np.arange(WINDOW - 1, 300)
    last = ends[200 if held else 300 :]
    split = Split(ends[:180], last, last)
    given = normal(values(300, seed))
    return train(model, {}, given, WINDOW, split, settings, note, checkpoint=checkpoint), seen


def weights(fitted: Fitted) -> bytes:
    return tensors.save({key: one.contiguous() for key, one in fitted.network.state_dict().items()})


@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("model", [model for model in FAMILIES if model != "pca"])
def test_a_training_killed_after_any_epoch_ends_with_the_weights_of_one_never_interrupted(
    model: str, tmp_path: Path, *, held: bool
) -> None:
    whole, epochs = fit(model, None, held=held)
    for kill in epochs:
        checkpoint = tmp_path / f"{kill}" / "fold"
        with pytest.raises(Killed):
            fit(model, checkpoint, kill=kill, held=held)

        resumed, seen = fit(model, checkpoint, held=held)

        assert seen == [epoch for epoch in epochs if epoch > kill]
        assert weights(resumed) == weights(whole)
        assert resumed.epochs == whole.epochs
        np.testing.assert_equal(resumed.validation_loss, whole.validation_loss)


def test_weights_that_were_the_best_before_the_kill_are_kept(tmp_path: Path) -> None:
    wild = Settings(epochs=30, patience=3, lr=0.3)
    whole, epochs = fit("stacked", None, settings=wild)
    assert whole.epochs[0] < epochs[-1] < 30
    for kill in epochs[whole.epochs[0] - 1 :]:
        with pytest.raises(Killed):
            fit("stacked", tmp_path / f"{kill}", kill=kill, settings=wild)

        resumed, _ = fit("stacked", tmp_path / f"{kill}", settings=wild)

        assert resumed.epochs == whole.epochs
        assert weights(resumed) == weights(whole)


def test_one_killed_again_and_again_still_arrives(tmp_path: Path) -> None:
    whole, epochs = fit("stacked", None)
    for kill in epochs:
        with pytest.raises(Killed):
            fit("stacked", tmp_path / "fold", kill=kill)

    resumed, seen = fit("stacked", tmp_path / "fold")

    assert seen == []
    assert weights(resumed) == weights(whole)


OTHERS: dict[str, dict[str, Any]] = {
    "data": {"seed": 1},
    "split": {"held": False},
    "rate": {"settings": replace(SETTINGS, lr=2e-3)},
    "seed": {"settings": replace(SETTINGS, seed=1)},
    "epochs": {"settings": replace(SETTINGS, epochs=5)},
}


@pytest.mark.parametrize("other", OTHERS)
def test_a_checkpoint_of_anything_else_is_ignored(other: str, tmp_path: Path) -> None:
    fit("stacked", tmp_path / "fold")

    fitted, seen = fit("stacked", tmp_path / "fold", **OTHERS[other])

    assert seen[0] == 1
    assert weights(fitted) == weights(fit("stacked", None, **OTHERS[other])[0])


def test_a_checkpoint_of_another_version_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit("stacked", tmp_path / "fold")
    monkeypatch.setattr("models.checkpoint.version", str.upper)

    assert fit("stacked", tmp_path / "fold")[1][0] == 1


def damages() -> dict[str, Callable[[Path], object]]:
    def flip(at: float) -> Callable[[Path], object]:
        def change(path: Path) -> None:
            data = bytearray(path.read_bytes())
            data[int(at * len(data))] ^= 1
            path.write_bytes(data)

        return change

    def folder(path: Path) -> None:
        path.unlink()
        path.mkdir()

    return {
        "empty": lambda path: path.write_bytes(b""),
        "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
        "other": lambda path: path.write_bytes(b"nonsense\n" * 100),
        "folder": folder,
        **{f"flipped at {at}": flip(at) for at in (0.0, 0.001, 0.01, 0.1, 0.5, 0.999)},
    }


@pytest.mark.parametrize("damage", damages())
def test_a_damaged_checkpoint_is_ignored_with_a_warning(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole, _ = fit("stacked", tmp_path / "fold")
    (path,) = tmp_path.iterdir()
    damages()[damage](path)

    if damage == "folder":
        assert Checkpoint(path, "").read() is None
    else:
        fitted, seen = fit("stacked", tmp_path / "fold")
        assert seen[0] == 1
        assert weights(fitted) == weights(whole)

    ((_, level, text),) = caplog.record_tuples
    assert level == logging.WARNING
    assert str(path) in text
    assert "training starts anew" in text


def test_an_end_in_the_midst_of_writing_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Checkpoint(tmp_path / "fold", fingerprint("", ()))
    kept.write({"epoch": 1})

    def torn(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise Killed

    monkeypatch.setattr(Path, "write_bytes", torn)
    with pytest.raises(Killed):
        kept.write({"epoch": 2})

    assert kept.read() == {"epoch": 1}


def test_a_state_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    state: dict[str, Any] = {
        "loss": float("inf"),
        "rate": 0.1 + 0.2,
        "weights": {"a": torch.arange(6.0).reshape(2, 3), "none": torch.zeros(0)},
        "optimisers": [{"state": {0: {"step": torch.tensor(3.0)}}}, {"state": {}}],
        "generator": torch.Generator().manual_seed(3).get_state(),
        "text": "\n",
    }
    kept = Checkpoint(tmp_path / "fold", "")
    kept.write(state)

    found = kept.read()

    assert found is not None
    assert torch.equal(found["generator"], state["generator"])
    assert torch.equal(found["weights"]["a"], state["weights"]["a"])
    assert found["weights"]["none"].shape == (0,)
    assert found["optimisers"][0]["state"][0]["step"].item() == 3
    assert found["optimisers"][1] == {"state": {}}
    assert (found["loss"], found["rate"], found["text"]) == (float("inf"), 0.1 + 0.2, "\n")
