"""The pages of an experiment, and of all of them: figures beside their references, pictures."""

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass

from models.experiments.experiment import Outcome, Wanted, given, number
from models.experiments.metrics import Measured, Metrics
from models.experiments.practices import PRACTICES
from models.page import charts, render
from models.words import count, duration

REPORT = "report.html"
HEADLINE = 4  # figures that are shown large


@dataclass(frozen=True, slots=True)
class Row:
    """A figure as the page tells it.

    Args:
        name, value, reference, limits, source: in words.
        mark: the chip's class.
        said: whether it is within the limits; empty without any.
    """

    name: str
    value: str
    reference: str
    limits: str
    mark: str
    said: str
    source: str

    @property
    def wanted(self) -> str:
        """What a tile says below the name."""
        said = f"reference {self.reference}, " if self.reference else ""
        return said + self.limits if self.limits else ""


@dataclass(frozen=True, slots=True)
class Entry:
    """An experiment in the list of all.

    Args:
        href: its report; none if it failed.
        picture: a data URI, or none.
        failure: what stopped it.
    """

    name: str
    summary: str
    href: str
    picture: str
    figures: list[Row]
    failure: str = ""


def page(metrics: Metrics, outcome: Outcome) -> str:
    """The report of one experiment as HTML."""
    rows = [row_of(one) for one in metrics.figures.values()]
    with charts.style():
        drawn = [
            {
                "key": one.key,
                "title": one.title,
                "caption": one.caption,
                "svg": charts.svg(one.draw(charts.PAGE), f"{one.title}: {one.caption}"),
            }
            for one in outcome.pictures
        ]
    return render(
        "experiment.html",
        {
            "kind": f"Experiment · {metrics.experiment}",
            "title": PRACTICES[metrics.experiment],
            "meta": meta(metrics),
            "verdict": verdict(metrics),
            "warnings": outcome.warnings,
            "shown": paragraphs(outcome.shown),
            "headline": rows[:HEADLINE],
            "figures": rows,
            "compared": any(row.limits for row in rows),
            "pictures": drawn,
            "tables": outcome.tables,
            "further": paragraphs(outcome.further),
            "made": [*outcome.made, made_on(metrics)],
            "command": command(metrics),
        },
    )


def index(
    done: Mapping[str, Metrics], failures: Mapping[str, str], pictures: Mapping[str, bytes]
) -> str:
    """The page of all experiments of a folder as HTML.

    Args:
        done: what each has reached.
        failures: what stopped the others.
        pictures: a PNG of each.
    """
    names = [name for name in PRACTICES if name in done or name in failures]
    entries = [
        Entry(name, PRACTICES[name], "", "", [], failures[name])
        if name in failures
        else Entry(
            name,
            PRACTICES[name],
            f"{name}/{REPORT}",
            _data_uri(pictures[name]) if name in pictures else "",
            [row_of(one) for one in [*done[name].figures.values()][:HEADLINE]],
        )
        for name in names
    ]
    some = next(iter(done.values()), None)
    return render(
        "experiments.html",
        {
            "kind": "Experiments",
            "title": f"Autoencoders on {some.data}" if some else "Autoencoders on images",
            "meta": meta(some) if some else [],
            "verdict": all_in_all(done, failures),
            "compared": any(row.limits for entry in entries for row in entry.figures),
            "entries": entries,
        },
    )


def row_of(one: Measured) -> Row:
    """A figure in words."""
    value = number(math.nan if one.value is None else one.value)
    reference = "" if one.reference is None else given(one.reference)
    if one.met is None:
        return Row(one.name, value, reference, "", "", "", one.source)
    least = -math.inf if one.least is None else one.least
    most = math.inf if one.most is None else one.most
    limits = Wanted(least=least, most=most).limits
    mark, said = ("met", "within") if one.met else ("missed", "outside")
    return Row(one.name, value, reference, limits, mark, said, one.source)


def paragraphs(text: str) -> list[str]:
    """The paragraphs of a text, a line each."""
    return [" ".join(one.split()) for one in text.split("\n\n")]


def meta(metrics: Metrics) -> list[str]:
    """What it was run on, in a few words each."""
    said = [
        metrics.data,
        f"{given(metrics.images['train'])} images",
    ]
    return [*said, *(["quick run"] if metrics.quick else []), f"seed {metrics.seed}"]


def verdict(metrics: Metrics) -> str:
    """What the figures say as a whole."""
    judged = [one for one in metrics.figures.values() if one.met is not None]
    if metrics.quick:
        return (
            "A quick run on a few images: it shows that everything works, and its figures are "
            "compared with none."
        )
    if not judged:
        return "There are no reference numbers for these images."
    missed = [one.name for one in judged if not one.met]
    if not missed:
        all_of_them = "The one figure" if len(judged) == 1 else f"All {len(judged)} figures"
        return f"{all_of_them} with a reference lie{'s' * (len(judged) == 1)} within the limits."
    return f"Outside the limits: {'; '.join(missed)}."


def all_in_all(done: Mapping[str, Metrics], failures: Mapping[str, str]) -> str:
    """What all the experiments come to."""
    judged = [one for run in done.values() for one in run.figures.values() if one.met is not None]
    said = f"{count(len(done), 'experiment').capitalize()} done"
    if judged:
        met = sum(bool(one.met) for one in judged)
        said += f", {met} of {count(len(judged), 'figure')} within the limits"
    return f"{said}; {count(len(failures), 'failure')}." if failures else f"{said}."


def made_on(metrics: Metrics) -> str:
    """When and with what it was computed."""
    versions = ", ".join(f"{name} {one}" for name, one in metrics.versions.items())
    return f"{duration(metrics.seconds)} on {metrics.device}, with {versions}."


def command(metrics: Metrics) -> str:
    """What makes the same again."""
    quick, seed = " --quick" * metrics.quick, f" --seed {metrics.seed}" * bool(metrics.seed)
    return f"sensor-trainer experiment {metrics.experiment} --data DIR --out DIR{quick}{seed}"


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
