"""Several families on the same windows of the same data, beside the window PCA."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models import bundle
from models.detector import Detector
from models.fitting import baseline_of, fit
from models.golden import proof
from models.judgement import Judgement, judge
from models.manifest import DEFAULT
from models.packing import Fit
from models.plan import Plan, Request
from models.recording import Recording
from models.runtime import MICRO_BATCH, OnnxRuntime
from models.training import Progress

BASELINE = "pca"
# What decides where there are labels, and what is shown beside it.
DECIDES = "vus_pr"
FIGURES = (DECIDES, "auc_pr", "event_f1", "detection_delay_s", "false_alarms_per_day")
TIMED = 5  # batches, of which the fastest counts


@dataclass(frozen=True, slots=True)
class Entry:
    """What a family is worth.

    Args:
        done: the fit.
        seconds: it took to train, calibrate and audit.
        microseconds: ONNX Runtime takes to score a window, in batches of MICRO_BATCH.
        judged: on labelled recordings, with the gain over the baseline; None without labels.
    """

    done: Fit
    seconds: float
    microseconds: float
    judged: Judgement | None

    @property
    def bytes(self) -> int:
        """Size of the bundle's files, without the manifest."""
        return sum(len(data) for data in self.done.files.values())

    @property
    def loss(self) -> float:
        """Mean error on windows the network did not fit."""
        return self.done.manifest.training.validation_loss

    @property
    def steps(self) -> list[float]:
        """The smallest step found in each sensor, in spreads; infinite where none is."""
        audit = self.done.manifest.audit
        sizes = [one.in_spreads for one in audit.sensors] if audit else []
        return [np.inf if size is None else size for size in sizes]

    @property
    def is_refused(self) -> bool:
        """Whether the audit found an identity map."""
        audit = self.done.manifest.audit
        return audit is not None and audit.refused is not None

    def figure(self, key: str) -> float | None:
        """A figure of the judgement."""
        return self.judged.own.headline(key) if self.judged else None

    def as_json(self) -> dict[str, Any]:
        """What `compare --json` prints of it."""
        threshold = self.done.manifest.calibrations[DEFAULT].threshold
        audit = self.done.manifest.audit
        return {
            "validation_loss": self.loss,
            "judged": {key: self.figure(key) for key in FIGURES} if self.judged else None,
            "expected_per_day": threshold.expected_per_day,
            "bound_per_day": threshold.bound_per_day,
            "refused": audit.refused if audit else None,
            "smallest_step": {one.sensor: one.smallest_step for one in audit.sensors}
            if audit
            else None,
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
        judged = None
        if labelled:
            seen = [(one.sha256, one.selection) for one in done.manifest.data]
            judged = judge(detector, baseline, labelled, seen, _stage(own, "scoring"))
        timed = microseconds(detector, proof(done.files[bundle.GOLDEN])[0], clock)
        found[request.model] = Entry(done, seconds, timed, judged)
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


def best_of(entries: dict[str, Entry]) -> tuple[str, str]:
    """The family to take, and why in words.

    A network is taken only where it beats the baseline: by labels where there are some, else by
    how well it rebuilds normal windows it has not seen; and not if the audit refuses it.
    """
    pca = entries[BASELINE]
    fit_ones = {n: one for n, one in entries.items() if not one.is_refused or n == BASELINE}
    refused = [name for name in entries if name not in fit_ones]
    left_out = f" ({', '.join(refused)}: refused by the audit)" if refused else ""
    against = pca.figure(DECIDES)
    if against is not None:
        best = max(fit_ones, key=lambda name: fit_ones[name].figure(DECIDES) or 0.0)
        value = fit_ones[best].figure(DECIDES)
        if value is None or value <= against:
            return BASELINE, f"no network finds more than pca: take it{left_out}"
        why = f"{best} finds more than pca: {DECIDES} {value:.3f} against {against:.3f}{left_out}"
        judged = fit_ones[best].judged
        interval = judged.gain.interval[DECIDES] if judged and judged.gain else None
        if interval and interval[0] <= 0:
            return BASELINE, (
                f"{why}; over the files the difference lies within [{interval[0]:.3f}, "
                f"{interval[1]:.3f}], which is no proof: take pca"
            )
        return best, f"{why}: take it"
    best = min(fit_ones, key=lambda name: fit_ones[name].loss)
    if fit_ones[best].loss >= pca.loss:
        return BASELINE, (
            f"no network rebuilds unseen normal windows better than pca: take it{left_out}"
        )
    return best, (
        f"{best} rebuilds unseen normal windows best: loss {fit_ones[best].loss:.4g} against pca's "
        f"{pca.loss:.4g}{left_out}; whether it finds more, recordings with labels can tell (--test)"
    )


def _of(model: str, progress: Progress) -> Progress:
    return lambda stage, done, most: progress(f"{model}: {stage}", done, most)


def _stage(progress: Progress, name: str) -> Callable[[int, int], None]:
    return lambda done, most: progress(name, done, most)
