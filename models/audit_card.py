"""What people read of an audit: sentences and tables."""

import math
from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table

from models.manifest import REQUIRED_PROBES, AuditSpec, FaultSpec, Manifest
from models.words import duration


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
            if manifest.training.folds > 1 and not manifest.calibration_data
            else ""
        )
    )
    probes = Table("windows made of normal ones", "AUC", "by their score")
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


def unaudited(manifest: Manifest) -> str | None:
    """Why a bundle is not to be trusted with faults, or None."""
    if manifest.audit is None:
        return "not audited: no two stretches of the normal data are unbroken"
    refused = manifest.audit.refused
    return f"the audit refuses it: {refused}" if refused else None


def audited(manifest: Manifest) -> str | None:
    """What the audit found, in one line; None where there is something to warn of instead."""
    if unaudited(manifest) or manifest.audit is None:
        return None
    sizes = sorted(one.in_spreads or math.inf for one in manifest.audit.sensors)
    if not sizes:
        return "audited: no identity map"
    median, worst = sizes[len(sizes) // 2], sizes[-1]
    return (
        f"audited: no identity map; the smallest step that is found is {median:.2g} spreads in the "
        f"median sensor, {worst:.2g} in the worst"
    )


def _faults(manifest: Manifest, audit: AuditSpec) -> Iterator[str | Table]:
    if audit.alarmed:
        yield f"{audit.alarmed} of the stretches are in alert without a fault, and left out below"
    if not audit.sensors:
        return
    units = {sensor.name: sensor.unit for sensor in manifest.sensors}
    table = Table()
    table.add_column("sensor", no_wrap=True)
    for name in ("smallest step", "spreads", "after", "drift", "stuck", "swap"):
        table.add_column(name)
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
        "the smallest step is found in nine of ten stretches, the rest as often as said, in the "
        f"time given; drift: by two spreads in {duration(audit.followed_s)}; stuck: at the last "
        "value; swap: with the sensor most like it"
    )


def _found(fault: FaultSpec | None) -> str:
    """How long a fault takes to be found, and in how many stretches it is, if not in all."""
    if fault is None:
        return "n/a"
    if fault.delay_s is None:
        return "never"
    some = "" if fault.found == fault.of else f" ({fault.found}/{fault.of})"
    return duration(fault.delay_s) + some
