"""What an experiment is given, and what it comes to: figures, pictures and words."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from models.experiments.data import Data
from models.page.charts import Palette
from models.words import NARROW


class ExperimentError(ValueError):
    """Data that an experiment can do nothing with: one message."""


@dataclass(frozen=True, slots=True)
class Task:
    """What to run an experiment on, and how.

    Args:
        name: of the experiment.
        data: the images.
        quick: whether a few images and epochs do; its figures are compared with none.
        seed: of all chance.
        device: `cpu` or `cuda`.
        checkpoints: a folder for the states of what is being trained.
        progress: called with a stage's name, the steps done and all there will be.
    """

    name: str
    data: Data
    quick: bool
    seed: int
    device: str
    checkpoints: Path
    progress: Callable[[str, int, int], None]

    def most(self, full: int, quick: int) -> int:
        """A number of epochs, draws or images, smaller in a quick run."""
        return min(full, quick) if self.quick else full


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a figure is measured by.

    Args:
        reference: what another reached with the same layers, data and optimiser.
        least, most: between which a figure is accepted.
        source: whose number it is, or why the limits are where they are.
    """

    reference: float | None = None
    least: float = -math.inf
    most: float = math.inf
    source: str = ""

    @property
    def limited(self) -> bool:
        """Whether any value is outside."""
        return math.isfinite(self.least) or math.isfinite(self.most)

    @property
    def limits(self) -> str:
        """The limits in words; empty without any."""
        if not self.limited:
            return ""
        if self.least == self.most:
            return f"exactly {given(self.least)}"
        if self.least == -math.inf:
            return f"at most {given(self.most)}"
        if self.most == math.inf:
            return f"at least {given(self.least)}"
        return f"{given(self.least)} to {given(self.most)}"


# Of figures by their key, for each data set that there are references for.
References = dict[str, dict[str, Wanted]]


@dataclass(frozen=True, slots=True)
class Reached:
    """A figure that an experiment reached.

    Args:
        key: its name in `metrics.json`.
        name: what it is, in words.
        value: what it came to.
        wanted: what it is measured by, where there is something.
    """

    key: str
    name: str
    value: float
    wanted: Wanted | None = None

    @property
    def met(self) -> bool | None:
        """Whether it is within its limits; None without any."""
        if self.wanted is None or not self.wanted.limited:
            return None
        return self.wanted.least <= self.value <= self.wanted.most


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture, drawn once in the page's colours and once for its PNG file.

    Args:
        key: its file's name without `.png`.
        title: a few words.
        caption: what to see in it.
        draw: makes the figure in some colours.
    """

    key: str
    title: str
    caption: str
    draw: Callable[[Palette], Figure]


@dataclass(frozen=True, slots=True)
class Table:
    """Numbers beside each other; the first column is text."""

    title: str
    heads: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an experiment came to.

    Args:
        shown: what is to be learnt from it; paragraphs with a blank line between them.
        reached: its figures, the most telling first.
        pictures: in the order to look at them.
        further: what to try next, likewise.
        made: layers, optimiser and the like, in a few words each.
        tables: more figures.
        warnings: what makes the figures worth less than they look.
        images: how many of each part were used, where those are not all of the data's.
    """

    shown: str
    reached: Sequence[Reached]
    pictures: Sequence[Picture]
    further: str
    made: Sequence[str]
    tables: Sequence[Table] = ()
    warnings: Sequence[str] = ()
    images: Mapping[str, int] | None = None


def judged(
    task: Task, references: References, figures: dict[str, tuple[str, float]]
) -> list[Reached]:
    """Figures beside the references for the data they were reached on; a quick run has none.

    Args:
        task: what was run.
        references: for each data set.
        figures: name in words and value, by key.
    """
    wanted = {} if task.quick else references.get(task.data.name, {})
    if missing := wanted.keys() - figures.keys():
        raise KeyError(f"references without a figure: {', '.join(sorted(missing))}")
    return [Reached(key, name, value, wanted.get(key)) for key, (name, value) in figures.items()]


def ratio(one: float, other: float) -> float:
    """How many times the other; not a number where that is 0, as of images that are all alike."""
    return one / other if other else math.nan


def number(value: float) -> str:
    """A figure that was reached: counts as such, others with the digits that can be compared."""
    if isinstance(value, int) or math.isnan(value) or abs(value) >= 100:
        return given(value)
    text = f"{value:#.3g}" if 0 < abs(value) < 0.01 else f"{value:.4f}"
    return text.replace("-", "\N{MINUS SIGN}")


def given(value: float) -> str:
    """A number as it was written."""
    if math.isnan(value):
        return "–"
    text = f"{value:,.0f}".replace(",", NARROW) if abs(value) >= 100 else f"{value:g}"
    return text.replace("-", "\N{MINUS SIGN}")
