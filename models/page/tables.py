"""The tables of a judgement's page: figures, files, and what was found or raised in vain."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from models.evaluation import Judged
from models.frame import SECOND
from models.judgement import Judgement, Summary
from models.page.charts import thinned_spans
from models.page.findings import Finding, Kind
from models.report import number, pooled, with_interval
from models.spans import in_ticks
from models.words import after, duration, figure, moment, percent

# A page stays one that a browser opens at once, however much was judged.
MOST_ROWS = 100

# What is drawn on a line from 0 to 1, and how it is said to people.
RANGES = {
    "vus_pr": ("Ranking of frames", "VUS-PR: anomalous frames score highest"),
    "event_recall": ("Events found", "share of labelled events with an alert in them"),
    "event_precision": ("Alerts that are right", "share of alerts that touch an event"),
    "affiliation_f1": (
        "Nearness in time",
        "affiliation F1: alerts near events, events near alerts",
    ),
    "f1": ("Frames", "F1: of single frames, never point-adjusted"),
    "far": ("Normal frames in alert", "false-alarm ratio: less is better"),
}


@dataclass(frozen=True, slots=True)
class Range:
    """A figure as a point on a line, places in percent of it; None where there is none.

    Args:
        name, meaning: in words.
        own, pca, always: of the bundle, the baseline and always-alarm.
        interval: left end and width.
        text: the bundle's figure.
    """

    name: str
    meaning: str
    own: float | None
    pca: float | None
    always: float | None
    interval: tuple[float, float] | None
    text: str


def ranges(found: Judgement) -> list[Range]:
    """The figures people look at first; means over files where there are enough, else pooled."""
    files = len(found.names)
    rows: list[Range] = []
    for key, (name, meaning) in RANGES.items():
        interval = found.own.average.interval[key]
        rows.append(
            Range(
                name,
                meaning,
                _place(found.own, key),
                _place(found.rival, key),
                _place(found.always_alarm, key),
                interval and (100 * interval[0], 100 * (interval[1] - interval[0])),
                with_interval(found.own.average, key, files, figure)
                if interval
                else figure(found.own.headline(key)),
            )
        )
    return rows


def _place(summary: Summary | None, key: str) -> float | None:
    value = summary and summary.headline(key)
    return None if value is None else 100 * value


@dataclass(frozen=True, slots=True)
class Cells:
    """Cells under heads; the first of each row is a name."""

    heads: list[str]
    rows: list[list[str]]


def all_figures(found: Judgement) -> Cells:
    """Every figure of `evaluate --json` but those of single files."""
    detectors, files = pooled(found), len(found.names)
    average, gain = found.own.average, found.gain if found.rival else None
    heads = [*detectors]
    if files > 1:
        heads.append(f"mean of {files} files")
        heads += ["gain over pca, mean"] if gain else []
    rows: list[list[str]] = []
    for key in found.own.pooled:
        row = [key, *(number(one.get(key)) for one in detectors.values())]
        if files > 1:
            row.append(with_interval(average, key, files))
            row += [with_interval(gain, key, files)] if gain else []
        rows.append(row)
    return Cells(heads, rows)


@dataclass(frozen=True, slots=True)
class FileRow:
    """A file in a line."""

    name: str
    anchor: str | None
    strip: Markup
    cells: list[str]


def file_row(
    found: Judgement, file: int, name: str, anchor: str | None, kinds: Sequence[Kind]
) -> FileRow:
    """What happened in a file.

    Args:
        found: the judgement.
        file: index of the file.
        name: to show.
        anchor: of its picture, if it has one.
        kinds: of what was found in it.
    """
    figures, frames = found.own.files[file], found.frames[file]
    cells = [figure(figures["alerts"])]
    if found.labelled:
        hits, events = kinds.count("found"), kinds.count("found") + kinds.count("missed")
        delay = figures.get("detection_delay_s")
        cells = [
            f"{hits} of {events}" if events else "–",
            "–" if delay is None else duration(delay),
            "–" if frames.label is None else str(kinds.count("false")),
        ]
    cells.append(percent(figures["time_in_alert_ratio"]))
    if found.labelled:
        cells.append(figure(figures.get("vus_pr")))
    return FileRow(name, anchor, strip(frames), cells)


def strip(frames: Judged) -> Markup:
    """A file as a line: events above it, alerts below."""
    lanes = {"event": (frames.label, 0), "alert": (frames.alarm, 9)}
    bars = Markup("")
    for name, (flags, top) in lanes.items():
        if flags is None or not len(flags):
            continue
        since = frames.tick - frames.tick[0]
        scale = 1000 / (int(since[-1]) + 1)
        for start, end in in_ticks(thinned_spans(flags, 500), since) * scale:
            bars += Markup(
                '<rect fill="var(--{})" x="{:.1f}" y="{}" width="{:.1f}" height="7"/>'
            ).format(name, start, top, max(2.0, end - start))
    return Markup(
        '<svg class="strip" viewBox="0 0 1000 16" preserveAspectRatio="none" aria-hidden="true">'
        '<rect fill="var(--rule)" y="7.5" width="1000" height="1"/>{}</svg>'
    ).format(bars)


@dataclass(frozen=True, slots=True)
class FindingRow:
    """An event or an alert in a line."""

    file: str
    start: str
    length: str
    kind: Kind
    says: str
    peak: str
    sensors: str


@dataclass(frozen=True, slots=True)
class FindingTable:
    """Events or alerts."""

    title: str
    rows: list[FindingRow]
    left_out: int


def finding_tables(
    found: Judgement, all_of_them: Sequence[Finding], names: Sequence[str]
) -> list[FindingTable]:
    """Events with what became of them, and the alerts that are not theirs."""
    parts: dict[str, tuple[Kind, ...]] = {"Alerts": ("alert",)}
    if found.labelled:
        parts = {"Events": ("found", "missed"), "False alarms": ("false",)}
        if any(one.label is None for one in found.frames):
            parts["Alerts in files without labels"] = ("alert",)
    tables: list[FindingTable] = []
    for title, kinds in parts.items():
        mine = [one for one in all_of_them if one.kind in kinds]
        rows = [_finding_row(found, one, names[one.file]) for one in mine[:MOST_ROWS]]
        tables.append(FindingTable(title, rows, len(mine) - len(rows)))
    return tables


def _finding_row(found: Judgement, one: Finding, name: str) -> FindingRow:
    detector = found.detector
    says = {"missed": "missed", "false": "false alarm", "alert": "alert"}.get(one.kind)
    return FindingRow(
        name,
        moment(one.start),
        duration((one.end - one.start) / SECOND),
        one.kind,
        says or after((one.delay or 0) * detector.grid.period / SECOND),
        figure(None if np.isnan(one.peak) else one.peak),
        ", ".join(
            f"{detector.sensors[sensor]} {percent(float(one.shares[sensor]))}"
            for sensor in one.strongest
        ),
    )
