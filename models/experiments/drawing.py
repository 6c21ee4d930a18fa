"""Pictures that more than one experiment draws: rows of images, losses over epochs, spreads."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from models.experiments.fitting import Epoch, Pixels
from models.frame import Floats
from models.page import charts
from models.page.charts import WIDTH, Palette
from models.words import percent

ZOOM = 4  # pixels of a picture for one of an image: whole, so that they stay squares
LABELS = 1.45  # inches at the left of rows of images
NOTES = 0.24  # inches of a row of texts
LEGEND = 4  # names in a line of a legend
# Of the ten classes, told apart by day and by night.
CLASS_COLOURS = (
    *("#4c8bd0", "#e0862c", "#3fa65a", "#d0504a", "#9a72c7"),
    *("#a0785a", "#dd7fb8", "#8a9099", "#b5b433", "#35b3c0"),
)


def image_rows(rows: Sequence[tuple[str, Pixels | Sequence[str]]], palette: Palette) -> Figure:
    """Images beside each other, in rows with a name each; texts below them.

    Args:
        rows: names, and images from 0 to 1, shape (images, 28, 28), or texts; as many in each.
        palette: colours.
    """
    columns = len(rows[0][1])
    cell = min((WIDTH - LABELS) / columns, 0.85)
    heights = [cell if isinstance(one, np.ndarray) else NOTES for _, one in rows]
    whole = sum(heights) + 0.04
    figure, edge = Figure((WIDTH, whole)), whole
    for (name, row), height in zip(rows, heights, strict=True):
        edge -= height
        middle = (edge + height / 2) / whole
        if isinstance(row, np.ndarray):
            box = LABELS / WIDTH, edge / whole, cell * columns / WIDTH, height / whole
            axes = figure.add_axes(box, aspect="auto", frame_on=False)
            axes.imshow(tiled(row), aspect="auto", interpolation="nearest")
            axes.set(xticks=[], yticks=[])
        else:
            for column, text in enumerate(row):
                place = (LABELS + cell * (column + 0.49)) / WIDTH  # the gap is at the right
                figure.text(place, middle, text, ha="center", va="center", color=palette.muted)
        figure.text(
            (LABELS - 0.14) / WIDTH, middle, name, ha="right", va="center", color=palette.ink
        )
    return figure


def tiled(images: Pixels, gap: int = 2) -> Floats:
    """A row of images as one, with alpha: clear between them, shape (height, width, 4)."""
    side = images.shape[1] * ZOOM + gap
    whole = np.zeros((side, side * len(images), 4))
    for column, image in enumerate(images):
        place = whole[: side - gap, column * side :][:, : side - gap]
        place[..., :3] = image.repeat(ZOOM, 0).repeat(ZOOM, 1).clip(0, 1)[..., None]
        place[..., 3] = 1
    return whole


def loss_curves(
    histories: Mapping[str, Sequence[Epoch]], palette: Palette, reference: float | None = None
) -> Figure:
    """Training and validation loss after each epoch, of one or more trainings.

    Args:
        histories: of the trainings, by name.
        palette: colours.
        reference: a loss to compare with.
    """
    names = 2 * len(histories) + (reference is not None)
    top = 0.06 + 0.22 * math.ceil(names / LEGEND)
    figure, (axes,) = charts.stacked((2.1,), top=top, bottom=0.42)
    colours = (palette.model, palette.event, palette.alert, palette.muted)
    for (name, history), colour in zip(histories.items(), colours, strict=False):
        epochs = [one.number for one in history]
        said = f"{name}, " if len(histories) > 1 else ""
        train, held = [one.loss for one in history], [one.validation_loss for one in history]
        axes.plot(epochs, held, color=colour, marker="o", ms=3, label=f"{said}validation")
        axes.plot(epochs, train, color=colour, ls=(0, (2, 2)), label=f"{said}training")
    if reference is not None:
        axes.axhline(reference, color=palette.ink, lw=0.9, ls=(0, (4, 3)), label="reference")
    axes.margins(x=0.02)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_title("loss of a pixel", color=palette.muted)
    legend(axes, palette)
    return figure


def legend(axes: Axes, palette: Palette, columns: int = LEGEND) -> None:
    """What each line is, above the upper right corner."""
    axes.legend(
        frameon=False,
        labelcolor=palette.ink,
        ncols=columns,
        loc="lower right",
        bbox_to_anchor=(1.0, 0.98),
        borderpad=0,
        fontsize=8,
    )


def spreads(
    groups: Mapping[str, Floats], palette: Palette, limit: float, limit_name: str, unit: str
) -> Figure:
    """How often which value, of a few groups, with a limit.

    Args:
        groups: values by name, at most three.
        palette: colours.
        limit: drawn as a line.
        limit_name: what it is.
        unit: what the values are.
    """
    figure, (axes,) = charts.stacked((2.1,), top=0.28, bottom=0.42)
    everything = np.concatenate([*groups.values()])
    last = float(np.quantile(everything, 0.999))
    edges = np.linspace(float(everything.min()), last, 70)
    colours = (palette.model, palette.event, palette.alert)
    for (name, values), colour in zip(groups.items(), colours, strict=False):
        share = np.histogram(values.clip(max=last), edges)[0] / len(values)
        axes.stairs(share, edges, fill=True, color=colour, alpha=0.3)
        axes.stairs(share, edges, color=colour, label=name)
    axes.axvline(limit, color=palette.ink, lw=0.9, ls=(0, (4, 3)), label=limit_name)
    axes.yaxis.set_major_formatter(lambda value, _: percent(value))
    axes.set_ylim(bottom=0)
    ticks = MaxNLocator(9, steps=[1, 2, 5, 10]).tick_values(edges[0], last)
    axes.set_xticks([tick for tick in ticks if edges[0] <= tick <= last])
    axes.set_xlim(edges[0], last + 0.02 * (last - edges[0]))  # for half of the last label
    axes.set_xlabel(unit)
    axes.set_title("share of images", color=palette.muted)
    legend(axes, palette)
    return figure
