"""What figures are measured by, how they are told, and that a linear autoencoder is a PCA."""

import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from scipy import linalg

from models.experiments.data import Data, read_data
from models.experiments.denoising import told_apart
from models.experiments.drawing import image_rows, loss_curves, tiled
from models.experiments.experiment import Reached, Task, Wanted, given, judged, number
from models.experiments.fitting import Epoch, scaled
from models.experiments.images import FASHION, Images, ImagesError
from models.experiments.practices import PRACTICES, practice_of
from models.experiments.practices.outlier import DAMAGES, area, cases, missed
from models.experiments.practices.pca import CLOUD, cloud, linear, principal_components
from models.experiments.practices.pretrain import (
    ACCURACY,
    REFERENCES,
    WAYS,
    best,
    changed_weights,
    why,
)
from models.experiments.practices.stacked import stacked
from models.experiments.practices.tsne import agreement, compared, mixed
from models.experiments.reconstruction import cross_entropy, floor, mean_image_loss
from models.experiments.training import fit, rebuilt
from models.page import charts
from tests.models.experiments.digits import write_digits

NONE = Images(np.zeros((0, 28, 28), np.uint8), np.zeros(0, np.uint8))


def task(folder: Path, *, name: str = "MNIST", quick: bool = False) -> Task:
    data = Data(name, NONE, NONE, NONE)
    return Task("pca", data, quick, 0, "cpu", folder, lambda stage, done, most: None)


def test_every_experiment_of_the_list_has_a_file_that_runs_it() -> None:
    assert [*PRACTICES] == [
        *("simple", "pca", "stacked", "tsne", "tied", "layerwise", "pretrain"),
        *("denoise-gaussian", "denoise-dropout", "conv", "recurrent", "sparse", "vae", "outlier"),
    ]
    for name in PRACTICES:
        assert callable(practice_of(name))


@pytest.mark.parametrize("seed", range(3))
def test_a_linear_autoencoder_finds_the_plane_of_pca(tmp_path: Path, seed: int) -> None:
    points, network = cloud(), linear(3, 2)
    images = points.astype(np.float32)[:, None]

    fit(
        replace(task(tmp_path), seed=seed),
        "points",
        network,
        CLOUD,
        (images, images),
        resumable=False,
    )

    best = principal_components(2, points)
    least = np.square(points - best.inverse_transform(best.transform(points))).mean()
    assert least == pytest.approx(0.0033901, rel=1e-4)
    assert np.square(points - rebuilt(network, images)[:, 0]).mean() <= 1.01 * least
    plane = network.dense.decoder_weights[0].detach().numpy()
    assert np.degrees(linalg.subspace_angles(plane, best.components_.T)).max() <= 0.5


@pytest.mark.parametrize(
    ("wanted", "value", "met", "limits"),
    [
        (Wanted(0.0934, most=0.096), 0.096, True, "at most 0.096"),
        (Wanted(0.0934, most=0.096), 0.0961, False, "at most 0.096"),
        (Wanted(least=3), 2.9, False, "at least 3"),
        (Wanted(0.01, 0.005, 0.02), 0.02, True, "0.005 to 0.02"),
        (Wanted(82_414, 82_414, 82_414), 82_413, False, "exactly 82 414"),
        (Wanted(0.1952), 17.0, None, ""),
        (Wanted(most=1), math.nan, False, "at most 1"),
    ],
)
def test_a_figure_is_met_within_its_limits(
    wanted: Wanted, value: float, met: bool | None, limits: str
) -> None:
    assert Reached("key", "name", value, wanted).met is met
    assert wanted.limits.replace("\N{NARROW NO-BREAK SPACE}", " ") == limits


