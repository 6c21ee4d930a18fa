"""What people read of a bundle and of a judgement: sentences and tables."""

from collections.abc import Iterator
from typing import Any

from rich.markup import escape
from rich.table import Table

from models.frame import SECOND
from models.manifest import Manifest


def model_card(manifest: Manifest) -> Iterator[str | Table]:
    """Everything about a bundle, part by part."""
    yield (
        f"[bold]{escape(manifest.name)}[/bold]: {escape(manifest.model)}, windows of "
        f"{manifest.window} frames of {manifest.period_ns / SECOND:g} s, score {manifest.score} of "
        f"the newest {manifest.tail} frames"
    )
    yield f"created {manifest.created.isoformat()}, digest {manifest.digest[:16]}"
    yield losses(manifest)
    yield promise(manifest, 1)
    default = manifest.calibrations["default"]
    sensors = Table("sensor", "unit", "center", "spread", "normal error")
    for index, sensor in enumerate(manifest.sensors):
        sensors.add_row(
            escape(sensor.name),
            escape(sensor.unit or ""),
            f"{default.center[index]:.5g}",
            f"{default.spread[index]:.3g}",
            f"{default.error_scale[index]:.3g}",
        )
    yield sensors
    files = Table("trained on", "rows", "sha256")
    for one in manifest.data:
        files.add_row(escape(one.file), f"{one.rows[0]}:{one.rows[1]}", escape(one.sha256[:16]))
    yield files


def judgement(report: dict[str, Any]) -> Iterator[str | Table]:
    """The figures of `evaluate --json`, pooled and as the mean of the files."""
    columns = {"pooled": report["pooled"], "mean of files": report["mean"]}
    if "always-alarm" in report:
        columns["always-alarm, pooled"] = report["always-alarm"]["pooled"]
    table = Table("figure", *columns)
    for key in report["pooled"]:
        cells = (figures.get(key) for figures in columns.values())
        table.add_row(key, *("–" if value is None else f"{value:.4g}" for value in cells))
    yield table
    if seen := report["rows_seen_in_training"]:
        yield f"{seen} of these rows were trained on: judge it on others."


def losses(manifest: Manifest) -> str:
    """How well the network rebuilds normal windows it was not fitted on, beside the baseline."""
    training = manifest.training
    own, baseline = training.validation_loss, training.pca_validation_loss
    text = (
        f"validation loss {own:.4g}, pca {baseline:.4g} "
        f"({training.windows} windows, {training.folds} folds, {training.epochs} epochs)"
    )
    if manifest.model != "pca" and baseline <= own:
        text += (
            "\nthe pca baseline reconstructs this machine better than the network does: "
            "try --model pca"
        )
    return text


def promise(manifest: Manifest, assets: int) -> str:
    """The threshold and the false alarms to expect of it, for so many assets."""
    threshold = manifest.calibrations["default"].threshold
    return (
        f"threshold {threshold.value:.4g}: {threshold.expected_per_day:.3g} false alarms per day "
        f"and asset on {threshold.days:.3g} days of held-out normal data, at most "
        f"{threshold.bound_per_day:.3g} with 95 % confidence"
        + (
            f"; {assets} assets: at most {assets * threshold.bound_per_day:.3g}"
            if assets > 1
            else ""
        )
    )


def too_short(manifest: Manifest) -> str:
    """Why the normal data cannot support the false alarms asked for."""
    threshold = manifest.calibrations["default"].threshold
    return (
        f"{threshold.days:.3g} days of held-out normal data cannot support "
        f"{threshold.requested_per_day:g} false alarms per day (wanted "
        f"{3 / threshold.requested_per_day:.3g} days); the threshold is their highest score"
    )
