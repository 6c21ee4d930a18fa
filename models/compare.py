"""Several families on the same windows of the same data, beside the window PCA."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from models import bundle
from models.detector import Detector
from models.fitting import baseline_of, fit
from models.golden import proof
from models.judgement import Average, Summary, judge
from models.manifest import DEFAULT, AuditSpec, ThresholdSpec
from models.packing import Fit
from models.plan import Plan, Request
from models.recording import Recording
from models.runtime import MICRO_BATCH, OnnxRuntime
from models.training import Progress

BASELINE = "pca"
# What decides where there are labels, and what is shown beside it.
DECIDES = "vus_pr"
FIGURES = (DECIDES, "auc_pr", "event_f1", "detection_delay_s", "false_alarms_per_day")
MARGIN = 0.1  # a step is found to within 7 %, and less is worth no network
TIMED = 5  # batches, of which the fastest counts


@dataclass(frozen=True, slots=True)
class Entry:
    """What a family is worth.

    Args:
        done: the fit.
        seconds: it took to train, calibrate and audit.
        microseconds: ONNX Runtime takes to score a window, in batches of MICRO_BATCH.
        judged: on recordings with labels; None without.
        gain: the same minus the baseline's figures, paired by file.
    """

    done: Fit
    seconds: float
    microseconds: float
    judged: Summary | None = None
    gain: Average | None = None

    @property
    def bytes(self) -> int:
        """Size of the bundle's files, without the manifest."""
        return sum(len(data) for data in self.done.files.values())

    @property
    def loss(self) -> float:
        """Mean squared residual of windows the network did not fit."""
        return self.done.manifest.training.validation_loss

    @property
    def interval(self) -> tuple[float, float] | None:
        """Where its gain by labels lies; None where too few files say so."""
        return self.gain.interval[DECIDES] if self.gain else None

    @property
    def threshold(self) -> ThresholdSpec:
        """Of all assets together."""
        return self.done.manifest.calibrations[DEFAULT].threshold

    @property
    def audit(self) -> AuditSpec | None:
        """The audit, if there was one."""
        return self.done.manifest.audit

    @property
    def is_refused(self) -> bool:
        """Whether the audit found an identity map."""
        return self.audit is not None and self.audit.refused is not None

    @property
    def steps(self) -> list[float]:
        """The smallest step found in each sensor, in spreads; infinite where none is."""
        sizes = [one.in_spreads for one in self.audit.sensors] if self.audit else []
        return [np.inf if size is None else size for size in sizes]

    def figure(self, key: str) -> float | None:
        """A figure of the judgement."""
        return self.judged.headline(key) if self.judged else None

    def as_json(self) -> dict[str, Any]:
        """What `compare --json` prints of it."""
        audit = self.audit
        return {
            "validation_loss": self.loss,
            "judged": {key: self.figure(key) for key in FIGURES} if self.judged else None,
            "expected_per_day": self.threshold.expected_per_day,
            "bound_per_day": self.threshold.bound_per_day,
            "refused": audit.refused if audit else None,
            "smallest_step": audit and {one.sensor: one.smallest_step for one in audit.sensors},
            "train_s": self.seconds,
            "score_us": self.microseconds,
            "bytes": self.bytes,
        }


def compare(
    recordings: Sequence[Recording],
    requests: Sequence[Request],
    the: Plan,
    labelled: Sequence[Recording],
    now: int,
    clock: Callable[[], float],
    progress: Progress,
) -> dict[str, Entry]:
    """Fit each request on the same plan, and judge all on the same recordings.

    Args:
        recordings: of normal operation, all with the same sensors.
        requests: of different families, the plain baseline first, otherwise alike.
        the: the plan made of them.
        labelled: recordings to judge on; may be none.
        now: time of creation, nanoseconds.
        clock: seconds, for what is timed.
        progress: called with stages named after the families.
    """
    start = clock()
    pca = baseline_of(requests[0], the, _of(BASELINE, progress))
    found: dict[str, Entry] = {}
    baseline: Detector | None = None
    for request in requests:
        own = _of(request.model, progress)
        done = fit(recordings, request, the, request.model, now, own, pca=pca)
        seconds = clock() - start
        detector = detector_of(done)
        baseline = baseline or detector
        timed = microseconds(detector, proof(done.files[bundle.GOLDEN])[0], clock)
        entry = Entry(done, seconds, timed)
        if labelled:
            seen = [(one.sha256, one.selection) for one in done.manifest.data]
            judged = judge(detector, baseline, labelled, seen, partial(own, "scoring"))
            entry = replace(entry, judged=judged.own, gain=judged.gain)
        found[request.model] = entry
        start = clock()
    return found