def test_only_a_full_run_on_known_images_is_compared(tmp_path: Path) -> None:
    references = {"MNIST": {"loss": Wanted(0.1)}}
    figures: dict[str, tuple[str, float]] = {"loss": ("Loss", 0.2)}

    def compared(the: Task) -> list[Wanted | None]:
        return [one.wanted for one in judged(the, references, figures)]

    assert compared(task(tmp_path)) == [Wanted(0.1)]
    assert compared(task(tmp_path, quick=True)) == [None]
    assert compared(task(tmp_path, name="photos")) == [None]
    with pytest.raises(KeyError, match="without a figure: loss"):
        judged(task(tmp_path), references, {})


def test_figures_are_told_with_the_digits_that_count() -> None:
    told = [number(one) for one in (0.09344, 0.5, 0, 163_814, 0.0033901, -0.007, 0.0, 123.4)]

    assert told == [
        *("0.0934", "0.5000", "0", "163\N{NARROW NO-BREAK SPACE}814"),
        *("0.00339", "\N{MINUS SIGN}0.00700", "0.0000", "123"),
    ]
    assert [given(one) for one in (0.0934, 3, math.nan)] == ["0.0934", "3", "–"]


def test_the_last_twelfth_is_held_out_and_a_quick_run_takes_a_slice(tmp_path: Path) -> None:
    folder = write_digits(tmp_path / "digits", train=1200, test=100)

    whole, quick = read_data(folder), read_data(folder, quick=True)

    assert [len(one) for one in (whole.train, whole.validation, whole.test)] == [1100, 100, 100]
    assert whole.all_to_train.pixels.shape == (1200, 28, 28)
    assert quick.train.pixels.tobytes() == whole.train.pixels[:2000].tobytes()
    assert whole.name == "other images (digits)"
    assert whole.class_names == tuple("0123456789")


@pytest.mark.parametrize(("train", "test"), [(119, 60), (120, 11), (1, 1)])
def test_a_data_set_of_too_few_images_is_refused(tmp_path: Path, train: int, test: int) -> None:
    folder = write_digits(tmp_path / "digits", train, test)

    said = f"has {train} images to train on and {test} to test on; wanted at least 120 and 12"
    with pytest.raises(ImagesError, match=said):
        read_data(folder)


def test_a_folder_is_no_data_set_by_its_name(tmp_path: Path) -> None:
    assert read_data(write_digits(tmp_path / "MNIST")).name == "other images (MNIST)"


@pytest.mark.parametrize("part", ["train-labels", "t10k-images"])
def test_a_mixed_data_set_is_none_of_the_known(tmp_path: Path, part: str) -> None:
    shared = Path(__file__).parents[4] / "shared" / "data"
    if not shared.is_dir():
        pytest.skip(f"{shared} is missing")
    for path in (shared / "mnist").glob("*.gz"):
        other = shared / "fashion_mnist" / path.name
        (tmp_path / path.name).symlink_to(other if path.name.startswith(part) else path)

    assert read_data(tmp_path, quick=True).name == f"other images ({tmp_path.name})"


@pytest.mark.parametrize(
    ("folder", "name"), [("mnist", "MNIST"), ("fashion_mnist", "Fashion-MNIST")]
)
def test_the_data_sets_are_known_by_their_pixels_and_labels(folder: str, name: str) -> None:
    shared = Path(__file__).parents[4] / "shared" / "data" / folder
    if not shared.is_dir():
        pytest.skip(f"{shared} is missing")

    data = read_data(shared, quick=True)

    assert data.name == name
    assert (data.class_names[9] == "Ankle boot") == (name == "Fashion-MNIST")


def test_the_floor_is_the_entropy_of_the_grey_levels() -> None:
    grey = np.array([0, 1, 0.5, 0.25], np.float32)

    entropy = np.log(2) - 0.25 * np.log(0.25) - 0.75 * np.log(0.75)

    assert floor(grey) == pytest.approx(entropy / 4)
    assert cross_entropy(grey, np.full(4, 0.5)) == pytest.approx(np.log(2))


