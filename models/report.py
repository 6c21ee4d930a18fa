"""What people read of a bundle and of a judgement: sentences and tables."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from models.audit_card import audit_card
from models.caveats import warnings
from models.evaluation import Metrics
from models.frame import SECOND
from models.judgement import LEAST_FILES, Average, Judgement
from models.manifest import DEFAULT, DataSpec, Manifest
from models.recording import Recording
from models.words import listed, moment

if TYPE_CHECKING:
    from models.plan import Plan

STRANGERS = "any other asset is uncalibrated and does not alert"
# Assets that are listed one by one.
MOST_ASSETS = 12


def model_card(manifest: Manifest) -> Iterator[str | Table]:
    """Everything about a bundle, part by part."""
    yield (
        f"[bold]{escape(manifest.name)}[/bold]: {escape(manifest.model)}, windows of "
        f"{manifest.window} frames of {manifest.period_ns / SECOND:g} s, score {manifest.score} of "
        + (
            f"the newest frame and of the newest {manifest.tail}, half each"
            if manifest.score == "mean-square"
            else "the newest frame"
        )
    )
    if idleness := manifest.grid.idleness:
        yield escape(idleness)
    yield f"created {manifest.created.isoformat()}, digest {manifest.digest[:16]}"
    yield losses(manifest)
    yield from promises(manifest)
    if words := caution(manifest):
        yield f"caution: {escape(words)}"
    assets = [name for name in manifest.calibrations if name != DEFAULT]
    if assets:
        fleet = Table("asset", "threshold", "false alarms/day", "at most", "asked for", "supported")
        fleet.add_column("days of normal data")
        for name in assets[:MOST_ASSETS]:
            one = manifest.calibrations[name].threshold
            numbers = (one.value, one.expected_per_day, one.bound_per_day, one.requested_per_day)
            cells = [f"{number:.3g}" for number in numbers]
            cells += ["yes" if one.supported else "no", f"{one.days:.3g}"]
            fleet.add_row(escape(name), *cells)
        yield fleet
    if len(assets) > MOST_ASSETS:
        yield f"… and {len(assets) - MOST_ASSETS} more assets"
    default = manifest.calibrations[DEFAULT]
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
    yield from _data("trained on", manifest.data)
    yield from _data("calibrated on", manifest.calibration_data)


def _data(use: str, data: Sequence[DataSpec]) -> Iterator[Table]:
    """The files, what of them was used, and which stretches of that were left out."""
    if not data:
        return
    files = Table(use, "rows", "sha256")
    left_out = Table("left out", "asset", "from", "to", "rows", "why")
    for one in data:
        start, end = (None if edge is None else moment(edge) for edge in one.span_ns)
        rows = f"{one.rows[0]}:{one.rows[1]}"
        rows += f" from {start}" * bool(start) + f" to {end}" * bool(end)
        rows += f" of {listed(one.assets)}" * bool(one.assets)
        files.add_row(escape(one.file), escape(rows), escape(one.sha256[:16]))
        for stretch in one.excluded:
            span = (moment(stretch.start_ns), moment(stretch.end_ns))
            whose = escape(stretch.asset or "all")
            left_out.add_row(escape(one.file), whose, *span, f"{stretch.rows}", escape(stretch.why))
    yield files
    if left_out.row_count:
        yield left_out


def judgement(found: Judgement) -> Iterator[str | Table]:
    """The figures of `evaluate`, of all files as one and as their mean."""
    files, average = len(found.names), found.own.average
    table = Table("figure", *pooled(found), box=SIMPLE_HEAD)
    if files > 1:
        table.add_column(f"mean of {files} files")
    for column in table.columns:
        column.no_wrap = True
    for key in found.own.pooled:
        cells = [number(figures.get(key)) for figures in pooled(found).values()]
        if files > 1:
            cells.append(with_interval(average, key, files))
        table.add_row(key, *cells)
    yield table
    if files >= LEAST_FILES:
        yield "In brackets: 95 % bootstrap interval of the mean over files."
    yield from warnings(found, found.names)


def pooled(found: Judgement) -> dict[str, Metrics]:
    """The figures of all files as one, by detector."""
    columns = {"this bundle": found.own.pooled}
    if found.always_alarm:
        columns["always-alarm"] = found.always_alarm.pooled
    if found.rival:
        columns["pca"] = found.rival.pooled
    return columns


def with_interval(
    average: Average, key: str, files: int, said: Callable[[float | None], str] | None = None
) -> str:
    """A mean, its interval, and of how many files where that is not all."""
    said = said or number
    interval, counted = average.interval[key], average.counted[key]
    text = said(average.mean[key])
    if interval:
        text += f" [{said(interval[0])}, {said(interval[1])}]"
    return text if counted in (0, files) else f"{text} of {counted}"


def number(value: float | None) -> str:
    """Three significant digits; a dash where there is no meaning."""
    if value is None:
        return "–"
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.3g}"


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


def plan_line(the: "Plan") -> str:
    """How many windows of the data can be used, and why not the others."""
    left_out = ", ".join(f"{count} {why}" for why, count in the.left_out.items() if count)
    return (
        f"windows of {the.grid.window} frames of {the.grid.period / SECOND:g} s: "
        f"{len(the.ends)} kept ({the.kept_ratio:.1%})"
        + (f", left out: {left_out}" if left_out else "")
        + "".join(f"\n{count} rows left out: {why}" for why, count in the.rows_left_out.items())
    )


def promises(manifest: Manifest) -> Iterator[str]:
    """The thresholds and the false alarms to expect of them, for the whole fleet as well."""
    yield promise(DEFAULT, manifest)
    assets = [name for name in manifest.calibrations if name != DEFAULT]
    if not assets:
        return
    thresholds = [manifest.calibrations[name].threshold for name in assets]
    yield (
        f"all {len(assets)} asset{'s' * (len(assets) > 1)}: "
        f"{sum(one.expected_per_day for one in thresholds):.3g} false alarms per day, at most "
        f"{sum(one.bound_per_day for one in thresholds):.3g}"
    )


def promise(name: str, manifest: Manifest) -> str:
    """One calibration's threshold and the false alarms to expect of it."""
    threshold = manifest.calibrations[name].threshold
    return (
        ("" if manifest.calibrations.keys() == {DEFAULT} else f"{name}: ")
        + f"threshold {threshold.value:.4g} by {threshold.rule}: {threshold.expected_per_day:.3g} "
        f"false alarms per day and asset on {threshold.days:.3g} days of held-out normal data, at "
        f"most {threshold.bound_per_day:.3g} with 95 % confidence"
        + (f"; promised is {threshold.promise}" if threshold.promise else "")
        + f"; asked for was {threshold.requested_per_day:g} per day"
        + ("" if threshold.supported else ", which they cannot support")
    )


