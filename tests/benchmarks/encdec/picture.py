"""Pictures of what EncDec-AD found: series, score, threshold, label and reconstruction."""

import io
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from models.frame import Bools, Floats

INK, PALE, LINE, REBUILT, LABEL = "#1a1a1a", "#8a8f98", "#2f5d8a", "#d9822b", "#f6d5d5"
STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": PALE,
    "axes.labelcolor": INK,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.xmargin": 0,
    "xtick.color": PALE,
    "ytick.color": PALE,
    "lines.linewidth": 0.8,
    "legend.frameon": False,
}


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of a series with its reconstruction.

    Args:
        title: what it shows.
        start: its place in the series, in points.
        values, rebuilt: shape (points, sensors).
    """

    title: str
    start: int
    values: Floats
    rebuilt: Floats


@dataclass(frozen=True, slots=True)
class Story:
    """What a picture tells.

    Args:
        title: of all.
        unit: of a point on the time axis, and how many points it has.
        values: the whole series, shape (points, sensors).
        label: anomalous points, shape (points,).
        score: shape (points,).
        threshold: of the score.
        stretches: what is shown closely.
    """

    title: str
    unit: tuple[str, float]
    values: Floats
    label: Bools
    score: Floats
    threshold: float
    stretches: tuple[Stretch, ...]


def draw(story: Story, path: Path) -> None:
    """Draw a picture as PNG; with few colours it is small."""
    with mpl.rc_context(STYLE):  # pyright: ignore[reportArgumentType]
        figure = Figure(figsize=(9, 6), layout="constrained")
        figure.suptitle(story.title, fontsize=11, color=INK, x=0.01, ha="left")
        grid = figure.add_gridspec(3, len(story.stretches), height_ratios=(3, 2, 4))
        whole = figure.add_subplot(grid[0, :])
        whole.set_title("the series")
        plot(whole, story, story.values, 0)
        below = figure.add_subplot(grid[1, :], sharex=whole)
        below.set_title("score a(i), threshold dashed")
        plot(below, story, story.score[:, None], 0)
        below.axhline(story.threshold, color=INK, linestyle="--")
        below.set_yscale("symlog", linthresh=max(1.0, story.threshold / 10))
        below.set_ylim(0)
        below.set_xlabel(story.unit[0])
        for column, stretch in enumerate(story.stretches):
            close = figure.add_subplot(grid[2, column])
            close.set_title(stretch.title)
            plot(close, story, stretch.values, stretch.start)
            at = (stretch.start + np.arange(len(stretch.rebuilt))) / story.unit[1]
            close.plot(at, stretch.rebuilt, color=REBUILT, linewidth=1.1)
            close.set_xlabel(story.unit[0])
        buffer = io.BytesIO()
        FigureCanvasAgg(figure).print_png(buffer)
    Image.open(buffer).convert("RGB").quantize(48).save(path, optimize=True)


def plot(axes: Axes, story: Story, values: Floats, start: int) -> None:
    """A part of the series, or of its score, over the labelled spans."""
    at = (start + np.arange(len(values))) / story.unit[1]
    edges = np.flatnonzero(np.diff(np.r_[False, story.label, False].astype(np.int8)))
    for first, after in edges.reshape(-1, 2):
        if first < start + len(values) and after > start:
            axes.axvspan(first / story.unit[1], after / story.unit[1], color=LABEL, linewidth=0)
    for sensor, shade in zip(values.T, (LINE, PALE), strict=False):
        axes.plot(at, sensor, color=shade)
    axes.set_xlim(at[0], at[-1])