def test_simple_is_judged_on_the_test_images_and_so_are_its_bounds(tmp_path: Path) -> None:
    data = read_data(write_digits(tmp_path / "digits"), quick=True)
    test, learnt = scaled(data.test.pixels), scaled(data.all_to_train.pixels)

    outcome = practice_of("simple")(replace(task(tmp_path), data=data, quick=True))

    found = {one.key: one for one in outcome.reached}
    assert found["floor"].value == floor(test)
    assert found["floor"].name.startswith("The least possible test loss")
    assert found["mean_image_loss"].value == mean_image_loss(learnt, test)
    assert outcome.images == {"train": 720, "test": 120}


def test_dropped_pixels_are_measured_as_gone_and_the_others_as_they_are(tmp_path: Path) -> None:
    data = read_data(write_digits(tmp_path / "digits"), quick=True)

    outcome = practice_of("denoise-dropout")(replace(task(tmp_path), data=data, quick=True))

    found = {one.key: one.value for one in outcome.reached}
    lost = found["cleaner"] * found["cleaned_error"]
    assert lost == pytest.approx(0.5 * np.square(scaled(data.validation.pixels)).mean(), rel=0.05)


@pytest.mark.parametrize(
    ("loss", "held", "said"),
    [
        (0.1172, 0.1124, "training loss, 0.1172, lies above the validation loss, 0.1124: only"),
        (0.29395, 0.29432, "0.2939, does not lie above the validation loss, 0.2943, though"),
    ],
)
def test_what_noise_does_to_the_losses_is_said_as_it_was(
    loss: float, held: float, said: str
) -> None:
    assert said in told_apart(Epoch(10, loss, held, 0.9))


def test_neighbours_agree_where_classes_are_apart() -> None:
    places = np.repeat([[0.0, 0.0], [9.0, 9.0]], 20, axis=0).astype(np.float32)
    places += np.random.default_rng(0).normal(0, 0.1, places.shape)
    labels = np.repeat([0, 1], 20).astype(np.uint8)

    assert agreement(places, labels) == 1
    assert agreement(places, labels[::-1].copy()) == 1
    assert agreement(places, np.tile([0, 1], 20).astype(np.uint8)) < 0.7


@pytest.mark.parametrize(
    ("learnt", "said"),
    [
        (0.926, "92.6 % on the map of learned codes have its label: PCA codes part the classes"),
        (0.95, "95.0 % on the map of learned codes have its label: what the network learnt parts"),
    ],
)
def test_the_map_that_parts_classes_best_is_named_whichever_it_is(learnt: float, said: str) -> None:
    told = compared(("pixels", "PCA codes", "learned codes"), (0.928, 0.944, learnt))

    assert said in told.replace("\N{NARROW NO-BREAK SPACE}", " ")
    assert "92.8 % on the map of pixels, 94.4 %" in told.replace("\N{NARROW NO-BREAK SPACE}", " ")


def test_classes_that_are_not_apart_on_a_map_are_named() -> None:
    rng = np.random.default_rng(0)
    places = np.repeat([[0.0, 0.0], [9.0, 9.0], [0.0, 0.0]], 40, axis=0) + rng.normal(size=(120, 2))
    labels = np.repeat([2, 5, 4], 40).astype(np.uint8)
    apart = np.repeat([2, 5, 2], 40).astype(np.uint8)

    one, other = (mixed(places.astype(np.float32), which, FASHION) for which in (labels, apart))

    assert "not apart: " in one
    assert "Pullover, with" in one
    assert "most others Coat" in one
    assert "Sandal" not in one
    assert "every class is apart, least so " in other


def test_the_area_is_how_often_a_strange_image_has_the_larger_error() -> None:
    assert area(np.array([1.0, 2.0]), np.array([3.0, 1.5])) == 0.75


def test_images_are_damaged_only_in_copies() -> None:
    images = np.random.default_rng(0).random((5, 28, 28)).astype(np.float32)
    before = images.copy()
    for damage in DAMAGES.values():
        found = damage(images, np.random.default_rng(1))
        assert found.shape == images.shape
        assert np.abs(found - before).max() > 0.1
        assert 0 <= found.min() <= found.max() <= 1
    assert np.array_equal(images, before)


