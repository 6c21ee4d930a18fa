"""Unsupervised pretraining: a classifier with few labels begins with an autoencoder's layers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from torch import Generator, Tensor

from models.checkpoint import Checkpoint
from models.experiments.autoencoder import StackedImages
from models.experiments.classifier import WIDTHS, Classifier, teach
from models.experiments.drawing import legend
from models.experiments.experiment import (
    Outcome,
    Picture,
    References,
    Table,
    Task,
    Wanted,
    judged,
)
from models.experiments.fitting import Recipe, scaled
from models.experiments.images import Bytes
from models.experiments.metrics import fingerprint_of
from models.experiments.practices.stacked import HIDDEN
from models.experiments.reconstruction import pixels_of
from models.experiments.training import fit, shortened, told
from models.families.dense import DenseAutoencoder, draw_weights
from models.frame import Floats
from models.page import charts
from models.page.charts import Palette
from models.words import percent

AUTOENCODER = Recipe("adam", 1e-3, 256, 8)
EPOCHS, DRAWS, LABELS = 60, 5, (100, 500, 1000)
ENCODER = 2  # layers


@dataclass(frozen=True, slots=True)
class Way:
    """A way to begin.

    Args:
        name: in words.
        reused: layers with the autoencoder's weights.
        frozen: layers that stay as they are.
    """

    name: str
    reused: int = 0
    frozen: int = 0


class Autoencoder(StackedImages):
    """The stacked autoencoder, begun like the classifier."""

    def initialise(self, generator: Generator) -> None:
        """Draw weights as PyTorch's own layers begin."""
        draw_weights(self, generator, "uniform")


WAYS = {
    "lower": Way("lower layer reused, fine-tuned", reused=1),
    "tuned": Way("both layers reused, fine-tuned", reused=ENCODER),
    "frozen": Way("both layers reused, frozen", reused=ENCODER, frozen=ENCODER),
    "scratch": Way("from scratch"),
    "clone": Way("re-initialised clone, frozen", frozen=ENCODER),
}
_MEASURED = "measured, mean of 5 draws"
REFERENCES: References = {
    "MNIST": {
        "gain_100": Wanted(0.045, least=0.03, source=_MEASURED),
        "median_gain_100": Wanted(least=0, source="it has to help"),
        "changed_weights": Wanted(0, 0, 0, "bit for bit"),
    },
    "Fashion-MNIST": {
        "gain_100": Wanted(least=0.03, source="as on MNIST"),
        "median_gain_100": Wanted(least=0, source="it has to help"),
        "changed_weights": Wanted(0, 0, 0, "bit for bit"),
    },
}
# Of the same on MNIST, for each number of labels.
ACCURACY = {
    "lower": (0.745, 0.877, 0.904),
    "tuned": (0.724, 0.874, 0.904),
    "frozen": (0.605, 0.856, 0.878),
    "scratch": (0.700, 0.840, 0.874),
    "clone": (0.323, 0.653, 0.709),
}
SHOWN = """
Labels cost work, images do not. So an autoencoder learns from all the images, without a label, and
a classifier of the few labelled ones begins with its lower layers, those near the pixels: they hold
strokes and edges that are useful for telling classes as well.

Five ways to begin are compared, on several draws of labelled images each. {best}

The notebook behind the lecture copies the architecture of its encoder, not the weights, so that its
pretrained classifier begins with random ones and does worse than without: here that is the clone.
That the weights are really reused is counted before anything is fine-tuned.
"""
FURTHER = """
DRAWS = 20 in practices/pretrain.py: how sure is the gain?

denoise=0.2 instead of 0.0 in its run: does a layer that had to look through noise help more?

"glorot" instead of "uniform" in its Autoencoder: from larger weights the numbers of reused layers
grow larger, and a classifier learns worse from few labels.
"""


