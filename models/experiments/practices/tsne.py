"""Maps of the held-out images in two dimensions: of pixels, of PCA codes, of learned codes."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from sklearn import manifold
from sklearn.neighbors import NearestNeighbors

from models.experiments.drawing import CLASS_COLOURS
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
from models.experiments.fitting import Pixels
from models.experiments.images import Bytes
from models.experiments.practices.pca import principal_components
from models.experiments.practices.stacked import RECIPE, stacked
from models.experiments.reconstruction import pixels_of
from models.experiments.training import codes, fit, shortened, told
from models.frame import Ints
from models.page.charts import WIDTH, Palette
from models.words import NARROW

IMAGES, NEIGHBOURS = 5000, 10
PERPLEXITY = 30  # scikit-learn's own; a map has to have more images
MIXED = 0.8  # a class with a smaller share of its own among its neighbours is not apart
NEAR = 0.05  # of the map's width: thumbnails are at least so far apart
_LIMITS = {
    "trustworthiness": Wanted(least=0.95, source="neighbours on the map are neighbours"),
    "agreement_lost": Wanted(most=0.05, source="the map keeps what the codes know"),
}
REFERENCES: References = {"MNIST": _LIMITS, "Fashion-MNIST": _LIMITS}
SHOWN = """
Nobody can look at 784 pixels or at 30 numbers of a code. A map in two dimensions shows which images
lie near each other. PCA draws the plane in which they differ most, and on it the classes overlap.
t-SNE gives up distances and keeps neighbours: what is near on the map is near in the codes.

The networks never saw a label. The colours are laid over the maps afterwards. {apart}

How far islands are from each other, and how large they are, says nothing: t-SNE does not keep it.
The numbers tell how well neighbours are kept. Trustworthiness is 1 where all of an image's five
neighbours on the map are among its nearest ones in the codes; agreement is the share of its ten
neighbours that have its label.
"""
FURTHER = """
PERPLEXITY = 5 or 100 in practices/tsne.py: do the same islands come again?

vae: codes that fill their space without holes.

