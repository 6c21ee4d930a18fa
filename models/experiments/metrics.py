"""What `metrics.json` of an experiment holds."""

import math
from importlib.metadata import version
from typing import Final

from pydantic import BaseModel, ConfigDict

from models.checkpoint import fingerprint
from models.experiments.data import Data
from models.experiments.experiment import Outcome, Reached, Task
from models.experiments.sources import sources

VERSIONS: Final = ("sensor-monitor", "numpy", "scikit-learn", "torch")


class Measured(BaseModel):
    """A figure, and what it is measured by; None where there is no such number or limit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    value: int | float | None
    reference: int | float | None = None
    least: float | None = None
    most: float | None = None
    met: bool | None = None
    source: str = ""


class Metrics(BaseModel):
    """What `metrics.json` holds.

    Args:
        images: to learn from, to watch and to test on.
        fingerprint: of all that leads to the figures.
        seconds: to the last picture; of a run that was killed, those up to its last epoch as well.
        figures: the most telling first.
        pictures: names of files, in the page's order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    experiment: str
    data: str
    images: dict[str, int]
    quick: bool
    seed: int
    device: str
    fingerprint: str
    versions: dict[str, str]
    seconds: float
    figures: dict[str, Measured]
    pictures: list[str]


def fingerprint_of(name: str, data: Data, *, quick: bool, seed: int, device: str) -> str:
    """A hash of an experiment, its settings, its images, its code and what else computes."""
    parts = (data.train, data.validation, data.test)
    return fingerprint(
        (name, quick, seed, device, sources(), version("scikit-learn")),
        [array for one in parts for array in (one.pixels, one.labels)],
    )


def metrics_of(task: Task, outcome: Outcome, seconds: float) -> Metrics:
    """The figures of an experiment as they are stored."""
    data = task.data
    parts = {"train": data.train, "validation": data.validation, "test": data.test}
    images = outcome.images or {name: len(one) for name, one in parts.items()}
    return Metrics(
        experiment=task.name,
        data=data.name,
        images=dict(images),
        quick=task.quick,
        seed=task.seed,
        device=task.device,
        fingerprint=fingerprint_of(
            task.name, data, quick=task.quick, seed=task.seed, device=task.device
        ),
        versions={name: version(name) for name in VERSIONS},
        seconds=round(seconds, 1),
        figures={one.key: _measured(one) for one in outcome.reached},
        pictures=[f"{one.key}.png" for one in outcome.pictures],
    )


def _measured(one: Reached) -> Measured:
    wanted = one.wanted
    if wanted is None:
        return Measured(name=one.name, value=_finite(one.value))
    return Measured(
        name=one.name,
        value=_finite(one.value),
        reference=wanted.reference,
        least=_finite(wanted.least),
        most=_finite(wanted.most),
        met=one.met,
        source=wanted.source,
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