def told_from_names(assets: Iterable[str], recordings: Sequence[Recording]) -> str | None:
    """That assets are told apart by what their files are called, if they are.

    The folders of day files, as `sensor-monitor record` writes them, are called by the assets.
    """
    named = {
        asset
        for one in recordings
        if not one.has_assets
        for asset in one.assets
        if one.path.name.startswith(f"{asset}.")
    }
    told = [name for name in assets if name in named]
    return f"assets told from file names: {listed(told)}; {STRANGERS}" if told else None


def short_of_data(assets: Sequence[str], manifest: Manifest) -> Iterator[str]:
    """What became of assets with too little data for a calibration of their own.

    Args:
        assets: those that none was made for.
        manifest: of the bundle, with what it knew of them before.
    """
    if assets and manifest.calibrations.keys() == {DEFAULT}:
        yield f"{listed(assets)}: too little data of each, so one calibration is for every asset"
        return
    for fate, known in (("uncalibrated", False), ("not renewed", True)):
        if names := [name for name in assets if (name in manifest.calibrations) is known]:
            yield f"{listed(names)}: too little data, {fate}"


def caution(
    manifest: Manifest, names: Sequence[str] = (), *, unsupported: bool = False
) -> str | None:
    """What speaks against relying on the thresholds of some calibrations, if anything.

    Args:
        manifest: of the bundle.
        names: of the calibrations; none = the assets', or the default where there are none.
        unsupported: leave out those whose data are enough for what was asked.
    """
    names = names or [name for name in manifest.calibrations if name != DEFAULT] or [DEFAULT]
    known = {name: manifest.calibrations[name].threshold for name in names}
    told = [
        name for name, one in known.items() if one.caution and not (unsupported and one.supported)
    ]
    if not told:
        return None
    whose = "" if [*names] == [DEFAULT] else f"{', '.join(told[:5])}{', …' * (len(told) > 5)}: "
    return whose + known[told[0]].caution
