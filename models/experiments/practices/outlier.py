"""Trained on five classes: which of the other five, and of damaged images, are rebuilt worse?"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import cast

import numpy as np
from matplotlib.figure import Figure
from sklearn import metrics

from models.experiments.drawing import image_rows, spreads
from models.experiments.experiment import (
    ExperimentError,
    Outcome,
    Picture,
    References,
    Table,
    Task,
    Wanted,
    judged,
)
from models.experiments.fitting import Pixels, Recipe, scaled
from models.experiments.images import Images
from models.experiments.practices.stacked import stacked
from models.experiments.reconstruction import COLUMNS
from models.experiments.training import fit, rebuilt, shortened, told
from models.families.network import Network
from models.frame import Floats
from models.page.charts import Palette
from models.words import percent

KNOWN = 5  # classes to train on: those before this label
FALSE_ALARMS = 0.01
HARDLY = 0.1  # of a kind; where a smaller share is found, it is missed
ERROR = "error / threshold"
RECIPE = Recipe("sgd", 1.5, 32, 10)
_LIMITS = {
    "false_alarms": Wanted(
        FALSE_ALARMS, 0.005, 0.02, "the share that the threshold was set for on other images"
    ),
}
REFERENCES: References = {"MNIST": _LIMITS, "Fashion-MNIST": _LIMITS}
SHOWN = """
An autoencoder learns to rebuild what it is shown. If it has no words for what is of another kind,
it rebuilds that worse: the error of its reconstruction says how strange an image is. No outlier is
needed to learn from.

Here it is shown images of five classes only. The threshold is the error that one in a hundred
held-out images of those classes exceeds. Then it meets test images: of the classes it knows, of the
five it never saw, and known ones that were damaged.

It is what sensor-trainer does with windows of readings, and it has the same limit: simple strangers
are rebuilt well. A stroke or a plain shape can be told in the words learnt for other things, and
passes. {missed} Look at the strangers that were missed, and at sensor-trainer audit for how the
models of machines are kept from it.
"""
FURTHER = """
KNOWN = 8 in practices/outlier.py: which strangers are found by a network that can tell more?

HIDDEN = (100, 5) in practices/stacked.py: do fewer strangers fit into a code of 5 numbers, or are
only known images lost?

vae: are strangers found better by a code whose space has no holes?

