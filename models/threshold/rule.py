"""What a threshold rule is given, and what it gives."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from models.adaptation import Adaptive
from models.decision import Rule
from models.detector import Score
from models.frame import Floats
from models.tail import opening

DAY = 86_400.0
# Where a network rebuilds normal data exactly, rounding would rule a lower threshold.
LEAST = 1e-4


@dataclass(frozen=True, slots=True)
class ThresholdSettings:
    """Which threshold, and what its rule reads.

    Args:
        threshold: name of a rule in `THRESHOLDS`.
        quantile: share of normal scores that are not over the threshold; None = what the false
            alarms asked for lead to.
        level: share of normal scores that are not over the level where a tail begins.
        sigmas: k of mean + k sigma.
        f_beta: weight of recall beside precision.
        adaptive: whether the live threshold follows its asset, and how.
        adaptive_cap: it stays between the trained one over and times this.
        adaptive_depth: windows in DSPOT's moving mean.
    """

    threshold: str = "false_alarms_per_day"
    quantile: float | None = None
    level: float = 0.98
    sigmas: float = 3.0
    f_beta: float = 0.1
    adaptive: Adaptive = "none"
    adaptive_cap: float = 2.0
    adaptive_depth: int = 10

    def depth(self, window: int) -> int:
        """Scores in the moving mean; 0 = none."""
        return self.adaptive_depth * window if self.adaptive == "dspot" else 0


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Scores of data the network did not fit, smoothed but without a threshold.

    Args:
        series: of normal data, one array per unbroken stretch, none of them empty.
        rule: the decision that the threshold is for.
        period_s: seconds between scores.
        window: frames of a window; alarms less than that apart are one event.
        requested: false alarms per day per asset.
        sensors: how many the score is of.
        score: what they are scores of.
        anomalous: of windows labelled anomalous, in the same form.
    """

    series: list[Floats]
    rule: Rule
    period_s: float
    window: int
    requested: float
    sensors: int
    score: Score = "mean-square"
    settings: ThresholdSettings = field(default_factory=ThresholdSettings)
    anomalous: list[Floats] = field(default_factory=list[Floats])

    @property
    def scores(self) -> Floats:
        """All normal scores."""
        return np.concatenate(self.series)

    @property
    def days(self) -> float:
        """How long they are."""
        return sum(map(len, self.series)) * self.period_s / DAY

    @property
    def allowed(self) -> float:
        """Events in them that the request allows."""
        return self.requested * self.days

    @property
    def too_short(self) -> str:
        """That the request cannot be seen to be kept in so few days; empty where it can."""
        if self.allowed >= 3:
            return ""
        return (
            f"{self.days:.3g} days of held-out normal data cannot support {self.requested:g} false "
            f"alarms per day (wanted {3 / self.requested:.3g} days)"
        )

    @property
    def highest(self) -> float:
        """The highest normal score: over it there is not even a breach."""
        return max(LEAST, *(float(scores.max()) for scores in self.series))

    @property
    def opening(self) -> list[Floats]:
        """Per frame the highest threshold at which an alarm would be open there."""
        return [opening(scores, self.rule.need, self.rule.of) for scores in self.series]

    @property
    def share_over(self) -> float:
        """The share of scores that may lie over the threshold by the rules of single scores."""
        quantile = self.settings.quantile
        wanted = self.requested * self.period_s / DAY if quantile is None else 1 - quantile
        return min(1.0, wanted)

    def fallback(self, why: str) -> "Proposal":
        """The best threshold the data support where a rule cannot be followed: their highest."""
        return Proposal(
            self.highest,
            "no held-out score over it",
            supported=False,
            caution=f"{why}; the threshold is their highest score",
            fallback=True,
        )


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a rule finds.

    Args:
        value: the unscaled score that becomes 1.0.
        promise: what the rule promises of it, in words.
        parameters: the numbers it was computed from.
        supported: whether the data are enough for that promise and the request.
        caution: what speaks against relying on it, in words; empty where nothing does.
        fallback: whether it is the highest score because the rule could not be followed.
        counted: whether nothing but a count on held-out data tells its false alarms per day.
    """

    value: float
    promise: str
    parameters: Mapping[str, float] = field(default_factory=dict[str, float])
    supported: bool = True
    caution: str = ""
    fallback: bool = False
    counted: bool = False


@dataclass(frozen=True, slots=True)
class ThresholdRule:
    """A way from held-out scores to a threshold, and what it needs.

    Args:
        reads: its own names in `ThresholdSettings`.
        score: the only score it is right for; None = any.
        labels: whether it needs windows labelled anomalous.
    """

    propose: Callable[[HeldOut], Proposal]
    reads: frozenset[str] = frozenset()
    score: Score | None = None
    labels: bool = False


@dataclass(frozen=True, slots=True)
class Threshold:
    """A threshold, what it promises and from how much data.

    Args:
        value: the unscaled score that becomes 1.0.
        rule: name of the rule that found it.
        requested: false alarms per day per asset that were asked for.
        supported: whether the normal data are enough to rely on it.
        expected: false alarms per day counted on the held-out normal data at this value.
        bound: their 95 % upper bound; 3 / days when none was seen.
        days: length of the scored held-out normal data.
        scores: how many those are.
        promise, parameters, caution, fallback: as in `Proposal`.
    """

    value: float
    rule: str
    requested: float
    supported: bool
    expected: float
    bound: float
    days: float
    scores: int
    promise: str
    parameters: Mapping[str, float]
    caution: str
    fallback: bool