def detector_of(done: Fit) -> Detector:
    """The detector of a fit, on ONNX Runtime."""
    manifest = done.manifest
    runtime = OnnxRuntime(done.files[bundle.NETWORK])
    runtime.settle(manifest.window, len(manifest.sensors))
    return bundle.detector_of(manifest, runtime)


def microseconds(detector: Detector, windows: np.ndarray, clock: Callable[[], float]) -> float:
    """What it takes to score one of many windows (n, L, m)."""
    batch = np.resize(detector.scale(windows), (MICRO_BATCH, *windows.shape[1:]))
    taken: list[float] = []
    for _ in range(TIMED):
        start = clock()
        detector.score_windows(batch)
        taken.append(clock() - start)
    return min(taken) / MICRO_BATCH * 1e6


@dataclass(frozen=True, slots=True)
class Criterion:
    """What decides between families.

    Args:
        figure: its name.
        of: the figure of a family.
        better: what a family with a better one does.
        sign: 1 where more is better, -1 where less is.
        interval: where a family's gain lies, if the figure has one; None where too few files say.
    """

    figure: str
    of: Callable[[Entry], float]
    better: str
    sign: int = -1
    interval: Callable[[Entry], tuple[float, float] | None] | None = None

    def interval_of(self, one: Entry) -> tuple[float, float] | None:
        """Where the gain of a family lies, where that is known."""
        return self.interval(one) if self.interval else None

    def beats(self, one: Entry, baseline: Entry) -> bool:
        """Whether a network is better: at all where its gain has an interval, else clearly."""
        margin = 0.0 if self.interval_of(one) else MARGIN
        return self.sign * self.of(one) > self.sign * self.of(baseline) * (1 + self.sign * margin)


def criterion_of(entries: Iterable[Entry]) -> Criterion:
    """Labels where there are some, else the smallest steps, else the error on unseen windows."""
    if all(one.figure(DECIDES) is not None for one in entries):
        return Criterion(
            DECIDES,
            lambda one: one.figure(DECIDES) or 0.0,
            "finds the labelled events better",
            sign=1,
            interval=lambda one: one.interval,
        )
    if all(one.steps for one in entries):
        return Criterion(
            "spreads in the median sensor",
            lambda one: quantile(one.steps, 0.5),
            "finds smaller steps",
        )
    return Criterion(
        "loss",
        lambda one: one.loss,
        "rebuilds unseen normal windows better",
    )


def best_of(entries: dict[str, Entry]) -> tuple[str | None, str]:
    """The family to take, if any, and why in words.

    A network is taken only where it beats the baseline, and none that the audit refuses.
    """
    able = {name: one for name, one in entries.items() if not one.is_refused}
    if not able:
        return None, "the audit refuses every one of them: take none"
    by = criterion_of(entries.values())
    figure = {name: by.sign * by.of(one) for name, one in able.items()}
    if BASELINE not in able:
        return (best := max(figure, key=figure.__getitem__)), (
            f"the audit refuses pca; of the others take {best}"
        )
    baseline = by.of(able[BASELINE])
    ahead = [name for name, one in able.items() if by.beats(one, able[BASELINE])]
    if not ahead:
        return BASELINE, f"no network {by.better} than pca ({baseline:.3g} {by.figure}): take pca"
    intervals = {name: by.interval_of(able[name]) for name in ahead}
    proven = [name for name, found in intervals.items() if not found or found[0] > 0]
    best = max(proven or ahead, key=figure.__getitem__)
    interval = intervals[best]
    doubt = "; too few recordings to prove it" if by.interval and not interval else ""
    own = by.of(able[best])
    why = f"{best} {by.better} than pca ({own:.3g} against {baseline:.3g} {by.figure}{doubt})"
    if not proven and interval:
        return BASELINE, (
            f"{why}, but over these files the difference lies in [{interval[0]:.3g}, "
            f"{interval[1]:.3g}]: no proof, so take pca"
        )
    return best, f"{why}: take {best}"


def quantile(steps: Sequence[float], share: float) -> float:
    """Of some steps that may be infinite: one of them."""
    return float(np.quantile(steps, share, method="higher"))


def _of(model: str, progress: Progress) -> Progress:
    return lambda stage, done, most: progress(f"{model}: {stage}", done, most)