def run(task: Task) -> Outcome:
    """The autoencoder, then a classifier for each way, number of labels and draw."""
    images, held = pixels_of(task)
    network = Autoencoder(28, 28, hidden=HIDDEN, denoise=0.0)
    recipe = shortened(task, AUTOENCODER)
    fit(task, "autoencoder", network, recipe, (images, held))
    changed = changed_weights(network.dense, task.seed)
    sizes = [size for size in LABELS[: task.most(3, 1)] if size <= len(images)]
    found = _accuracies(task, network.dense, sizes)
    means = {way: found[way].mean(1) for way in WAYS}
    pixels, layer = _linear(task, network.dense, sizes[0])
    gains = found["lower"][0] - found["scratch"][0]
    figures: dict[str, tuple[str, float]] = {
        f"gain_{sizes[0]}": (
            f"Accuracy won by the lower layer at {sizes[0]} labels, mean of the draws",
            float(gains.mean()),
        ),
        f"median_gain_{sizes[0]}": ("The same, median", float(np.median(gains))),
        "changed_weights": ("Reused weights that differ before fine-tuning", changed),
    }
    figures["linear_pixels"] = (
        f"Accuracy, {sizes[0]} labels, a linear classifier of the pixels",
        pixels,
    )
    figures["linear_layer"] = ("The same of the lower layer's numbers", layer)
    for number, size in enumerate(sizes):
        for way, one in WAYS.items():
            figures[f"{way}_{size}"] = (
                f"Accuracy, {size} labels, {one.name}",
                float(means[way][number]),
            )
    reached = judged(task, REFERENCES, figures)
    won = reached[0]
    return Outcome(
        shown=SHOWN.format(best=best(sizes, means)),
        reached=reached,
        pictures=(
            Picture(
                "accuracy",
                "Accuracy and the number of labels",
                f"Test accuracy, mean of {found['lower'].shape[1]} draws of labelled images; the "
                "shades are one standard deviation wide to each side.",
                partial(_draw, sizes, found),
            ),
        ),
        further=FURTHER,
        made=(
            f"Autoencoder: 784–100–30–100–784, SELU, binary cross-entropy, {told(recipe)}.",
            f"Classifier: 784–100–30–20–10, SELU, Adam 0.001, batch 32, {_epochs(task)} epochs.",
        ),
        tables=(_table(task, sizes, found),),
        warnings=[why(won.value, pixels, layer)] if won.met is False else (),
    )


def best(sizes: Sequence[int], means: Mapping[str, Floats]) -> str:
    """Which way came out best with how many labels, in words.

    Args:
        sizes: numbers of labels.
        means: of the accuracy, by way, shape (sizes,).
    """
    first = [max(means, key=lambda way: means[way][number]) for number in range(len(sizes))]
    told = "; ".join(
        f"{WAYS[way].name} ({size} labels, {_points(means[way][number])} %)"
        for number, (size, way) in enumerate(zip(sizes, first, strict=True))
    )
    return f"Best came out: {told}."


def why(won: float, pixels: float, layer: float) -> str:
    """What goes with a gain that is too small, in words.

    Args:
        won: the gain in accuracy by reusing the lower layer.
        pixels, layer: accuracies of a linear classifier, by what it is given.
    """
    found = (
        "no more of the class than the pixels do"
        if layer <= pixels
        else "more of the class than the pixels do, but a classifier learns most of it by itself"
    )
    return (
        f"Reusing the lower layer wins {_points(won)} points, fewer than asked for. Its numbers "
        f"tell {found}: of them a linear classifier comes to {_points(layer)} %, of the pixels to "
        f"{_points(pixels)} %."
    )


def _points(share: float) -> str:
    return f"{100 * share:.1f}"


def changed_weights(autoencoder: DenseAutoencoder, seed: int) -> int:
    """How many weights of a classifier that reuses both layers are not the autoencoder's own."""
    classifier = _begun(WAYS["tuned"], autoencoder, Generator().manual_seed(seed))
    own = classifier.state_dict()
    return sum(
        int((own[f"layers.{layer}.{kind}"] != theirs[layer]).sum())
        for layer in range(ENCODER)
        for kind, theirs in (
            ("weight", autoencoder.encoder_weights),
            ("bias", autoencoder.encoder_biases),
        )
    )


def _begun(way: Way, autoencoder: DenseAutoencoder, generator: Generator) -> Classifier:
    classifier = Classifier(generator)
    classifier.to(autoencoder.encoder_weights[0].device)
    classifier.reuse(autoencoder, way.reused)
    classifier.freeze(way.frozen)
    return classifier