sensor-trainer evaluate: the same for machines, with events and false alarms per day.
"""


def run(task: Task) -> Outcome:
    """Ten epochs on half of the classes."""
    known = [_pixels(one, known=True) for one in (task.data.train, task.data.validation)]
    strange = _pixels(task.data.test, known=False)
    usual = _pixels(task.data.test, known=True)
    if not all(map(len, (*known, strange, usual))):
        raise ExperimentError(
            f"wanted images with labels below {KNOWN} in all three parts, and test images with "
            "others"
        )
    network, recipe = stacked(), shortened(task, RECIPE)
    fit(task, "outlier", network, recipe, (known[0], known[1]))
    limit = float(np.quantile(distances(network, known[1]), 1 - FALSE_ALARMS))
    normal = distances(network, usual)
    unseen = distances(network, strange)
    rng = np.random.default_rng(task.seed)
    damaged = {name: damage(usual, rng) for name, damage in DAMAGES.items()}
    broken = {name: distances(network, one) for name, one in damaged.items()}

    def over(found: Floats) -> float:
        return float((found > limit).mean())

    labels = task.data.test.labels
    by_class = {
        task.data.class_names[label]: unseen[labels[labels >= KNOWN] == label]
        for label in range(KNOWN, 10)
    }
    kinds = {**{f"never seen: {key}": one for key, one in by_class.items() if len(one)}, **broken}
    everything_broken = np.concatenate([*broken.values()])
    figures: dict[str, tuple[str, float]] = {
        "auc_unseen": ("Area under ROC, classes never seen", area(normal, unseen)),
        "auc_damaged": ("Area under ROC, damaged images", area(normal, everything_broken)),
        "false_alarms": ("Share of known images over the threshold", over(normal)),
        "found_unseen": ("Share of classes never seen that is found", over(unseen)),
        "found_damaged": (
            "Share of damaged images that is found",
            (everything_broken > limit).mean(),
        ),
        "threshold": ("Threshold, mean squared error of a pixel", limit),
    }
    groups = {"known": normal, "never seen": unseen, "damaged": everything_broken}
    return Outcome(
        shown=SHOWN.format(missed=missed({name: over(one) for name, one in kinds.items()})),
        reached=judged(task, REFERENCES, figures),
        pictures=(
            Picture(
                "errors",
                "How badly what is rebuilt",
                "Test images by the error of their reconstruction. To the right of the dashed line "
                "is an outlier.",
                partial(
                    spreads,
                    groups,
                    limit=limit,
                    limit_name="threshold",
                    unit="mean squared error of a pixel",
                ),
            ),
            *cases(network, "found", "Strangers found", strange, unseen / limit),
            *cases(network, "missed", "Strangers missed", strange, unseen / limit, below=True),
            *cases(network, "false", "Known images over the threshold", usual, normal / limit),
            Picture(
                "damaged",
                "Damaged images",
                "Known images, damaged in each way; below each, its reconstruction, and how many "
                "times the threshold its error is. Over 1 it is an outlier.",
                partial(
                    _draw_damaged,
                    network,
                    {"as it was": usual, **damaged},
                    {
                        name: found / limit
                        for name, found in ({"as it was": normal} | broken).items()
                    },
                ),
            ),
        ),
        further=FURTHER,
        made=(
            f"784–100–30–100–784, SELU, sigmoid, binary cross-entropy, {told(recipe)}.",
            f"Trained on {', '.join(task.data.class_names[:KNOWN])}: {len(known[0])} images.",
            "Scored by mean squared error.",
        ),
        images={
            "train": len(known[0]),
            "validation": len(known[1]),
            "test": len(task.data.test),
        },
        tables=(
            Table(
                "Kind by kind",
                ("kind", "area under ROC", "found"),
                [
                    (name, f"{area(normal, one):.4f}", percent(over(one)))
                    for name, one in kinds.items()
                ],
            ),
        ),
    )


def _pixels(images: Images, *, known: bool) -> Pixels:
    return scaled(images.pixels[(images.labels < KNOWN) == known])


def distances(network: Network, images: Pixels) -> Floats:
    """How far off each image is rebuilt: mean squared error of a pixel, shape (N,)."""
    return np.square(rebuilt(network, images) - images, dtype=np.float64).mean((1, 2))


def missed(found: Mapping[str, float]) -> str:
    """Which kinds are hardly found, in words.

    Args:
        found: the share of each kind that is.
    """
    hardly = [name for name in sorted(found, key=lambda kind: found[kind]) if found[name] < HARDLY]
    if not hardly:
        least = min(found, key=lambda kind: found[kind])
        return f"Least is found here of “{least}”: {percent(found[least])}."
    told = ", ".join(f"“{name}” ({percent(found[name])})" for name in hardly)
    return f"Hardly found here: {told}."


def area(normal: Floats, strange: Floats) -> float:
    """How often a strange image has a larger error than a normal one: the area under ROC."""
    truth = np.repeat([0, 1], [len(normal), len(strange)])
    return cast(float, metrics.roc_auc_score(truth, np.concatenate([normal, strange])))


def _with_square(images: Pixels, rng: np.random.Generator) -> Pixels:
    found = images.copy()
    for image, (row, column) in zip(found, rng.integers(2, 18, (len(images), 2)), strict=True):
        image[row : row + 8, column : column + 8] = 1
    return found


def _with_noise(images: Pixels, rng: np.random.Generator) -> Pixels:
    noise = rng.normal(0, 0.3, images.shape).astype(np.float32)
    return (images + noise).clip(0, 1)


def _upside_down(images: Pixels, rng: np.random.Generator) -> Pixels:
    del rng
    return images[:, ::-1, ::-1].copy()


def _half_gone(images: Pixels, rng: np.random.Generator) -> Pixels:
    del rng
    found = images.copy()
    found[:, :, 14:] = 0
    return found


DAMAGES: Mapping[str, Callable[[Pixels, np.random.Generator], Pixels]] = {
    "with a square": _with_square,
    "with noise": _with_noise,
    "upside down": _upside_down,
    "half gone": _half_gone,
}


def cases(
    network: Network, key: str, title: str, images: Pixels, error: Floats, *, below: bool = False
) -> list[Picture]:
    """The images farthest over the threshold, or below it, with what the network makes of them.

    Args:
        network: trained.
        key, title: of the picture.
        images: to choose from.
        error: of each, in thresholds.
        below: whether those below are asked for.

    Returns:
        One picture, or none if there is no such image.
    """
    order = np.argsort(error if below else -error, kind="stable")
    chosen = order[(error[order] > 1) != below][:COLUMNS]
    if not len(chosen):
        return []
    shown, back = images[chosen], rebuilt(network, images[chosen])
    rows = [
        ("image", shown),
        ("reconstruction", back),
        ("difference", np.abs(shown - back)),
        (ERROR, _told(error[chosen])),
    ]
    which = "below the threshold, the least" if below else "over the threshold, the largest"
    caption = (
        f"Test images {which} errors first: what the network makes of them, where the two differ, "
        "and how many times the threshold the error is."
    )
    return [Picture(key, title, caption, partial(image_rows, rows))]


def _draw_damaged(
    network: Network,
    damaged: Mapping[str, Pixels],
    errors: Mapping[str, Floats],
    palette: Palette,
) -> Figure:
    rows: list[tuple[str, Pixels | list[str]]] = []
    for name, images in damaged.items():
        shown = images[:COLUMNS]
        rows += [
            (name, shown),
            ("reconstruction", rebuilt(network, shown)),
            (ERROR, _told(errors[name][:COLUMNS])),
        ]
    return image_rows(rows, palette)


def _told(errors: Floats) -> list[str]:
    return [f"{one:.2f}" for one in errors]
