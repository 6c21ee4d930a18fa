"""Every family on labelled recordings of real machines, beside the mean of squared z-scores.

`scripts/bench detection` fits each family on each machine's normal rows with the trainer's own
code, scores the other rows on ONNX Runtime and prints one table. The settings
are the product's defaults; nothing is chosen with labels in view. With `--json FILE` results are
kept there, and a run that was interrupted goes on where it stopped.
The data are read from ../shared/data and never copied.
"""

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from models import fitting
from models.bundle import calibration_of
from models.calibration import smoothed
from models.decision import Rule
from models.detector import Calibration, Detector, Score
from models.evaluation import Judged, evaluate, judged, score_track
from models.families import FAMILIES
from models.frame import SECOND
from models.manifest import DEFAULT
from models.options import with_options
from models.packing import export
from models.plan import Plan, Request, Settings, plan
from models.recording import Recording, read, tracks_of
from models.runtime import OnnxRuntime, Runtime
from models.split import TrainingError, scalings
from models.threshold import HeldOut, ThresholdSettings, threshold_of
from tests.benchmarks._shared import squared
from tests.benchmarks._table import Z2, Result, show
from tests.models.plant import quiet

MODELS = Path(fitting.__file__).parent
DATA = Path(__file__).parents[3] / "shared" / "data"


@dataclass(frozen=True, slots=True)
class Machine:
    """What is fitted once, and the recordings it is judged on.

    Args:
        group: the data set.
        name: of the machine, or of its recording.
        train: the recording with its normal rows.
        rows: how many rows of that are trained on; None = all.
        tests: the recordings to judge; of `train` itself, what comes after its rows.
    """

    group: str
    name: str
    train: Path
    rows: int | None
    tests: tuple[Path, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=FAMILIES)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--epochs", type=int, default=Settings().epochs)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--jobs", type=int, default=2, help="fits at the same time")
    parser.add_argument("--json", type=Path, help="keep results here, and go on from them")
    parser.add_argument("--only-new", action="store_true", help="keep results of older code too")
    arguments = parser.parse_args()

    kept: dict[str, Result] = {}
    if arguments.json and arguments.json.exists():
        kept = json.loads(arguments.json.read_text())
    wanted = dict(jobs(arguments.sets, [Z2, *arguments.families], arguments.epochs, arguments.set))
    code = {family: version(family) for family in (Z2, *FAMILIES)}
    due = {
        key: job
        for key, job in wanted.items()
        if key not in kept or (kept[key]["code"] != code[job[1]] and not arguments.only_new)
    }
    # The longest first, so that none is alone at the end.
    in_order = sorted(due, key=lambda key: -due[key][0].train.stat().st_size)
    with ProcessPoolExecutor(arguments.jobs, get_context("spawn")) as pool:
        running = {pool.submit(run, *due[key]): key for key in in_order}
        for count, done in enumerate(as_completed(running), 1):
            key = running[done]
            machine, family, _ = due[key]
            kept[key] = {**done.result(), "code": code[family]}
            if arguments.json:
                draft = arguments.json.with_suffix(".tmp")
                draft.write_text(json.dumps(kept, indent=1))
                draft.replace(arguments.json)
            spent = kept[key]["seconds"]
            print(
                f"{count} of {len(due)}: {machine.group} {machine.name} {family} {spent:.1f} s",
                file=sys.stderr,
            )
    for line in show([kept[key] for key in wanted], code):
        print(line)


def skab() -> Iterator[Machine]:
    for entry in json.loads((DATA / "skab" / "manifest.json").read_text())["files"]:
        if "anomaly_segments" in entry:
            path = DATA / "skab" / entry["file"]
            yield Machine("skab", stem(path), path, entry["train_rows"][1], (path,))


def tep() -> Iterator[Machine]:
    tests = sorted((DATA / "tep").glob("*.test.csv.gz"))
    yield Machine("tep", "plant", DATA / "tep" / "normal.train.csv.gz", None, tuple(tests))


def pairs(group: str, *names: str) -> Iterator[Machine]:
    """Machines with one file to train on and one to judge; all of the folder without names."""
    for train in sorted((DATA / group).glob("*.train.csv.gz")):
        if not names or stem(train) in names:
            test = train.with_name(f"{stem(train)}.test.csv.gz")
            yield Machine(group, stem(train), train, None, (test,))


SETS: dict[str, Callable[[], Iterator[Machine]]] = {
    "skab": skab,
    "tep": tep,
    "asd": lambda: pairs("asd", "omi-01", "omi-07"),
    "smap_msl": lambda: pairs("smap_msl"),
    "smd": lambda: pairs("smd"),
}


def stem(path: Path) -> str:
    return path.name.split(".")[0]


Job = tuple[Machine, str, Request]


