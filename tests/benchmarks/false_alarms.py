"""False alarms asked for, and those raised: on simulated noise, and on unseen normal recordings.

`scripts/bench false_alarms` fits each threshold rule on the first part of a recording of normal
operation and counts alerts on the rest, with live thresholds as well. The data are read from
../shared/data and never copied.
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from models import bundle
from models.detector import Detector
from models.evaluation import TrackScores, evaluate, judged, score_recordings
from models.fitting import fit
from models.manifest import DEFAULT
from models.options import with_options
from models.plan import Request, Settings, plan
from models.recording import Recording, read
from models.runtime import OnnxRuntime
from models.split import TrainingError
from tests.models.plant import START, quiet
from tests.models.scores import TAILS, realised

DATA = Path(__file__).parents[3] / "shared" / "data"
SIMULATED = [
    *(("false_alarms_per_day", 5.0), ("pot", 5.0), ("pot", 1.0)),
    *(("quantile", 5.0), ("mean-sigma", 5.0), ("paper-ecg", 5.0)),
]
RULES = {
    "false_alarms_per_day": [],
    "quantile": ["threshold=quantile"],
    "quantile .99": ["threshold=quantile", "quantile=0.99"],
    "pot": ["threshold=pot", "level=0.8"],
    "chi-square": ["threshold=chi-square", "score=mahalanobis-signed"],
    "mean-sigma": ["threshold=mean-sigma"],
    "paper-ecg": ["threshold=paper-ecg"],
    "spot": ["threshold=pot", "level=0.8", "adaptive=spot"],
    "dspot": ["threshold=pot", "level=0.8", "adaptive=dspot"],
}


@dataclass(frozen=True, slots=True)
class Data:
    """Recordings of normal operation, to fit on and to count on.

    Args:
        window: short, for these recordings are, and a tail needs excursions a window apart.
        requested: false alarms per day.
    """

    name: str
    normal: Recording
    unseen: Recording
    window: int
    requested: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="pca,lstm")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rules", default=",".join(RULES))
    arguments = parser.parse_args()
    simulate()
    print(
        "\ndata               model  rule                  asked/day  counted  at most    raised  "
        "in alert  threshold moved"
    )
    for data in recordings():
        for model in arguments.models.split(","):
            # What was trained for one rule serves for the next.
            with tempfile.TemporaryDirectory() as trained:
                for rule in arguments.rules.split(","):
                    print(line(data, model, rule, arguments.epochs, Path(trained)), flush=True)


def simulate() -> None:
    """Alarms on ten unseen days of noise at 1 Hz, by thresholds from two."""
    print("simulated noise        " + "".join(f"{rule} {n:g}".rjust(24) for rule, n in SIMULATED))
    for tail in TAILS:
        ratios = realised(tail, SIMULATED, days=2, unseen=10).values()
        print(f"raised/asked {tail:11}" + "".join(f"{ratio:24.2f}" for ratio in ratios), flush=True)


def recordings() -> Iterator[Data]:
    tep, skab = DATA / "tep", DATA / "skab" / "anomaly_free.csv.gz"
    normal, unseen = (read(tep / f"normal.{part}.csv.gz") for part in ("train", "test"))
    yield Data("tep normal", normal, unseen, 8, 1.0)
    # So many a day are one an hour, of two hours and a half.
    first, rest = read(skab, rows=(0, 4900)), read(skab, rows=(4900, None))
    yield Data("skab anomaly_free", first, rest, 16, 24.0)


def line(data: Data, model: str, rule: str, epochs: int, trained: Path) -> str:
    asked = Request(
        model=model,
        window=data.window,
        false_alarms_per_day=data.requested,
        training=Settings(epochs=epochs),
    )
    asked = with_options(asked, RULES[rule])
    start = f"{data.name:18} {model:6} {rule:21} {data.requested:9g} "
    try:
        the = plan([data.normal], asked)
        done = fit([data.normal], asked, the, "bench", START, quiet, trained)
    except TrainingError as error:
        return f"{start} – {error}"
    judge = bundle.detector_of(done.manifest, OnnxRuntime(done.files[bundle.NETWORK]))
    (scores,) = score_recordings(judge, [data.unseen])
    figures = evaluate([judged(scores, labelled=False)], judge.grid)
    threshold = done.manifest.calibrations[DEFAULT].threshold
    return (
        start + f"{threshold.expected_per_day:8.1f} {threshold.bound_per_day:8.1f} "
        f"{figures['alerts_per_day']:9.1f} {figures['time_in_alert_ratio']:9.1%}  "
        + (moved(judge, data.unseen, scores) if judge.adaptation else "")
        + ("" if threshold.supported else "  (not supported)")
    )


def moved(judge: Detector, unseen: Recording, scores: TrackScores) -> str:
    """How far the live threshold went from the trained one, down and up."""
    (fixed,) = score_recordings(replace(judge, adaptation=None), [unseen])
    known = scores.verdicts.score > 0
    factor = fixed.verdicts.score[known] / scores.verdicts.score[known]
    return f"{factor.min():.2f} to {factor.max():.2f}"


if __name__ == "__main__":
    main()
