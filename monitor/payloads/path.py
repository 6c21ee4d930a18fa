"""Paths into a decoded payload: `a.b`, `[2]`, `[key=value]`, `"a b"."c.d"`."""

import re
from collections.abc import Callable
from typing import Any, Final, cast

# A key runs to the next dot or bracket, so dashes, colons and spaces need no quotes.
_STEP = re.compile(
    r'"(?P<quoted>[^"]*)"|\[(?P<index>\d{1,6})\]|\[(?P<key>[^=\]]+)=(?P<value>[^\]]*)\]'
    r'|(?P<plain>[^."\[\]]+)'
)


class Missing:
    """What a path leads to where the payload has nothing."""


MISSING: Final = Missing()

Step = str | int | tuple[str, str]
# Where a path leads, whichever item of a list it takes.
Place = tuple[str, ...]
Getter = Callable[[object], object]


def parse(path: str) -> tuple[Step, ...]:
    """The steps of a path: a key, a list index, or (key, value) to choose a list item by.

    Raises:
        ValueError: if the text is no path.
    """
    steps: list[Step] = []
    at = 0
    while at < len(path):
        if steps and path[at] == ".":
            at += 1
        elif steps and path[at] != "[":
            raise ValueError(f"{path!r}: wanted '.' or '[' at character {at + 1}")
        found = _STEP.match(path, at)
        if found is None:
            raise ValueError(f"{path!r}: wanted a key, [2] or [key=value] at character {at + 1}")
        if found["index"] is not None:
            steps.append(int(found["index"]))
        elif found["key"] is not None:
            steps.append((found["key"], found["value"]))
        else:
            steps.append(found["quoted"] if found["quoted"] is not None else found["plain"])
        at = found.end()
        if at == len(path) - 1 and path[at] == ".":
            raise ValueError(f"{path!r}: ends in a dot")
    if not steps:
        raise ValueError("is empty; wanted a path such as ENERGY.Current")
    for step, after in zip(steps, (*steps[1:], None), strict=True):
        if isinstance(step, tuple) and not isinstance(after, str):
            raise ValueError(f"{path!r}: wanted a key of the item that [key=value] chooses")
    return tuple(steps)


def keys_of(path: str) -> Place:
    """The keys of a path, with `[]` for an item of a list.

    Raises:
        ValueError: if the text is no path.
    """
    return tuple(step if isinstance(step, str) else "[]" for step in parse(path))


def compiled(path: str) -> Getter:
    """A function that follows the path, to MISSING where it ends early.

    Raises:
        ValueError: if the text is no path.
    """
    steps = parse(path)
    if len(steps) == 1 and isinstance(steps[0], str):
        key = steps[0]

        def top(document: object) -> object:
            if isinstance(document, dict):
                return cast("dict[str, object]", document).get(key, MISSING)
            return MISSING

        return top

    def follow(document: object) -> object:
        for step in steps:
            document = _step(document, step)
            if document is MISSING:
                return MISSING
        return document

    return follow


def _step(document: object, step: Step) -> object:
    if isinstance(step, str):
        if isinstance(document, dict):
            return cast("dict[str, object]", document).get(step, MISSING)
    elif isinstance(document, list):
        items = cast("list[object]", document)
        if isinstance(step, int):
            return items[step] if step < len(items) else MISSING
        key, value = step
        for item in items:
            if isinstance(item, dict):
                named = cast("dict[str, object]", item).get(key)
                if named == value or (named.__class__ is not str and _text(named) == value):
                    return cast("object", item)
    return MISSING


def _text(value: object) -> str | None:
    """A key's value as the payload spells it; None for what nothing is chosen by."""
    if value is True or value is False:
        return "true" if value else "false"
    # Of integers with more digits Python refuses to make a text.
    if isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**64):
        return str(value)
    return None


def place(document: dict[str, Any], path: str, value: object) -> None:
    """Put a value where the path leads, making what is missing; the reverse of `compiled`.

    Raises:
        ValueError: if what other paths have put there leaves no room for it.
    """
    steps = parse(path)
    there: object = document
    for step, after in zip(steps, (*steps[1:], None), strict=True):
        fresh: Any = {} if isinstance(after, str) else []
        there = _put(there, step, value if after is None else fresh)
    if there is not value:
        raise ValueError(f"{path!r}: no payload can have a value here beside the other paths'")


def _put(holder: object, step: Step, value: object) -> object:
    """Put a value at a step unless something else is there; return what is there then."""
    there = _step(holder, step)
    taken = there is not MISSING and there is not None
    if taken and not (isinstance(there, float) and isinstance(value, float)):
        return there
    if isinstance(step, str) and isinstance(holder, dict):
        cast("dict[str, object]", holder)[step] = value
        return value
    if not isinstance(step, str) and isinstance(holder, list):
        items = cast("list[object]", holder)
        if isinstance(step, int):
            items.extend([None] * (step + 1 - len(items)))
            items[step] = value
            return value
        items.append(dict([step]))
        return items[-1]
    return MISSING
