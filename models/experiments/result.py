"""The folder that an experiment leaves: metrics.json, a PNG file per picture, report.html."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from models.experiments.experiment import Outcome
from models.experiments.metrics import Metrics
from models.folders import remove, written
from models.page import charts
from models.page.experiment import REPORT, index, page

METRICS, INDEX = "metrics.json", "index.html"


def write(out: Path, metrics: Metrics, outcome: Outcome) -> None:
    """Write a result's folder, whole or not at all; one that is there is kept as `NAME.previous`.

    Raises:
        OSError: if it cannot be written.
    """
    files = {METRICS: (metrics.model_dump_json(indent=1) + "\n").encode()}
    files |= {f"{one.key}.png": charts.png(one.draw) for one in outcome.pictures}
    files[REPORT] = page(metrics, outcome).encode()
    with written(out) as draft:
        for name, content in files.items():
            (draft / name).write_bytes(content)


def read(out: Path) -> Metrics | None:
    """The metrics of a result's folder, if it is a whole one."""
    found = _metrics(out)
    whole = found and all((out / name).is_file() for name in (REPORT, *found.pictures))
    return found if whole else None


def _metrics(out: Path) -> Metrics | None:
    try:
        return Metrics.model_validate_json((out / METRICS).read_bytes())
    except (OSError, ValidationError):
        return None


def replaceable(out: Path) -> bool:
    """Whether nothing but a result would be lost there."""
    return not out.exists() or (
        out.is_dir() and (_metrics(out) is not None or not any(out.iterdir()))
    )


def write_index(out: Path, failures: Mapping[str, str], names: Sequence[str]) -> None:
    """The page that names all the experiments of a folder, with a picture of each.

    Args:
        out: the folder; each experiment's own has its name.
        failures: what stopped those that failed.
        names: of the experiments, in order.
    """
    found = {name: read(out / name) for name in names if name not in failures}
    done = {name: metrics for name, metrics in found.items() if metrics is not None}
    pictures = {
        name: (out / name / metrics.pictures[0]).read_bytes()
        for name, metrics in done.items()
        if metrics.pictures
    }
    draft = out / f".{INDEX}.{os.getpid()}.tmp"
    try:
        draft.write_text(index(done, failures, pictures), encoding="utf-8")
        draft.replace(out / INDEX)
    finally:
        remove(draft)
