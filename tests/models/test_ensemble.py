"""Many networks, one judgement: the median of their scores, and how far they differ."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from models import bundle
from models.calibration import smoothed
from models.cli import main
from models.decision import Rule
from models.detector import mean_square
from models.families.ensemble import Ensemble
from models.families.lstm import LstmAutoencoder
from models.families.network import Network
from models.manifest import Manifest
from models.options import with_options
from models.packing import export
from models.plan import Request, Settings, plan
from models.runtime import OnnxRuntime, Outputs, TorchRuntime
from models.split import Split
from models.training import train
from tests.models.plant import fitted, normal, recording, request, values, write_csv, written

WINDOW, SENSORS, TAIL = 8, 3, 4


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


class Steady(Network):
    """A member that expects one number everywhere."""

    def __init__(self, level: float) -> None:
        super().__init__(WINDOW, SENSORS)
        self.level = torch.nn.Parameter(torch.tensor(level), requires_grad=False)

    def reconstruct(self, windows: Tensor) -> Tensor:
        return torch.zeros_like(windows) + self.level


def ensemble(levels: Sequence[float], units: Sequence[float] | None = None) -> Ensemble:
    made = Ensemble(WINDOW, SENSORS, ("pca",) * len(levels))
    made.members = torch.nn.ModuleList(Steady(level) for level in levels)
    made.settle([np.full(SENSORS, unit) for unit in units or [1.0] * len(levels)], TAIL)
    return made


def given(count: int = 70) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, WINDOW, SENSORS)).astype(np.float32)


def score(error: np.ndarray) -> np.ndarray:
    """The detector's mean square with an error scale of 1."""
    return mean_square(error, np.ones(SENSORS), TAIL)[0]


def both(network: Network, windows: np.ndarray) -> list[Outputs]:
    return [TorchRuntime(network)(windows), OnnxRuntime(export(network))(windows)]


@pytest.mark.parametrize("levels", [[0.0], [0.5, -0.5], [0.0, 1.0, -1.5], [0.3, 2.0, -1.0, -0.2]])
def test_the_score_is_the_median_of_the_members_scores_and_the_spread_their_range(
    levels: list[float],
) -> None:
    windows, units = given(), [1.0 + index for index in range(len(levels))]
    own = np.stack(
        [score((windows - level) ** 2 / unit) for level, unit in zip(levels, units, strict=True)]
    )

    for found in both(ensemble(levels, units), windows):
        assert found.spread is not None
        np.testing.assert_allclose(score(found.error), np.median(own, axis=0), rtol=1e-5)
        np.testing.assert_allclose(found.spread, np.ptp(own, axis=0), rtol=1e-4, atol=1e-6)


def test_what_was_expected_is_the_median_members_own() -> None:
    windows = given()
    levels = np.array([0.0, 1.0, -1.5], np.float32)
    own = np.stack([score((windows - level) ** 2) for level in levels])
    median = levels[np.argsort(own, axis=0)[1]]

    for found in both(ensemble(levels.tolist()), windows):
        assert set(median.tolist()) == set(levels.tolist())
        np.testing.assert_array_equal(found.expected, median[:, None, None] + 0 * windows)
        np.testing.assert_allclose(found.error, (windows - found.expected) ** 2, rtol=1e-5)


def test_of_an_even_number_the_two_in_the_middle_are_averaged() -> None:
    windows = np.full((1, WINDOW, SENSORS), 10, np.float32)

    for found in both(ensemble([0.0, 4.0, 8.0, 9.0]), windows):
        assert found.expected.tolist() == np.full_like(windows, 6).tolist()
        assert found.error.tolist() == np.full_like(windows, (36 + 4) / 2).tolist()
        assert found.spread is not None
        assert found.spread.tolist() == [99]


def test_one_member_alone_is_itself_in_units_of_its_threshold() -> None:
    windows = given()

    for found in both(ensemble([0.5], [2.0]), windows):
        np.testing.assert_allclose(found.error, (windows - 0.5) ** 2 / 2, rtol=1e-5)
        assert found.spread is not None
        assert not found.spread.any()


def member_weights(network: Network) -> list[Tensor]:
    return [weight.detach() for weight in network.inner()]


def trained(members: tuple[str, ...], seed: int = 0) -> Ensemble:
    ends = np.arange(WINDOW - 1, 300)
    split = Split(ends[:180], ends[200:], ends[200:])
    settings = Settings(epochs=2, seed=seed)

    def nothing(done: int, most: int) -> None:
        """Progress that nobody watches."""

    found = train(
        "ensemble", {"members": members}, normal(values(300)), WINDOW, split, settings, nothing
    )
    return cast(Ensemble, found.network)


@pytest.mark.parametrize("family", ["lstm", "stacked"])
def test_twins_do_without_a_fifth_of_their_inner_weights_for_good(family: str) -> None:
    begun = Ensemble(WINDOW, SENSORS, (family, family, "pca"))
    begun.initialise(Generator().manual_seed(0))

    done = trained((family, family, "pca"))

    masks: list[Tensor] = []
    for before, after in zip(begun.parts()[:2], done.parts()[:2], strict=True):
        pairs = list(zip(member_weights(before), member_weights(after), strict=True))
        for one, other in pairs:
            assert torch.equal(one == 0, other == 0)
            assert not torch.equal(one, other)
            assert 0.7 < (other != 0).float().mean().item() < 0.9
        masks.append(pairs[0][1] != 0)
    assert not torch.equal(*masks)


