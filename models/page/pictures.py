"""The pictures of a judgement: scores over time, strange windows, and how scores are spread."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.detector import Detector
from models.evaluation import Judged, TrackScores
from models.frame import SECOND, Bools, Floats, Grid, Ints
from models.page import charts
from models.page.charts import ALERT, EVENT, INK, MODEL, MUTED, PAPER, RULE, WIDTH
from models.page.findings import STRONGEST, Window, reconstruction
from models.spans import in_ticks
from models.threshold import DAY
from models.words import percent

PLOT, LANE = 1.75, 0.2  # inches


def score_over_time(
    frames: Judged, period: int, marks: Sequence[tuple[str, int]], label: str
) -> Markup:
    """The score of a file on a logarithmic axis, above lanes with its events and alerts.

    Args:
        frames: what was judged.
        period: of the grid, nanoseconds.
        marks: names of windows and the frames they end at.
        label: what the picture is, in words.
    """
    lanes = ["alerts"] if frames.label is None else ["events", "alerts"]
    with charts.style():
        heights = (PLOT, LANE * len(lanes))
        figure, (above, below) = charts.stacked(heights)
        days = period / (SECOND * DAY)
        tick, last = frames.tick, frames.tick[-1:] + 1
        low, high = _reach(frames.score[~np.isnan(frames.score)])
        at, score = charts.thinned(tick.astype(np.float64), np.maximum(frames.score, low))
        above.plot(at * days, score, color=MODEL)
        above.axhline(1, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
        charts.log_scale(above, "y", low / 1.2, high * 1.6)
        if frames.label is not None:
            for start, end in _spans(frames.label, tick) * days:
                above.axvspan(start, end, color=EVENT, alpha=0.22, linewidth=0)
        # Up to the next frame: a hole in the recording is not scored either.
        unscored = charts.thinned_spans(np.isnan(frames.score))
        for start, end in np.append(tick, last)[unscored] * days:
            above.axvspan(start, end, color=RULE, alpha=0.5, linewidth=0)
        for name, frame in marks:
            above.annotate(
                name,
                (float(tick[frame] * days), 1),
                (0, -2),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                ha="center",
                va="top",
                color=PAPER,
                fontsize=7.5,
                fontweight="bold",
                bbox={"boxstyle": "circle,pad=0.25", "fc": INK, "ec": "none"},
            )
        for row, lane in enumerate(reversed(lanes)):
            _lane(below, row, lane, frames, days)
        below.set_ylim(-0.55, len(lanes) - 0.45)
        below.set_yticks(range(len(lanes)), [*reversed(lanes)])
        below.grid(visible=False)
        below.set_xlim(tick[0] * days, last[0] * days)
        charts.time_axis(below)
        return charts.svg(figure, label)


def _lane(axes: Axes, row: int, lane: str, frames: Judged, days: float) -> None:
    flags, colour = {"events": (frames.label, EVENT), "alerts": (frames.alarm, ALERT)}[lane]
    if flags is not None:
        start, end = _spans(flags, frames.tick).T * days
        axes.barh(row, end - start, 0.62, left=start, color=colour, ec=colour, linewidth=0.8)


def _spans(flags: Bools, tick: Ints) -> Ints:
    return in_ticks(charts.thinned_spans(flags), tick)


def _reach(score: Floats) -> tuple[float, float]:
    """The scores that a logarithmic axis has to show; the very lowest say nothing."""
    if not len(score):
        return 0.5, 2.0
    return max(1e-6, min(0.5, float(np.quantile(score, 0.01)))), max(2.0, float(score.max()))


def strange_window(
    detector: Detector, track: TrackScores, window: Window, sensors: Sequence[int], label: str
) -> Markup:
    """A window and what the model made of it, for the sensors with the largest shares.

    Args:
        detector: the bundle's.
        track: of the window's file.
        window: which.
        sensors: which to show, strongest first.
        label: what the picture is, in words.
    """
    actual, expected = reconstruction(detector, track, window.end)
    known = detector.calibration.row_of(track.track.asset)
    time = np.arange(1 - len(actual), 1) * detector.grid.period / SECOND
    time /= time_unit(detector.grid)[1]
    with charts.style():
        figure = Figure((WIDTH, 1.5))
        panels = figure.subplots(1, STRONGEST, squeeze=False)[0]
        figure.subplots_adjust(left=0.055, right=0.995, bottom=0.17, top=0.85, wspace=0.2)
        for axes in panels[len(sensors) :]:
            axes.set_visible(False)
        for axes, sensor in zip(panels, sensors, strict=False):
            center = detector.calibration.center[known, sensor]
            reach = 2 * detector.calibration.spread[known, sensor]
            axes.fill_between(
                time,
                actual[:, sensor],
                expected[:, sensor],
                color=ALERT,
                alpha=0.25,
                linewidth=0,
            )
            axes.plot(time, expected[:, sensor], color=MODEL, linewidth=1.4)
            axes.plot(time, actual[:, sensor], color=INK, linewidth=1.4)
            low, high = axes.get_ylim()
            axes.axhspan(center - reach, center + reach, color=RULE, alpha=0.45, linewidth=0)
            axes.set_ylim(low, high)
            axes.locator_params(axis="y", nbins=4)
            axes.locator_params(axis="x", nbins=5)
            unit = detector.units[sensor]
            share = percent(float(track.shares[window.end, sensor]))
            title = detector.sensors[sensor] + (f" ({unit})" if unit else "")
            axes.set_title(f"{_short(title)} · {share}")
        return charts.svg(figure, label)


def time_unit(grid: Grid) -> tuple[str, float]:
    """The unit in which a window's time is told, and its seconds."""
    length = grid.window * grid.period / SECOND
    for name, size in (("days", 86_400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if length > 4 * size:
            return name, size
    return "seconds", 1.0


def spread_of_scores(files: Sequence[Judged], label: str) -> Markup:
    """How often which score: of normal and of anomalous frames, or of all without labels."""
    groups = classes(files)
    everything = np.concatenate([score for _, score, _ in groups])
    low, high = _reach(everything)
    edges = np.geomspace(low, high * 1.02, 70)
    with charts.style():
        figure, (axes,) = charts.stacked((PLOT,), top=0.24, bottom=0.42)
        for _, score, colour in groups:
            share = np.histogram(np.maximum(score, low), edges)[0] / max(1, len(score))
            axes.stairs(share, edges, fill=True, color=colour, alpha=0.3)
            axes.stairs(share, edges, color=colour, linewidth=1.2)
        axes.axvline(1, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
        axes.yaxis.set_major_formatter(lambda value, _: percent(value))
        axes.set_ylim(bottom=0)
        charts.log_scale(axes, "x", edges[0], edges[-1])
        axes.set_xlabel("score")
        axes.set_title("share of frames", color=MUTED)
        return charts.svg(figure, label)


def classes(files: Sequence[Judged]) -> list[tuple[str, Floats, str]]:
    """Name, scores and colour of the normal and the anomalous frames, or of all without labels."""
    known = [(one.label, one.score, ~np.isnan(one.score)) for one in files]
    labelled = [(label, score, scored) for label, score, scored in known if label is not None]
    if not labelled:
        return [("all frames", np.concatenate([score[ok] for _, score, ok in known]), MODEL)]
    normal = np.concatenate([score[ok & ~label] for label, score, ok in labelled])
    anomalous = np.concatenate([score[ok & label] for label, score, ok in labelled])
    return [("the normal frames", normal, MODEL), ("the anomalous frames", anomalous, EVENT)]


def _short(text: str) -> str:
    return text if len(text) <= 30 else text[:29] + "…"
