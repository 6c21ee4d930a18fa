"""What people read of a bundle and of a judgement: sentences and tables."""

from collections.abc import Iterator
from typing import Any

from rich.markup import escape
from rich.table import Table

from models.frame import SECOND
from models.manifest import REQUIRED_PROBES, AuditSpec, FaultSpec, Manifest


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
    yield from audit_card(manifest)
    files = Table("trained on", "rows", "sha256")
    for one in manifest.data:
        files.add_row(escape(one.file), f"{one.rows[0]}:{one.rows[1]}", escape(one.sha256[:16]))
    yield files


def audit_card(manifest: Manifest) -> Iterator[str | Table]:
    """What the audit found, if there was one."""
    audit = manifest.audit
    if audit is None:
        yield "not audited: the bundle holds no sample of held-out normal data"
        return
    yield (
        f"audited on {audit.stretches} stretches of held-out normal data"
        + (
            ": scores of their windows are the folds', the network has since seen them too"
            if manifest.training.folds > 1
            else ""
        )
    )
    probes = Table("windows made of normal ones", "AUC", "by the score")
    for name, probe in audit.probes.items():
        probes.add_row(name.replace("-", " "), f"{probe.auc:.3f}", probe.verdict)
    yield probes
    yield (
        f"rebuilds {audit.rebuilt_normal:.0%} of normal windows and {audit.rebuilt_noise:.0%} of "
        "white noise"
    )
    if audit.refused:
        yield f"[bold]refused[/bold]: {audit.refused}"
    elif all(audit.probes[name].verdict == "not applicable" for name in REQUIRED_PROBES):
        yield (
            "neither white noise nor exchanged sensors differ enough from these normal data to say "
            "whether it is an identity map"
        )
    yield from _faults(manifest, audit)


def _faults(manifest: Manifest, audit: AuditSpec) -> Iterator[str | Table]:
    if audit.alarmed:
        yield f"{audit.alarmed} of the stretches are in alert without a fault, and left out below"
    if not audit.sensors:
        return
    units = {sensor.name: sensor.unit for sensor in manifest.sensors}
    table = Table("sensor", "smallest step", "in spreads", "found after", "drift", "stuck", "swap")
    for one in audit.sensors:
        size = "none" if one.smallest_step is None else f"{one.smallest_step:.3g}"
        table.add_row(
            escape(one.sensor),
            escape(" ".join(filter(None, (size, units[one.sensor])))),
            "" if one.in_spreads is None else f"{one.in_spreads:.2g}",
            *(_found(fault) for fault in (one.step, one.drift, one.stuck, one.swap)),
        )
    yield table
    yield (
        "the smallest step is found in nine of ten stretches; drift, by two spreads in "
        f"{duration(audit.followed_s)}, stuck and exchanged with the sensor most like it: how long "
        "until it is found"
    )


def _found(fault: FaultSpec | None) -> str:
    """How long a fault takes to be found, and in how many stretches it is, if not in all."""
    if fault is None:
        return "n/a"
    if fault.delay_s is None:
        return "not found"
    some = "" if fault.found == fault.of else f" ({fault.found} of {fault.of})"
    return duration(fault.delay_s) + some


def duration(seconds: float) -> str:
    """A time in the largest unit of which there are at least two."""
    for unit, name in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.2g} {name}"
    return f"{seconds:.3g} s"


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
