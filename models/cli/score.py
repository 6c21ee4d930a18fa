"""sensor-trainer score."""

import csv
import os
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from models import bundle
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
    read_data,
    selection_of,
    writing,
)
from models.evaluation import score_recordings
from models.recording import iso


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
                for index in range(len(frames)):
                    row = int(track.row[index])
                    time = int(frames.tick[index]) * detector.grid.period
                    lines.writerow(
                        [
                            stamps[row] if row >= 0 else iso(time),
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
                out.replace(out.with_name(out.name + ".previous"))
            draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)


def _number(value: np.float64) -> str:
    return "" if np.isnan(value) else f"{value:.6g}"