def test_upside_down_is_turned_and_not_mirrored() -> None:
    images = np.arange(2 * 28 * 28, dtype=np.float32).reshape(2, 28, 28)

    found = DAMAGES["upside down"](images, np.random.default_rng(0))

    assert np.array_equal(found, np.rot90(images, 2, axes=(1, 2)))


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            {"a 9": 0.02, "half gone": 0.021, "a 7": 0.4},
            "Hardly found here: “a 9” (2 %), “half gone” (2.1 %).",
        ),
        ({"a 9": 0.3, "a 7": 0.4}, "Least is found here of “a 9”: 30 %."),
    ],
)
def test_kinds_that_are_hardly_found_are_named(found: dict[str, float], said: str) -> None:
    assert said in missed(found).replace("\N{NARROW NO-BREAK SPACE}", " ")


def test_cases_are_those_on_their_side_of_the_threshold() -> None:
    network, images = stacked(), np.zeros((4, 28, 28), np.float32)
    errors = np.array([0.5, 3.0, 1.0, 1.2])

    def shown(*, below: bool) -> list[list[str]]:
        pictures = cases(network, "key", "title", images, errors, below=below)
        return [[text.get_text() for text in one.draw(charts.DAY).texts] for one in pictures]

    assert shown(below=False) == [
        ["image", "reconstruction", "difference", "3.00", "1.20", "error / threshold"]
    ]
    assert shown(below=True)[0][3:5] == ["0.50", "1.00"]
    assert cases(network, "key", "title", images[:1], errors[:1]) == []


@pytest.mark.parametrize("reference", [None, 0.1])
@pytest.mark.parametrize("trainings", [1, 2, 3])
def test_every_name_of_a_loss_is_on_its_picture(trainings: int, reference: float | None) -> None:
    history = [Epoch(number, 0.2, 0.2, 0.9) for number in (1, 2)]
    with charts.style(charts.DAY):
        figure = loss_curves(
            {f"training {number}": history for number in range(trainings)}, charts.DAY, reference
        )
        figure.draw_without_rendering()

    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert legend.get_window_extent().y1 <= figure.bbox.y1


def test_the_way_that_came_out_best_is_named_whichever_it_is() -> None:
    means = {
        "lower": np.array([0.684, 0.774]),
        "tuned": np.array([0.685, 0.779]),
        "scratch": np.array([0.675, 0.78]),
    }

    assert best([100, 500], means) == (
        "Best came out: both layers reused, fine-tuned (100 labels, 68.5 %); "
        "from scratch (500 labels, 78.0 %)."
    )


@pytest.mark.parametrize(
    ("layer", "said"), [(0.683, "no more of the class than the pixels do: "), (0.75, "most of it")]
)
def test_a_gain_that_is_too_small_is_said_with_what_goes_with_it(layer: float, said: str) -> None:
    told = why(0.009, 0.694, layer)

    assert said in told
    assert "wins 0.9 points, fewer than asked for" in told
    assert f"comes to {100 * layer:.1f} %, of the pixels to 69.4 %" in told


def test_reused_weights_are_counted_bit_for_bit() -> None:
    import torch

    network = stacked()
    network.initialise(torch.Generator().manual_seed(0))

    assert changed_weights(network.dense, 0) == 0
    assert WAYS.keys() == ACCURACY.keys()
    assert {one["gain_100"].least for one in REFERENCES.values()} == {0.03}


def test_a_picture_is_the_same_bytes_each_time_by_day_and_by_night() -> None:
    images = np.linspace(0, 1, 3 * 28 * 28, dtype=np.float32).reshape(3, 28, 28)
    draw = partial(image_rows, [("one", images), ("two", images[::-1])])

    assert charts.png(draw) == charts.png(draw)
    with charts.style():
        svg = charts.svg(draw(charts.PAGE), "pictures")
    assert "var(--ink)" in svg
    assert "data:image/png;base64" in svg
    assert tiled(images).shape == (114, 342, 4)