def jobs(
    groups: list[str], families: list[str], epochs: int, options: list[str]
) -> Iterator[tuple[str, Job]]:
    """Every fit that is wanted, by the hash of all it depends on but the code."""
    for group in groups:
        for machine in SETS[group]():
            paths = (machine.train, *machine.tests)
            data = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
            for family in families:
                request = Request(training=Settings(epochs=epochs), workers=1)
                if family != Z2:
                    request = with_options(replace(request, model=family), options)
                key = json.dumps([group, machine.name, family, asdict(request), data])
                yield hashlib.sha256(key.encode()).hexdigest()[:16], (machine, family, request)


def version(family: str) -> str:
    """Hash of the code that a result comes from: the trainer without its other families."""
    owners = {name: sys.modules[made.__module__].__file__ for name, made in FAMILIES.items()}
    # An ensemble may have members of every family.
    others = [] if family == "ensemble" else [owners[name] for name in owners if name != family]
    files = [*MODELS.glob("*.py"), *MODELS.glob("families/*.py"), Path(__file__)]
    files = [file for file in files if str(file) not in others]
    together = hashlib.sha256()
    for file in sorted(files):
        together.update(file.read_bytes())
    return together.hexdigest()[:16]


def run(machine: Machine, family: str, request: Request) -> Result:
    """Fit one family on one machine and judge it there."""
    normal = read(machine.train, rows=(None, machine.rows))
    result: Result = {
        "group": machine.group,
        "machine": machine.name,
        "family": family,
        "period_s": 0.0,
        "seconds": 0.0,
        "figures": {},
        "error": None,
        "code": "",
    }
    began = time.process_time()
    try:
        the = plan([normal], request)
        make = z2 if family == Z2 else partial(fitted, request=request)
        detector = make(the, sensors=normal.sensors)
    except TrainingError as error:
        return {**result, "error": str(error)}
    result["seconds"] = time.process_time() - began
    result["period_s"] = detector.grid.period / SECOND
    for path in machine.tests:
        after = machine.rows or 0 if path == machine.train else 0
        frames = frames_to_judge(detector, read(path, sensors=normal.sensors), after)
        result["figures"][stem(path)] = evaluate([frames], detector.grid)
    return result


def fitted(the: Plan, request: Request, sensors: tuple[str, ...]) -> Detector:
    """The detector of a bundle, without what else `fit` does: no baseline and no audit."""
    done = fitting.trained(request, the, quiet)
    runtime = OnnxRuntime(export(done.final.network))
    runtime.settle(the.grid.window, len(sensors))
    calibration = calibration_of((), [done.calibrations[DEFAULT]])
    head = done.head
    return detector_of(
        request.model, sensors, the, head.score, head.tail, head.rule, calibration, runtime
    )


def z2(the: Plan, sensors: tuple[str, ...]) -> Detector:
    """A detector without a model: the mean over the sensors of a frame's squared z-scores.

    Its alarms come from the same rule, its threshold from the rows it is scaled with.
    """
    center, spread = scalings(the.frames, the.ends, the.grid.window)
    one, none = np.ones(1), np.zeros(1)
    calibration = Calibration((), center, spread, np.ones_like(center), one, none, none)
    rule = Rule()
    made = detector_of(Z2, sensors, the, "mean-square", 1, rule, calibration, squared)
    raw = made.scale(the.frames.values[the.ends]).astype(np.float64)
    series = smoothed(np.square(raw).mean(axis=1), the.ends, rule)
    threshold = threshold_of(
        HeldOut(
            series,
            rule,
            the.grid.period / SECOND,
            the.grid.window,
            Request().false_alarms_per_day,
            len(sensors),
            "mean-square",
            ThresholdSettings(),
            [],
        )
    )
    return replace(made, calibration=replace(calibration, threshold=one * threshold.value))


def detector_of(
    name: str,
    sensors: tuple[str, ...],
    the: Plan,
    score: Score,
    tail: int,
    rule: Rule,
    calibration: Calibration,
    runtime: Runtime,
) -> Detector:
    none = (None,) * len(sensors)
    return Detector(
        name, "0" * 64, 0.0, sensors, none, the.grid, rule, score, tail, calibration, runtime
    )


def frames_to_judge(detector: Detector, recording: Recording, after: int) -> Judged:
    """The frames of a recording from row `after` on, ranked by their scores before smoothing."""
    (track,) = tracks_of([recording], detector.grid)
    scores = score_track(detector, track)
    frames = replace(judged(scores), score=scores.raw)
    first = int(np.argmax(track.row >= after))
    assert frames.label is not None
    return Judged(
        frames.label[first:], frames.alarm[first:], frames.score[first:], frames.tick[first:]
    )


if __name__ == "__main__":
    main()
