"""sensor-trainer score."""

import csv
import math
import os
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from models import bundle
from models.caveats import unlike_the_monitor
from models.cli.common import (
    Assets,
    BundleFolder,
    Data,
    End,
    Exclude,
    Force,
    Ignore,
    Rows,
    Start,
    check_free,
    check_replaced,
    read_data,
    selection_of,
    writing,
)
from models.evaluation import score_recordings
from models.recording import iso
from models.timestamps import seconds


def score(
    folder: BundleFolder,
    data: Data,
    out: Annotated[Path, typer.Option(help="The CSV file to write.")],
    rows: Rows = None,
    start: Start = None,
    end: End = None,
    assets: Assets = None,
    exclude: Exclude = None,
    ignore: Ignore = None,
    force: Force = False,
) -> None:
    """Score recordings: a row per frame, as the daemon would have scored it.

    Example: sensor-trainer score bundles/pump today.csv --out scores.csv
    """
    selection = selection_of(rows, start, end, assets, exclude)
    check_free(out, force=force)
    check_replaced(out, lambda place: not place.is_dir(), "file")
    detector = bundle.load(folder)
    recordings = read_data(data, detector.sensors, ignore, selection)
    draft = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        with writing(out), draft.open("w", newline="") as file:
            lines = csv.writer(file, lineterminator="\n")
            shares = [f"share:{sensor}" for sensor in detector.sensors]
            found = score_recordings(detector, recordings)
            # Only an ensemble's members have scores that may differ.
            spread = ["spread"] if any((scores.spread >= 0).any() for scores in found) else []
            lines.writerow(["timestamp", "asset", "score", "raw", "alert", *shares, *spread])
            for scores in found:
                track, frames = scores.track, scores.track.frames
                stamps = recordings[track.recording].stamps
                spelt = seconds if stamps and _is_number(stamps[0]) else iso
                for index in range(len(frames)):
                    row = int(track.row[index])
                    time = int(frames.tick[index]) * detector.grid.period
                    lines.writerow(
                        [
                            stamps[row] if row >= 0 else spelt(time),
                            track.asset,
                            _number(scores.verdicts.score[index]),
                            _number(scores.raw[index]),
                            int(scores.verdicts.anomalous[index]),
                            *(_number(share) for share in scores.shares[index]),
                            *(_number(scores.spread[index]) for _ in spread),
                        ]
                    )
        with writing(out):
            if out.exists():
                previous = out.with_name(out.name + ".previous")
                previous.unlink(missing_ok=True)
                previous.hardlink_to(out)
            draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)
    for warning in unlike_the_monitor(detector, [scores.track for scores in found]):
        typer.echo(f"warning: {warning}", err=True)


def _is_number(stamp: str) -> bool:
    try:
        return math.isfinite(float(stamp))
    except ValueError:
        return False


def _number(value: np.float64) -> str:
    return "" if np.isnan(value) else f"{value:.6g}"
