"""The table of `detection`: a line for each data set and family."""

from collections.abc import Iterator
from typing import TypedDict

import numpy as np

from models.evaluation import Metrics
from models.frame import Floats
from models.threshold import DAY

Z2 = "z²"
LEAST_FILES = 5  # for an interval to mean anything
VOLUME = "vus_pr"


class Result(TypedDict):
    """One family fitted on one machine; figures by judged recording."""

    group: str
    machine: str
    family: str
    period_s: float
    seconds: float
    figures: dict[str, Metrics]
    error: str | None
    code: str


def show(results: list[Result], code: dict[str, str]) -> Iterator[str]:
    """The table in Markdown, and what there is to say about it."""
    yield (
        "| set | family | AUC-PR | VUS-PR | less pca | less z² | event F1 | false alarms a day "
        "| fit s | |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for group in dict.fromkeys(one["group"] for one in results):
        of_group = [one for one in results if one["group"] == group]
        for family in dict.fromkeys(one["family"] for one in of_group):
            yield line(group, family, of_group)
    yield ""
    yield (
        "AUC-PR, VUS-PR: mean over files, with a 95 % bootstrap interval where there are at least "
        f"{LEAST_FILES}; the differences are of VUS-PR, paired by file. VUS-PR weighs every event "
        "alike, AUC-PR every frame. Both rank frames by their scores before the decision smooths "
        "them. Event F1 and false alarms: at the bundle's own threshold, all files of a set "
        "together. fit s: CPU seconds for the set."
    )
    for one in results:
        if one["error"]:
            yield f"{one['group']} {one['machine']} {one['family']}: {one['error']}"
    if old := sum(one["code"] != code[one["family"]] for one in results):
        yield f"{old} of {len(results)} results come from other code."


def line(group: str, family: str, of_group: list[Result]) -> str:
    own = [one for one in of_group if one["family"] == family]
    area = areas(own, VOLUME)
    plain = interval(np.array([*areas(own, "auc_pr").values()]))
    cells = [group, family, plain, interval(np.array([*area.values()]))]
    lost: list[str] = []
    for baseline in ("pca", Z2):
        other = areas([one for one in of_group if one["family"] == baseline], VOLUME)
        both = [area[file] - other[file] for file in area if file in other]
        cells.append("" if family in (baseline, Z2) else interval(np.array(both), signed=True))
        if family not in (baseline, Z2) and both and np.mean(both) < 0:
            lost.append(baseline)
    cells += [*alarms(own), f"{sum(one['seconds'] for one in own):.1f}"]
    cells.append(f"below {' and '.join(lost)}" if lost else "")
    return f"| {' | '.join(cells)} |"


def areas(results: list[Result], name: str) -> dict[str, float]:
    """The area of every judged recording that has anomalies."""
    return {
        file: area
        for one in results
        for file, figures in one["figures"].items()
        if (area := figures[name]) is not None
    }


def alarms(results: list[Result]) -> tuple[str, str]:
    """Event F1 and false alarms a day, of all files together."""
    events = found = alerts = false = days = 0.0
    for one in results:
        for figures in one["figures"].values():
            known = {key: value or 0.0 for key, value in figures.items()}
            events += known["events"]
            found += known["events"] * known["event_recall"]
            alerts += known["alerts"]
            false += known["alerts"] * (1 - known["event_precision"])
            normal = known["windows"] * (1 - known["prevalence"])
            days += normal * one["period_s"] / DAY
    if not days:
        return "–", "–"
    recall, precision = found / events, 1 - false / alerts if alerts else 0.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return f"{f1:.2f}", f"{false / days:.2g}"


def interval(values: Floats, *, signed: bool = False) -> str:
    """Mean, and its 95 % bootstrap interval over files where there are enough."""
    if not len(values):
        return "–"
    form = "{:+.3f}" if signed else "{:.3f}"
    text = form.format(values.mean())
    if len(values) >= LEAST_FILES:
        drawn = np.random.default_rng(0).choice(values, (10_000, len(values))).mean(axis=1)
        low, high = np.quantile(drawn, (0.025, 0.975))
        text += f" [{form.format(low)}, {form.format(high)}]"
    return text
