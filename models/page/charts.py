"""Charts as inline SVG in the page's colours: drawn by matplotlib, themed by the style sheet."""

import hashlib
import io
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import matplotlib as mpl
import numpy as np
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from models.frame import Bools, Floats, Ints
from models.spans import spans_of

WIDTH = 10.0  # inches; 72 units of the picture each

# matplotlib wants colours in figures; each stands for one of the style sheet's variables.
INK, MUTED, RULE, PAPER = "#010000", "#020000", "#030000", "#040000"
MODEL, EVENT, ALERT = "#050000", "#060000", "#070000"
_NAMES: Final = {
    INK: "ink",
    MUTED: "muted",
    RULE: "rule",
    PAPER: "paper",
    MODEL: "model",
    EVENT: "event",
    ALERT: "alert",
}


class Palette(NamedTuple):
    """The colours of a picture."""

    ink: str
    muted: str
    rule: str
    paper: str
    model: str
    event: str
    alert: str


PAGE = Palette(INK, MUTED, RULE, PAPER, MODEL, EVENT, ALERT)
# The style sheet's colours by day, for pictures that stand alone.
DAY = Palette("#1b1f24", "#5c6773", "#dde2e7", "#fff", "#1f63ad", "#d98a12", "#c4342b")
_STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",  # text stays text, in the page's font
    "text.parse_math": False,
    "font.size": 9,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "axes.xmargin": 0,
    "figure.facecolor": "none",
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "hatch.color": RULE,
    "lines.linewidth": 1.2,
    "lines.solid_joinstyle": "round",
    "text.color": INK,
    "xtick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.color": RULE,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
    "timezone": "UTC",
}


def style(palette: Palette = PAGE) -> Any:
    """The context in which charts are made."""
    colours = dict(zip(PAGE, palette, strict=True))
    return mpl.rc_context(
        {
            key: colours.get(value, value) if isinstance(value, str) else value
            for key, value in _STYLE.items()
        }
    )


def stacked(
    heights: Sequence[float], *, top: float = 0.05, bottom: float = 0.22
) -> tuple[Figure, list[Axes]]:
    """A figure of plots that share their x axis, with margins that are the same on all a page.

    Args:
        heights: of the plots, inches.
        top, bottom: room for a title and for labels, inches.
    """
    gap = 0.06
    total = top + sum(heights) + gap * (len(heights) - 1) + bottom
    figure = Figure((WIDTH, total))
    axes: list[Axes] = []
    edge = total - top
    for height in heights:
        box = (0.055, (edge - height) / total, 0.94, height / total)
        axes.append(figure.add_axes(box, sharex=axes[0] if axes else None))
        edge -= height + gap
    for one in axes[:-1]:
        one.tick_params(labelbottom=False, length=0)
    return figure, axes


def svg(figure: Figure, label: str) -> Markup:
    """A figure as an SVG element, the same bytes for the same figure.

    Args:
        figure: made within `style`.
        label: what a reader who cannot see it is told.
    """
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "sensor-trainer"}), warnings.catch_warnings():
        # The page's font has the letters that matplotlib's own, used to measure, lacks.
        warnings.filterwarnings("ignore", message="Glyph")
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", metadata=nothing)
    text = buffer.getvalue()
    box = re.search(r'viewBox="[^"]*"', text)
    inside = text[text.index(">", text.index("<svg")) + 1 :]
    inside = re.sub(r"<metadata>.*?</metadata>", "", inside, flags=re.DOTALL)
    own = hashlib.sha256(f"{label}{inside}".encode()).hexdigest()[:8]
    inside = re.sub(r"<[^>]*>", lambda tag: _themed(tag[0], own), inside)
    opening = f'<svg role="img" aria-label="{escape(label)}" {box[0] if box else ""}>'
    return Markup(opening + re.sub(r"\s*\n\s*", "\n", inside))


def png(draw: Callable[[Palette], Figure], dots: int = 144) -> bytes:
    """A picture by day as a PNG file, the same bytes for the same picture.

    Args:
        draw: makes the figure in some colours.
        dots: per inch.
    """
    buffer = io.BytesIO()
    with style(DAY), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        draw(DAY).savefig(
            buffer, format="png", dpi=dots, facecolor=DAY.paper, metadata={"Software": None}
        )
    return buffer.getvalue()


def _themed(tag: str, own: str) -> str:
    """A tag in the page's colours, with two decimals and names that no other picture has."""
    # Groups are named as well, and referred to by nothing.
    tag = re.sub(r'^(<g\b.*?) id="[^"]*"', r"\1", tag)
    tag = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{own}-", tag)
    tag = re.sub(r"#0[1-9]0000", lambda colour: f"var(--{_NAMES[colour[0]]})", tag)
    return re.sub(r"(\.\d\d)\d+", r"\1", tag)


def time_axis(axes: Axes) -> None:
    """An x axis in days since the epoch, told as dates and times of UTC."""
    locator = AutoDateLocator(maxticks=9)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))


def thinned(at: Floats, values: Floats, most: int = 720) -> tuple[Floats, Floats]:
    """A line for so many columns: the least and the greatest value of each, NaN where it breaks.

    Args:
        at: in order, shape (n,).
        values: shape (n,).
        most: columns.
    """
    if len(at) <= 2 * most:
        return at, values
    first = np.linspace(0, len(at), most, endpoint=False).astype(np.int64)
    low, high = np.fmin.reduceat(values, first), np.fmax.reduceat(values, first)
    return np.repeat(at[first], 2), np.column_stack((low, high)).ravel()


def log_scale(axes: Axes, axis: str, low: float, high: float) -> None:
    """A logarithmic axis with plain numbers, finer where there are few powers of ten.

    Args:
        axes: to change.
        axis: `x` or `y`.
        low, high: its ends.
    """
    axes.set(**{f"{axis}scale": "log", f"{axis}lim": (low, high)})
    steps = (1.0,) if high / low > 300 else (1.0, 2.0, 5.0)
    ticks = axes.xaxis if axis == "x" else axes.yaxis
    ticks.set_major_locator(LogLocator(subs=steps))
    ticks.set_major_formatter(lambda value, _: f"{value:g}")
    ticks.set_minor_locator(NullLocator())


def thinned_spans(flags: Bools, most: int = 720) -> Ints:
    """The runs of true frames, shape (runs, 2); of long rows to one of so many columns."""
    if len(flags) <= 2 * most:
        return spans_of(flags)
    first = np.linspace(0, len(flags), most, endpoint=False).astype(np.int64)
    return np.append(first, len(flags))[spans_of(np.logical_or.reduceat(flags, first))]
