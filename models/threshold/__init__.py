"""Thresholds from the scores of normal data the network did not fit: one rule per file."""

from typing import Final

from models.adaptation import Adaptive, Start, begin
from models.split import TrainingError
from models.threshold.chi_square import chi_square
from models.threshold.f_beta import f_beta
from models.threshold.false_alarms import at_most, count, false_alarms_per_day, poisson_bound
from models.threshold.pot import pot
from models.threshold.quantile import quantile
from models.threshold.rule import (
    DAY,
    HeldOut,
    Proposal,
    Threshold,
    ThresholdRule,
    ThresholdSettings,
)
from models.threshold.sigma import mean_sigma, paper_ecg
from models.words import count as alarms

__all__ = [
    "ADAPTIVE_READS",
    "DAY",
    "THRESHOLDS",
    "HeldOut",
    "Proposal",
    "Threshold",
    "ThresholdRule",
    "ThresholdSettings",
    "poisson_bound",
    "start_of",
    "threshold_of",
]

THRESHOLDS: Final[dict[str, ThresholdRule]] = {
    "false_alarms_per_day": ThresholdRule(false_alarms_per_day),
    "quantile": ThresholdRule(quantile, reads=frozenset({"quantile"})),
    "pot": ThresholdRule(pot, reads=frozenset({"level"})),
    "chi-square": ThresholdRule(
        chi_square, reads=frozenset({"quantile"}), score="mahalanobis-signed"
    ),
    "mean-sigma": ThresholdRule(mean_sigma, reads=frozenset({"sigmas"})),
    "f-beta": ThresholdRule(f_beta, reads=frozenset({"f_beta"}), labels=True),
    "paper-ecg": ThresholdRule(paper_ecg),
}
# What a live threshold reads of the settings.
ADAPTIVE_READS: Final[dict[Adaptive, frozenset[str]]] = {
    "none": frozenset(),
    "spot": frozenset({"level", "adaptive_cap"}),
    "dspot": frozenset({"level", "adaptive_cap", "adaptive_depth"}),
}


def threshold_of(held_out: HeldOut) -> Threshold:
    """The threshold of the chosen rule, with the alarms it raises on the held-out normal data.

    Whatever the rule promises, more of them than chance makes of what was asked for speak against
    it.

    Raises:
        TrainingError: if the rule needs what is not there.
    """
    name = held_out.settings.threshold
    found = THRESHOLDS[name].propose(held_out)
    events = count(held_out.opening, found.value, held_out.window)
    doubt = held_out.too_short if found.counted else ""
    if events and at_most(events - 1, held_out.allowed) > 0.95:
        doubt = (
            f"{alarms(events, 'alarm')} in {held_out.days:.3g} days of held-out normal data "
            f"{'is' if events == 1 else 'are'} more than the {held_out.requested:g} per day that "
            "were asked for"
        )
    return Threshold(
        value=found.value,
        rule=name,
        requested=held_out.requested,
        supported=found.supported and not doubt,
        expected=events / held_out.days,
        bound=poisson_bound(events) / held_out.days,
        days=held_out.days,
        scores=sum(map(len, held_out.series)),
        promise=found.promise,
        parameters=found.parameters,
        caution="; ".join(filter(None, (found.caution, doubt))),
        fallback=found.fallback,
    )


def start_of(held_out: HeldOut, value: float) -> Start | None:
    """Where the live threshold starts, if there is to be one, where the trained one is a value.

    Raises:
        TrainingError: if there are too few excursions to start from.
    """
    asked, rule = held_out.settings, held_out.rule
    if asked.adaptive == "none":
        return None
    try:
        return begin(
            [scores / value for scores in held_out.series],
            rule.need,
            rule.of,
            asked.level,
            held_out.requested * held_out.period_s / DAY,
            held_out.window,
            asked.depth(held_out.window),
        )
    except ValueError as error:
        raise TrainingError(f"adaptive={asked.adaptive}: {error}") from None