def test_what_stands_once_is_whole_and_sees_every_window() -> None:
    made = Ensemble(WINDOW, SENSORS, ("pca", "stacked", "lstm"))
    made.initialise(Generator().manual_seed(0))
    ends = np.arange(200)

    for member in made.parts():
        assert all((weight != 0).all() for weight in member_weights(member))
        assert member.draw(ends, Generator()) is ends


def test_twins_train_on_windows_drawn_with_replacement() -> None:
    one, other = Ensemble(WINDOW, SENSORS, ("pca", "pca")).parts()
    ends, generator = np.arange(1000), Generator().manual_seed(0)

    drawn = [member.draw(ends, generator) for member in (one, other)]

    assert [len(part) for part in drawn] == [1000, 1000]
    for part in drawn:
        assert 0.6 < len(set(part.tolist())) / 1000 < 0.66  # 1 - 1/e
    assert drawn[0].tolist() != drawn[1].tolist()


def test_the_weights_an_lstm_does_without_are_recurrent() -> None:
    network = LstmAutoencoder(WINDOW, SENSORS, hidden=5)

    assert [weight.shape for weight in network.inner()] == [(20, 5), (20, 5)]
    assert network.inner()[0] is network.encoder.weight_hh_l0
    assert network.inner()[1] is network.decoder.weight_hh_l0


def test_members_differ_though_their_families_are_one() -> None:
    one, other, third = trained(("stacked", "stacked", "stacked")).parts()

    windows = torch.from_numpy(given())
    assert not torch.equal(one.reconstruct(windows), other.reconstruct(windows))
    assert not torch.equal(other.reconstruct(windows), third.reconstruct(windows))


def test_each_member_is_in_units_of_its_own_threshold(tmp_path: Path) -> None:
    members = ("pca", "stacked")
    asked = request("ensemble", epochs=1, window=WINDOW, parameters={"members": members})
    the = plan([recording(values(5200))], asked)
    folder = written(tmp_path / "plant", fitted([recording(values(5200))], asked))
    detector = bundle.load(folder, "torch")
    network = cast(Ensemble, cast(TorchRuntime, detector.runtime)._network)
    (split,) = the.folds
    frames = detector.scale(the.frames.values)
    windows = frames[split.calibration[:, None] + np.arange(1 - WINDOW, 1)]

    for number, member in enumerate(network.parts()):
        error = TorchRuntime(member)(windows).error / network.unit[number].numpy()
        error = error.astype(np.float32)
        raw = mean_square(error, np.ones(SENSORS), WINDOW)[0]
        (series,) = smoothed(raw, split.calibration, Rule())
        # The data are too short for the request, so a threshold is the highest score.
        assert series.max() == pytest.approx(1, rel=1e-5)
    manifest, _ = bundle.verify(folder)
    assert manifest.calibrations["default"].error_scale == [1.0] * SENSORS


def test_members_are_chosen_by_a_setting_and_a_bundle_says_which() -> None:
    asked = with_options(Request(model="ensemble", window=WINDOW), ['members=["pca", "stacked"]'])
    asked = with_options(asked, ["epochs=1"])

    manifest = fitted([recording(values(400))], asked).manifest

    assert asked.parameters == manifest.parameters == {"members": ("pca", "stacked")}
    text = manifest.model_dump_json()
    assert Manifest.model_validate_json(text).parameters == manifest.parameters


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("members=pca", 'a list of words such as \\["pca","lstm"\\]'),
        ("members=[1,2]", "a list of words"),
        ('members=["pca",1]', "a list of words"),
        ("members=[]", "a list of 1 to 64 of pca, stacked, lstm"),
        ('members=["guess"]', "a list of 1 to 64 of pca, stacked, lstm"),
        ('members=["ensemble"]', "a list of 1 to 64 of pca, stacked, lstm"),
        (f"members={['pca'] * 65}".replace("'", '"'), "a list of 1 to 64"),
    ],
)
def test_members_that_cannot_be_are_refused_in_words(setting: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"--set members=.*wanted {message}.* for members"):
        with_options(Request(model="ensemble"), [setting])


def test_score_writes_the_spread_of_an_ensemble_and_of_nothing_else(
    pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = with_options(request("ensemble", epochs=1, window=WINDOW), ['members=["pca","pca"]'])
    several = written(tmp_path / "several", fitted([recording(values(400))], asked))
    data = write_csv(tmp_path / "today.csv", values(60, seed=1))

    def scored(folder: Path) -> list[dict[str, str]]:
        out = folder.with_suffix(".csv") if folder == several else tmp_path / "one.csv"
        command = ["sensor-trainer", "score", str(folder), str(data), "--out", str(out)]
        monkeypatch.setattr("sys.argv", command)
        with pytest.raises(SystemExit):
            main()
        return list(csv.DictReader(out.read_text().splitlines()))

    rows = scored(several)

    assert list(rows[0])[-1] == "spread"
    assert {row["spread"] for row in rows[: WINDOW - 1]} == {""}
    assert all(float(row["spread"]) > 0 for row in rows[WINDOW - 1 :])
    assert "spread" not in scored(pristine)[0]


# What an ensemble is for
