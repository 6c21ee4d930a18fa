"""EncDec-AD on the series of its paper: power demand, the Shuttle's valve, an electrocardiogram.

Malhotra et al., LSTM-based Encoder-Decoder for Multi-sensor Anomaly Detection, arXiv 1607.00148.
`scripts/bench encdec_ad --out DIR` trains the family `lstm` on each, prints what it finds and draws
a picture of each into DIR. Scores come from the decoder that reads its own predictions, as in the
daemon. The data are read from ../shared/data/keogh and never copied.
"""

import argparse
import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from models.frame import Bools, Ints
from tests.benchmarks.encdec import events, weeks
from tests.benchmarks.encdec.model import Model, learn
from tests.benchmarks.encdec.picture import Story, Stretch, draw

KEOGH = Path(__file__).parents[3] / "shared" / "data" / "keogh"
NAMES = ("power", *events.CASES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--out", type=Path, help="folder for the pictures; default none is drawn")
    parser.add_argument("--seeds", type=int, default=5, help="runs on the power demand")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    names = arguments.names or NAMES
    if unknown := set(names) - set(NAMES):
        parser.error(f"{', '.join(unknown)}: wanted of {', '.join(NAMES)}")
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for name in names:
        for seed in range(arguments.seeds if name == "power" else 1):
            picture = (
                arguments.out / f"encdec-ad-{name}.png" if arguments.out and not seed else None
            )
            began = time.process_time()
            found = power(seed, picture) if name == "power" else event(name, picture)
            rows.append({"name": name, "seed": seed, **found, "cpu_s": time.process_time() - began})
            if not arguments.json:
                print(" ".join(f"{key} {shown(value)}" for key, value in rows[-1].items()))
    if arguments.json:
        print(json.dumps(rows, indent=1))


def shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return "–" if value is None else str(value)


def power(seed: int, picture: Path | None) -> dict[str, Any]:
    """One run on the power demand, with weeks and weights of this seed."""
    values, label = weeks.power_demand(KEOGH)
    length = weeks.WEEK
    order = weeks.drawn(label, length, seed)
    sn, vn1 = weeks.last(order.sn, length), weeks.last(order.vn1, length)
    model = learn(values, length, sn, vn1, replace(weeks.SETTINGS, seed=seed))
    found = weeks.judge(model, order)
    if picture:
        ends = weeks.last(np.arange(len(values) // length), length)
        means = model.scores(ends).mean(axis=1)
        best = int(order.tn[np.argmin(means[order.tn])])
        worst = int(order.ta[np.argmax(means[order.ta])])
        stretches = (
            stretch(model, f"a normal week, well rebuilt: week {best}", int(ends[best])),
            stretch(model, f"a week with a holiday: week {worst}", int(ends[worst])),
        )
        title = "EncDec-AD on a year of power demand: nine weekdays without work"
        tell(picture, title, ("weeks", length), model, label, ends, found.threshold, stretches)
    return {"epochs": model.epochs, "loss": model.loss, **asdict(found)}


def event(name: str, picture: Path | None) -> dict[str, Any]:
    """The one event of a recording.

    Where one point tells the next, as in these long smooth windows, a decoder that is forced learns
    to copy its input and rebuilds nothing when left alone: it is trained on its own predictions.
    """
    case = events.CASES[name](KEOGH)
    model = learn(case.values, case.window, case.sn, case.vn1, case.settings, teacher_forcing=0.0)
    found = events.judge(model, case)
    if picture:
        held = events.holds(case.label, case.judged, case.window)
        means = model.scores(case.judged).mean(axis=1)
        quiet = int(case.judged[~held][np.argmin(means[~held])])
        loud = int(case.judged[held][np.argmax(means[held])])
        stretches = (
            stretch(model, "a normal window, well rebuilt", quiet),
            stretch(model, "a window with the event", loud),
        )
        title, unit = (
            ("EncDec-AD on an electrocardiogram: one ectopic beat", ("seconds", 250.0))
            if name == "qtdbsel102"
            else (f"EncDec-AD on a Space Shuttle valve, {name.upper()}", ("1000 rows", 1000 / 3))
        )
        at = found.threshold
        tell(picture, title, unit, model, case.label, case.judged, at, stretches)
    return {"epochs": model.epochs, "loss": model.loss, **asdict(found)}


def stretch(model: Model, title: str, end: int) -> Stretch:
    start = end + 1 - model.window
    return Stretch(title, start, model.series.values[start : end + 1], model.rebuilt(end))


def tell(
    picture: Path,
    title: str,
    unit: tuple[str, float],
    model: Model,
    label: Bools,
    ends: Ints,
    threshold: float,
    stretches: tuple[Stretch, ...],
) -> None:
    count = len(label)
    score = model.curve(ends)[:count]
    draw(
        Story(title, unit, model.series.values[:count], label, score, threshold, stretches), picture
    )


if __name__ == "__main__":
    main()
