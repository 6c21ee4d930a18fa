"""The page of `evaluate --report`: how good a bundle is, in pictures and in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePath

from markupsafe import Markup

from models.caveats import warnings
from models.evaluation import DEFINITIONS, INTRODUCTION
from models.frame import SECOND
from models.judgement import LEAST_FILES, Judgement
from models.manifest import Manifest
from models.page import pictures, render
from models.page.findings import Finding, Kind, Window, findings, strangest_windows, strongest
from models.page.tables import all_figures, file_row, finding_tables, ranges
from models.page.verdict import tiles, verdict
from models.words import after, count, duration, figure, moment, percent

# A page stays one that a browser opens at once, however many files were judged.
MOST_PICTURES, MOST_FILES = 12, 200
LETTERS = "ABCDEF"  # one for each window


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture with what is said above it.

    Args:
        key: the anchor of a file's picture, or the letter of a window.
    """

    key: str
    name: str
    caption: str
    svg: Markup


def page(found: Judgement, manifest: Manifest) -> str:
    """The whole page as HTML."""
    stood_out = findings(found)
    windows = strangest_windows(found, stood_out, len(LETTERS))
    names, files = short_names(found.names), range(len(found.names))
    drawn = worth_a_picture(found, stood_out, windows)
    kinds: list[list[Kind]] = [[] for _ in files]
    for one in stood_out:
        kinds[one.file].append(one.kind)
    anchors = {file: f"file-{file + 1}" for file in drawn}
    return render(
        "evaluation.html",
        {
            "kind": "Evaluation",
            "title": manifest.name,
            "meta": meta(found, manifest),
            "verdict": verdict(found),
            "warnings": warnings(found, names),
            "tiles": tiles(found),
            "labelled": found.labelled,
            "rival": found.rival is not None,
            "intervals": len(files) >= LEAST_FILES,
            "ranges": ranges(found) if found.labelled else [],
            "figures": all_figures(found),
            "names": names,
            "files": [
                file_row(found, file, names[file], anchors.get(file), kinds[file])
                for file in files[:MOST_FILES]
            ],
            "pictures": [
                score_picture(found, file, names[file], anchors[file], windows, kinds[file])
                for file in drawn
            ],
            "windows": [
                window_picture(found, letter, window, names[window.file])
                for letter, window in zip(LETTERS, windows, strict=False)
            ],
            "unit": pictures.time_unit(found.detector.grid)[0],
            "spread": pictures.spread_of_scores(found.frames, "How scores are spread"),
            "over": over_threshold(found),
            "findings": finding_tables(found, stood_out, names),
            "introduction": INTRODUCTION,
            "definitions": {key: DEFINITIONS[key] for key in found.own.pooled},
        },
    )


def short_names(names: Sequence[str]) -> list[str]:
    """Names without the folder they share, and without `.csv` and `.gz` where they still differ."""
    folders = [PurePath(name).parts[:-1] for name in names]
    shared = 0
    while all(len(one) > shared and one[shared] == folders[0][shared] for one in folders):
        shared += 1
    own = [str(PurePath(*PurePath(name).parts[shared:])) for name in names]
    short = [name.replace(".csv.gz", "").replace(".csv", "") for name in own]
    return short if len({*short}) == len({*own}) else own


def meta(found: Judgement, manifest: Manifest) -> list[str]:
    """What was judged and on what, in a few words each."""
    created = datetime.fromtimestamp(manifest.created.timestamp(), UTC)
    length = duration(manifest.period_ns / SECOND)
    sensors = count(len(manifest.sensors), "sensor")
    said = [
        f"{manifest.model} of {created:%Y-%m-%d}, digest {manifest.digest[:12]}",
        f"{sensors}, windows of {manifest.window} frames of {length}",
        count(len(found.names), "file"),
    ]
    ticks = [track.track.frames.tick for track in found.tracks if len(track.track.frames)]
    if ticks:
        first = moment(min(int(one[0]) for one in ticks) * manifest.period_ns)
        last = moment(max(int(one[-1]) for one in ticks) * manifest.period_ns)
        same_day = first[:10] == last[:10]
        said.append(f"{first} to {last[11:]} UTC" if same_day else f"{first[:10]} to {last[:10]}")
    return said


def worth_a_picture(
    found: Judgement, stood_out: Sequence[Finding], windows: Sequence[Window]
) -> list[int]:
    """The files to draw, in their order: those with a window shown, then with most mistakes."""
    files = [file for file, track in enumerate(found.tracks) if len(track.track.frames)]
    wrong = [one.file for one in stood_out if one.kind in ("missed", "false")]
    shown = {window.file for window in windows}
    ranked = sorted(files, key=lambda file: (file not in shown, -wrong.count(file)))
    return sorted(ranked[:MOST_PICTURES])


def score_picture(
    found: Judgement,
    file: int,
    name: str,
    anchor: str,
    windows: Sequence[Window],
    kinds: Sequence[Kind],
) -> Picture:
    """The score of a file over time."""
    marks = [
        (letter, one.end) for letter, one in zip(LETTERS, windows, strict=False) if one.file == file
    ]
    figures, frames = found.own.files[file], found.frames[file]
    period, tick = found.detector.grid.period, frames.tick
    said = f"{count(kinds.count('alert'), 'alert')}, no labels"
    if frames.label is not None:
        events = kinds.count("found") + kinds.count("missed")
        delay, area = figures["detection_delay_s"], figures["vus_pr"]
        said = f"{kinds.count('found')} of {count(events, 'event')} found" if events else "no event"
        said += "" if delay is None else f" {after(delay)}"
        said += f", {count(kinds.count('false'), 'false alarm')}"
        said += "" if area is None else f", VUS-PR {figure(area)}"
    length = duration((int(tick[-1] - tick[0]) + 1) * period / SECOND)
    return Picture(
        anchor,
        name,
        f"{said} · {length} from {moment(int(tick[0]) * period)}",
        pictures.score_over_time(frames, period, marks, f"Score of {name} over time: {said}"),
    )


def window_picture(found: Judgement, letter: str, window: Window, name: str) -> Picture:
    """A strange window, its strongest sensors beside each other."""
    track = found.tracks[window.file]
    sensors = strongest(track.shares[window.end])
    time = int(track.track.frames.tick[window.end]) * found.detector.grid.period
    said = ", ".join(found.detector.sensors[sensor] for sensor in sensors)
    return Picture(
        letter,
        name,
        f"{moment(time)}, score {figure(float(track.raw[window.end]))}, {window.why}",
        pictures.strange_window(
            found.detector, track, window, sensors, f"Window {letter} of {name}: {said}"
        ),
    )


def over_threshold(found: Judgement) -> str:
    """How much of what scores over the threshold."""
    shares = [
        f"{percent(float((score > 1).mean()))} of {name}"
        for name, score, _ in pictures.classes(found.frames)
        if len(score)
    ]
    return f"{' and '.join(shares)} score over the threshold." if shares else "No frame is scored."
