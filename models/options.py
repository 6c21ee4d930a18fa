"""`--set KEY=VALUE`: one setting of training, of the score or of the family."""

import inspect
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from typing import Any, cast, get_args

from models.adaptation import Adaptive
from models.detector import Score
from models.families import FAMILIES
from models.manifest import DEEPEST
from models.plan import Request, Settings
from models.threshold import ADAPTIVE_READS, THRESHOLDS, ThresholdSettings

Range = tuple[str, Callable[[float], bool]]

# What a number must be, where that is not "over 0".
RANGES: dict[str, Range] = {
    "max_hold": ("0 or more", lambda number: number >= 0),
    "max_held": ("from 0 to 1", lambda number: 0 <= number <= 1),
    "denoise": ("0 or more", lambda number: number >= 0),
    "variance": ("over 0 and at most 1", lambda number: 0 < number <= 1),
    "quantile": ("over 0 and below 1", lambda number: 0 < number < 1),
    "level": ("over 0 and below 1", lambda number: 0 < number < 1),
    "adaptive_cap": ("over 1", lambda number: number > 1),
    "adaptive_depth": (f"from 1 to {DEEPEST}", lambda number: 0 < number <= DEEPEST),
}
CHOICES: dict[str, Iterable[str]] = {
    "score": get_args(Score),
    "threshold": THRESHOLDS,
    "adaptive": get_args(Adaptive),
}
OVER_0: Range = ("over 0", lambda number: number > 0)
LARGEST = 1e9
KINDS: dict[type, str] = {
    int: "a whole number",
    float: "a number",
    tuple: "a list of whole numbers such as [128,32]",
    str: "a word",
}


def with_options(request: Request, pairs: Sequence[str]) -> Request:
    """The request with some `KEY=VALUE` applied.

    Raises:
        ValueError: for an unknown key, a value of the wrong kind or out of range, or one that the
            threshold does not go with.
    """
    family = {
        name: parameter.default
        for name, parameter in inspect.signature(FAMILIES[request.model]).parameters.items()
        if name not in ("window", "sensors")
    }
    training = {entry.name for entry in fields(Settings)} - {"seed"}
    thresholds = {entry.name for entry in fields(ThresholdSettings)}
    scoring = {"score", "tail", "max_hold", "max_held"}
    known = training | thresholds | scoring | set(family)
    used: set[str] = set()
    for pair in pairs:
        key, equals, text = pair.partition("=")
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
    kind = float if default is None else type(default)
    if kind is str:
        if text not in CHOICES.get(key, (text,)):
            raise ValueError(f"one of {', '.join(CHOICES[key])}")
        return text
    try:
        found: Any = json.loads(text)
    except ValueError:
        found = None
    is_list = isinstance(found, list)
    numbers = cast(list[Any], found) if is_list else [found]
    allowed = (int, float) if kind is float else (int,)
    if is_list != (kind is tuple) or any(type(number) not in allowed for number in numbers):
        raise ValueError(KINDS[kind])
    wanted, holds = RANGES.get(key, OVER_0)
    if not numbers or not all(holds(number) and number <= LARGEST for number in numbers):
        raise ValueError(wanted)
    if kind is tuple:
        return tuple(numbers)
    return float(numbers[0]) if kind is float else numbers[0]
