"""A judgement in sentences and headline figures; each number is one of `evaluate --json`."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from models.evaluation import Metrics
from models.frame import SECOND
from models.judgement import Judgement, Summary
from models.words import count, duration, figure, percent


@dataclass(frozen=True, slots=True)
class Tile:
    """A headline figure, its name and what others reach."""

    value: str
    name: str
    detail: str = ""


def verdict(found: Judgement) -> list[str]:
    """What the figures say, best known first."""
    own = found.own.pooled
    if not own["windows"]:
        return ["Not a single frame could be scored: no window is complete."]
    if not found.labelled:
        alerts = count(_int(own, "alerts"), "alert").capitalize()
        in_alert = percent(own["time_in_alert_ratio"])
        return [
            f"{alerts} in {_scored_time(found)} of scored time, {in_alert} of it in alert.",
            "Without labels nobody can say which of them are right.",
        ]
    if not own["alerts"]:
        return [*_never_alerts(found), *_against_pca(found)]
    return [*_events(own), *_against_pca(found), *_against_always(found)]


def _never_alerts(found: Judgement) -> list[str]:
    highest = max(float(np.nanmax(one.score, initial=0.0)) for one in found.frames)
    events = _int(found.own.pooled, "events")
    why = "no score stays over the threshold for long enough"
    if highest <= 1:
        why = f"the highest score is {figure(highest)}, the threshold 1"
    return [
        f"Never alerts: {why}.",
        f"{count(events, 'event').capitalize()} missed." if events else "There is no event.",
    ]


def _events(own: Metrics) -> list[str]:
    events, alerts = _int(own, "events"), _int(own, "alerts")
    delay, per_day = own["detection_delay_s"], own["false_alarms_per_day"]
    said = ["There is no labelled event in these recordings."]
    if events:
        found = _found(own)
        text = f"Finds {found or 'none'} of {count(events, 'event')}"
        if delay is not None:
            within = f"within {duration(delay)}" if delay else "at once"
            text += f", {within}" if found == 1 else f", half of them {within}"
        said = [f"{text}."]
    false = alerts - round((own["event_precision"] or 0) * alerts)
    if not false:
        return [*said, "Raises no false alarm."]
    rate = "" if per_day is None else f": {figure(per_day)} per day of normal operation"
    return [*said, f"Raises {count(false, 'false alarm')}{rate}."]


def _against_pca(found: Judgement) -> list[str]:
    pca, gain = found.rival, found.gain
    own, other = found.own.headline("vus_pr"), pca and pca.headline("vus_pr")
    if gain is None or own is None or other is None:
        return []
    against = f"VUS-PR {figure(own)} against {figure(other)}"
    interval = gain.interval["vus_pr"]
    if interval is None:
        return [f"{against} of the pca baseline, on too few files to tell chance from skill."]
    low, high = interval
    between = f"the gain lies between {figure(low)} and {figure(high)} with 95 % confidence"
    if low > 0:
        return [f"It ranks frames better than the pca baseline does: {against}; {between}."]
    if high < 0:
        return [f"The pca baseline ranks frames better: {against}; {between}. Try --model pca."]
    return [f"No clear difference from the pca baseline: {against}; {between}."]


def _against_always(found: Judgement) -> list[str]:
    mine = found.own.pooled["f1"]
    theirs = found.always_alarm and found.always_alarm.pooled["f1"]
    if mine is None or theirs is None or mine > theirs:
        return []
    worse = f"Its F1 on frames, {figure(mine)}, is no better than that of always being in alert"
    return [f"{worse}, {figure(theirs)}."]


def tiles(found: Judgement) -> list[Tile]:
    """The headline figures, and what the baseline reaches."""
    in_alert = _tile(found, "time_in_alert_ratio", percent, "of the time in alert")
    if not found.labelled:
        return [
            _tile(found, "alerts", figure, "alerts"),
            _tile(found, "alerts_per_day", figure, "alerts per day"),
            in_alert,
            Tile(_scored_time(found), "scored"),
        ]
    own, pca, always = found.own, found.rival, found.always_alarm
    events = _int(own.pooled, "events")
    interval = own.average.interval["vus_pr"]
    between = f" [{figure(interval[0])}, {figure(interval[1])}]" if interval else ""
    others: dict[str, Summary | None] = {"pca": pca, "always-alarm": always}
    areas = [f"{name} {figure(one.headline('vus_pr'))}" for name, one in others.items() if one]
    return [
        Tile(
            f"{_found(own.pooled)} of {events}",
            "events found",
            f"pca {_found(pca.pooled)} of {events}" if pca else "",
        ),
        _tile(found, "detection_delay_s", _delay, "until an event is found, median"),
        _tile(found, "false_alarms_per_day", figure, "false alarms per day"),
        in_alert,
        Tile(figure(own.headline("vus_pr")), f"VUS-PR{between}", ", ".join(areas)),
    ]


def _tile(found: Judgement, key: str, said: Callable[[float | None], str], name: str) -> Tile:
    pca = found.rival
    return Tile(said(found.own.pooled[key]), name, f"pca {said(pca.pooled[key])}" if pca else "")


def _delay(seconds: float | None) -> str:
    return "–" if seconds is None else duration(seconds)


def _found(figures: Metrics) -> int:
    return round((figures["event_recall"] or 0) * _int(figures, "events"))


def _scored_time(found: Judgement) -> str:
    return duration(_int(found.own.pooled, "windows") * found.detector.grid.period / SECOND)


def _int(figures: Metrics, key: str) -> int:
    return int(figures[key] or 0)
