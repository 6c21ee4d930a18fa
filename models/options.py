"""`--set KEY=VALUE`: one setting of training, of the score or of the family."""

import inspect
import json
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any, cast, get_args

import torch

from models.adaptation import Adaptive
from models.detector import Score
from models.families import FAMILIES
from models.families.dense import Activation
from models.manifest import DEEPEST
from models.plan import Request, Settings
from models.threshold import ADAPTIVE_READS, THRESHOLDS, ThresholdSettings

Range = tuple[str, Callable[[float], bool]]

# What a number must be, where that is not "over 0".
RANGES: dict[str, Range] = {
    "alpha": ("from 0 to 1", lambda number: 0 <= number <= 1),
    "cap": ("1 or more", lambda number: number >= 1),
    "max_hold": ("0 or more", lambda number: number >= 0),
    "max_held": ("from 0 to 1", lambda number: 0 <= number <= 1),
    "denoise": ("0 or more", lambda number: number >= 0),
    "layerwise": ("0 or more", lambda number: number >= 0),
    "mask": ("0 or more and under 1", lambda number: 0 <= number < 1),
    "masked": ("0 or more and under 1", lambda number: 0 <= number < 1),
    "teacher_forcing": ("from 0 to 1", lambda number: 0 <= number <= 1),
    "variance": ("over 0 and at most 1", lambda number: 0 < number <= 1),
    "quantile": ("over 0 and below 1", lambda number: 0 < number < 1),
    "level": ("over 0 and below 1", lambda number: 0 < number < 1),
    "adaptive_cap": ("over 1", lambda number: number > 1),
    "adaptive_depth": (f"from 1 to {DEEPEST}", lambda number: 0 < number <= DEEPEST),
}
OVER_0: Range = ("over 0", lambda number: number > 0)
LARGEST = 1e9
# What a word must be.
WORDS = {
    "score": get_args(Score),
    "activation": get_args(Activation),
    "threshold": tuple(THRESHOLDS),
    "adaptive": get_args(Adaptive),
}
KINDS: dict[type, str] = {int: "a whole number", float: "a number", bool: "true or false"}
LISTS: dict[type, str] = {
    int: "a list of whole numbers such as [128,32]",
    str: 'a list of words such as ["pca","lstm"]',
}


def with_options(request: Request, pairs: Sequence[str], beside: Sequence[str] = ()) -> Request:
    """The request with some `KEY=VALUE` applied.

    Args:
        request: what they change.
        pairs: the settings.
        beside: families that are given the same; settings of theirs alone are left to them.

    Raises:
        ValueError: for an unknown key, a value of the wrong kind or out of range, or one that the
            threshold does not go with.
    """
    family = parameters_of(request.model)
    training = {entry.name for entry in fields(Settings)} - {"seed"}
    thresholds = {entry.name for entry in fields(ThresholdSettings)}
    scoring = {"score", "tail", "max_hold", "max_held"}
    known = training | thresholds | scoring | set(family)
    theirs = {key for model in beside for key in parameters_of(model)} - known
    used: set[str] = set()
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if key in theirs:
            continue
        if not equals or key not in known:
            raise ValueError(
                f"--set {pair}: no such key for {request.model}; known: {', '.join(sorted(known))}"
            )
        try:
            if key in training:
                change = {key: _value(key, text, getattr(request.training, key))}
                request = replace(request, training=replace(request.training, **change))
            elif key in family:
                change = {key: _value(key, text, family[key])}
                request = replace(request, parameters={**request.parameters, **change})
                # Without memory for its weights: only to hear whether it takes the value.
                with torch.device("meta"):
                    FAMILIES[request.model](8, 1, **request.parameters)
            elif key in thresholds:
                change = {key: _value(key, text, getattr(request.thresholds, key))}
                request = replace(request, thresholds=replace(request.thresholds, **change))
                used.add(key)
            else:
                request = replace(request, **{key: _value(key, text, getattr(request, key))})
        except ValueError as error:
            raise ValueError(f"--set {pair}: wanted {error} for {key}") from None
    _check_threshold(request, used - {"threshold", "adaptive"})
    return request


def parameters_of(model: str) -> dict[str, object]:
    """The family's own settings with their defaults."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(FAMILIES[model]).parameters.items()
        if name not in ("window", "sensors")
    }


def _check_threshold(request: Request, used: set[str]) -> None:
    """Refuse settings that the chosen threshold does not read, and a score it is not right for."""
    asked = request.thresholds
    rule = THRESHOLDS[asked.threshold]
    if unread := used - rule.reads - ADAPTIVE_READS[asked.adaptive]:
        name = min(unread)
        readers = [
            *(f"threshold={key}" for key, other in THRESHOLDS.items() if name in other.reads),
            *(f"adaptive={key}" for key, reads in ADAPTIVE_READS.items() if name in reads),
        ]
        raise ValueError(f"--set {name}: is for {' or '.join(readers)}")
    if rule.score not in (None, request.score):
        raise ValueError(
            f"--set threshold={asked.threshold}: needs score={rule.score}; found {request.score}"
        )


def _value(key: str, text: str, default: object) -> Any:
    """A value of the default's kind; the message of its ValueError says what was wanted."""
    if isinstance(default, str):
        if text not in WORDS[key]:
            raise ValueError(f"one of {', '.join(WORDS[key])}")
        return text
    wants_list = isinstance(default, tuple)
    kind = type(cast(tuple[object, ...], default)[0]) if wants_list else type(default)
    kind = float if default is None else kind
    try:
        found: Any = json.loads(text)
    except ValueError:
        found = None
    items = cast(list[Any], found) if isinstance(found, list) else [found]
    allowed = (int, float) if kind is float else (kind,)
    if isinstance(found, list) != wants_list or any(type(item) not in allowed for item in items):
        raise ValueError((LISTS if wants_list else KINDS)[kind])
    if kind is str:
        return tuple(items)
    if kind is bool:
        return items[0]
    wanted, holds = RANGES.get(key, OVER_0)
    if not items or not all(holds(number) and number <= LARGEST for number in items):
        raise ValueError(wanted)
    if wants_list:
        return tuple(items)
    return float(items[0]) if kind is float else items[0]