outlier: what lies between the islands.
"""


def run(task: Task) -> Outcome:
    """The codes of a stacked autoencoder, and four maps."""
    images, held = pixels_of(task)
    if len(held) <= PERPLEXITY:
        raise ExperimentError(
            f"{len(held)} held-out images; wanted more than {PERPLEXITY} for a map of t-SNE"
        )
    if not np.ptp(held, axis=0).any():
        raise ExperimentError("the held-out images are all alike; wanted such as differ")
    names = task.data.class_names
    network, recipe = stacked(), shortened(task, RECIPE)
    fit(task, "stacked", network, recipe, (images, held))
    held, labels = held[:IMAGES], task.data.validation.labels[:IMAGES]
    pixels = held.reshape(len(held), -1)
    learnt = codes(network, held)
    principal: Pixels = principal_components(learnt.shape[1], pixels).transform(pixels)
    spaces: dict[str, Pixels] = {"pixels": pixels, "PCA codes": principal, "learned codes": learnt}
    maps: dict[str, Pixels] = {"PCA, two components": principal[:, :2]}
    for number, (name, space) in enumerate(spaces.items(), 1):
        task.progress("maps", number - 1, len(spaces))
        maps[f"t-SNE of {name}"] = manifold.TSNE(
            perplexity=PERPLEXITY, random_state=task.seed % 2**32, n_jobs=1
        ).fit_transform(space)
        task.progress("maps", number, len(spaces))
    own = [principal, *spaces.values()]
    kept = [
        cast(float, manifold.trustworthiness(space, place, n_neighbors=5))
        for space, place in zip(own, maps.values(), strict=True)
    ]
    agreed = {name: agreement(place, labels) for name, place in maps.items()}
    in_space = [agreement(space, labels) for space in own]
    plane, raw, of_principal, of_learnt = agreed.values()
    *_, best = maps.values()
    apart = f"{compared(spaces, [raw, of_principal, of_learnt])} {mixed(best, labels, names)}"
    return Outcome(
        shown=SHOWN.format(apart=apart),
        reached=judged(
            task,
            REFERENCES,
            {
                "trustworthiness": ("Trustworthiness of the map of learned codes", kept[-1]),
                "agreement_lost": (
                    "Agreement of neighbours in the learned codes above that on the map",
                    in_space[-1] - of_learnt,
                ),
                "agreement": ("Agreement of neighbours on the map of learned codes", of_learnt),
                "pixels_agreement": ("The same on the map of raw pixels", raw),
                "pca_codes_agreement": ("The same on the map of PCA codes", of_principal),
                "pca_agreement": ("The same on the plane of two components", plane),
            },
        ),
        pictures=(
            Picture(
                "map",
                "A map of the learned codes",
                f"{len(held)} held-out images, coloured by class, with some of them on top.",
                partial(_draw_map, best, labels, held, names),
            ),
            Picture(
                "maps",
                "Four maps of the same images",
                "Of the neighbours on each, "
                + ", ".join(_percent(one) for one in agreed.values())
                + " have an image's own label.",
                partial(_draw_maps, maps, labels),
            ),
        ),
        further=FURTHER,
        made=(
            f"784–100–30–100–784, SELU, sigmoid, binary cross-entropy, {told(recipe)}.",
            f"t-SNE of scikit-learn: perplexity {PERPLEXITY}, begun with PCA, automatic rate.",
        ),
        tables=(
            Table(
                "Neighbours",
                ("map", "trustworthiness", "agreement on the map", "agreement before"),
                [
                    (name, f"{one:.4f}", f"{after:.4f}", f"{before:.4f}")
                    for name, one, after, before in zip(
                        maps, kept, agreed.values(), in_space, strict=True
                    )
                ],
            ),
        ),
    )


def agreement(places: Pixels, labels: Bytes) -> float:
    """Share of the ten nearest neighbours that have the same label, mean of all places."""
    return float((_neighbours(places, labels) == labels[:, None]).mean())


def _neighbours(places: Pixels, labels: Bytes) -> Bytes:
    """Labels of the ten nearest of each place, shape (places, 10)."""
    near: Any = NearestNeighbors(n_neighbors=NEIGHBOURS + 1, n_jobs=1)
    found: Ints = near.fit(places).kneighbors(places, return_distance=False)[:, 1:]
    return labels[found]


def compared(spaces: Iterable[str], agreed: Sequence[float]) -> str:
    """On which map an image's neighbours are most like it, in words.

    Args:
        spaces: what the maps are of, the learned codes last.
        agreed: the agreement on each.
    """
    shares = dict(zip(spaces, agreed, strict=True))
    *others, learnt = (f"{_percent(one)} on the map of {name}" for name, one in shares.items())
    best = max(shares, key=lambda name: shares[name])
    verdict = (
        "what the network learnt parts the classes best"
        if best == [*shares][-1]
        else f"{best} part the classes best, and no network had to learn for it"
    )
    return (
        f"Of an image's ten neighbours {', '.join(others)} and {learnt} have its label: {verdict}."
    )


def mixed(places: Pixels, labels: Bytes, names: Sequence[str]) -> str:
    """Which classes are not apart on a map, and from which others, in words."""
    near = _neighbours(places, labels)
    own: dict[int, float] = {}
    others: dict[int, str] = {}
    for label in np.unique(labels).tolist():
        counts = np.bincount(near[labels == label].ravel(), minlength=len(names))
        own[label] = float(counts[label] / counts.sum())
        counts[label] = 0
        others[label] = names[int(counts.argmax())]
    worst = sorted(own, key=lambda label: own[label])
    among = [label for label in worst if own[label] < MIXED]
    if not among:
        least = worst[0]
        return (
            f"On the map of learned codes every class is apart, least so {names[least]}: "
            f"{_percent(own[least])} of its neighbours are of its own."
        )
    told = "; ".join(
        f"{names[label]}, with {_percent(own[label])} of its own and most others {others[label]}"
        for label in among
    )
    return f"On the map of learned codes these are not apart: {told}."


def _percent(share: float) -> str:
    return f"{100 * share:.1f}{NARROW}%"


def _draw_map(
    places: Pixels, labels: Bytes, images: Pixels, names: Sequence[str], palette: Palette
) -> Figure:
    figure = Figure((WIDTH, 7.6))
    axes = figure.add_axes((0, 0.05, 1, 0.95))
    _scatter(axes, places, labels, 7)
    for number in _apart(places):
        box = OffsetImage((1 - images[number])[..., None].repeat(3, 2), zoom=0.72)
        edge: dict[str, Any] = {"edgecolor": CLASS_COLOURS[labels[number]], "lw": 1.4}
        axes.add_artist(AnnotationBbox(box, places[number], pad=0.08, bboxprops=edge))
    marks = [
        Line2D([], [], marker="o", ls="", ms=5, color=colour, label=name)
        for colour, name in zip(CLASS_COLOURS, names, strict=True)
    ]
    figure.legend(
        handles=marks,
        loc="lower center",
        ncols=len(names),
        frameon=False,
        labelcolor=palette.ink,
        fontsize=8,
        handletextpad=0.1,
        columnspacing=1.2,
    )
    return figure


def _draw_maps(maps: Mapping[str, Pixels], labels: Bytes, palette: Palette) -> Figure:
    figure = Figure((WIDTH, 2.75))
    for axes, (name, places) in zip(figure.subplots(1, len(maps)), maps.items(), strict=True):
        _scatter(axes, places, labels, 2)
        axes.set_title(name, color=palette.muted)
    figure.subplots_adjust(left=0.005, right=0.995, bottom=0.01, top=0.9, wspace=0.04)
    return figure


def _scatter(axes: Axes, places: Pixels, labels: Bytes, size: float) -> None:
    colours = np.array(CLASS_COLOURS)[labels]
    # As pixels: thousands of circles make a page slow.
    axes.scatter(*places.T, c=colours, s=size, lw=0, alpha=0.8, rasterized=True)
    axes.set(xticks=[], yticks=[])
    axes.margins(0.02)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _apart(places: Pixels) -> list[int]:
    """Images, in their order, each of them some way from those before."""
    scaled = (places - places.min(0)) / np.ptp(places, axis=0).max()
    chosen: list[int] = []
    for number, place in enumerate(scaled):
        if not chosen or np.hypot(*(scaled[chosen] - place).T).min() > NEAR:
            chosen.append(number)
    return chosen