def _accuracies(task: Task, autoencoder: DenseAutoencoder, sizes: list[int]) -> dict[str, Floats]:
    """Test accuracies by the way to begin, shape (numbers of labels, draws)."""
    device = autoencoder.encoder_weights[0].device
    train, test = task.data.train, task.data.test
    whole = torch.from_numpy(train.labels.astype(np.int64)).to(device)
    pixels = torch.from_numpy(scaled(train.pixels)).to(device)
    asked = torch.from_numpy(scaled(test.pixels)).to(device)
    truth = torch.from_numpy(test.labels.astype(np.int64)).to(device)
    kept = Checkpoint(
        task.checkpoints / "classifiers",
        fingerprint_of(task.name, task.data, quick=task.quick, seed=task.seed, device=task.device),
    )
    known: dict[str, float] = (kept.read() or {}).get("accuracy", {})
    draws = _draws(task)
    total = len(WAYS) * len(sizes) * draws

    def accuracy(way: str, size: int, draw: int) -> float:
        key = f"{way}, {size} labels, draw {draw}"
        if key not in known:
            generator, chosen = _drawn(task, size, draw)
            classifier = _begun(WAYS[way], autoencoder, generator)
            drawn = pixels[chosen], whole[chosen]
            teach(classifier, *drawn, generator, epochs=_epochs(task))
            known[key] = classifier.accuracy(asked, truth)
            kept.write({"accuracy": known})
        task.progress("classifiers", len(known), total)
        return known[key]

    return {
        way: np.array([[accuracy(way, size, draw) for draw in range(draws)] for size in sizes])
        for way in WAYS
    }


def _linear(task: Task, autoencoder: DenseAutoencoder, size: int) -> list[float]:
    """Test accuracy of a linear classifier of pixels, and of the lower layer, mean of draws."""
    device = autoencoder.encoder_weights[0].device
    train, test = task.data.train, task.data.test

    def inputs(images: Bytes) -> list[Tensor]:
        flat = torch.from_numpy(scaled(images)).flatten(1).to(device)
        return [flat, autoencoder.encode(flat, 1).detach()]

    def known(labels: Bytes) -> Tensor:
        return torch.from_numpy(labels.astype(np.int64)).to(device)

    asked, truth = inputs(test.pixels), known(test.labels)
    found: list[list[float]] = []
    for draw in range(_draws(task)):
        generator, chosen = _drawn(task, size, draw)
        labels = known(train.labels[chosen])
        found.append([])
        for given, held in zip(inputs(train.pixels[chosen]), asked, strict=True):
            classifier = Classifier(generator, (given.shape[1], WIDTHS[-1])).to(device)
            teach(classifier, given, labels, generator, epochs=EPOCHS, lr=1e-2)
            found[-1].append(classifier.accuracy(held, truth))
    return np.mean(found, axis=0).tolist()


def _drawn(task: Task, size: int, draw: int) -> tuple[Generator, Tensor]:
    """Which images have labels, and the generator that goes on from there."""
    generator = Generator().manual_seed((1000 * task.seed + draw) % 2**63)
    return generator, torch.randperm(len(task.data.train), generator=generator)[:size]


def _draws(task: Task) -> int:
    return task.most(DRAWS, 2)


def _epochs(task: Task) -> int:
    return task.most(EPOCHS, 20)


def _draw(sizes: list[int], found: Mapping[str, Floats], palette: Palette) -> Figure:
    figure, (axes,) = charts.stacked((3.2,), top=0.5, bottom=0.42)
    looks = (
        (palette.model, "-"),
        (palette.event, "-"),
        (palette.event, (0, (2, 2))),
        (palette.ink, "-"),
        (palette.alert, "-"),
    )
    for (way, accuracy), (colour, dashes) in zip(found.items(), looks, strict=True):
        mean, spread = accuracy.mean(1), accuracy.std(1, ddof=1)
        axes.fill_between(sizes, mean - spread, mean + spread, color=colour, alpha=0.15, lw=0)
        axes.plot(sizes, mean, color=colour, ls=dashes, marker="o", ms=4, label=WAYS[way].name)
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(sizes, [f"{size}" for size in sizes])
    axes.margins(x=0.03)
    axes.yaxis.set_major_formatter(lambda value, _: percent(value))
    axes.set_xlabel("labels")
    legend(axes, palette, columns=3)
    return figure


def _table(task: Task, sizes: list[int], found: Mapping[str, Floats]) -> Table:
    compared = task.data.name == "MNIST" and not task.quick
    heads = ["way"]
    for size in sizes:
        heads += [f"{size} labels", *(["reference"] if compared else [])]
    rows: list[tuple[str, ...]] = []
    for way, accuracy in found.items():
        cells = [WAYS[way].name]
        for number in range(len(sizes)):
            mean, spread = accuracy[number].mean(), accuracy[number].std(ddof=1)
            cells.append(f"{mean:.3f} ± {spread:.3f}")
            if compared:
                cells.append(f"{ACCURACY[way][number]:.3f}")
        rows.append(tuple(cells))
    return Table("Accuracy, mean and standard deviation of the draws", tuple(heads), rows)
