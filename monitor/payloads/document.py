"""A decoded payload → samples, by the paths of a layout: what all formats with keys share."""

import math
from collections.abc import Callable, Sequence
from typing import cast

from monitor.payloads.path import MISSING, Getter, compiled
from monitor.payloads.sample import MOST_SAMPLES, Field, Layout, MalformedError, Sample
from monitor.payloads.value import number

Rejected = tuple[tuple[int, str], ...]
Parts = tuple[str, ...]

Documents = Callable[[Sequence[object]], list[Sample]]
_ITSELF = "[]"


def documents(layout: Layout) -> Documents:
    """Compile a function from the documents of a message to its samples, at least one.

    Raises:
        ValueError: if a path is none.
    """
    of_item = _wide(layout) if layout.sensor is None else _long(layout)
    items_of = _items(layout)

    def read(whole: Sequence[object]) -> list[Sample]:
        samples: list[Sample] = []
        for document in whole:
            items = (document,) if items_of is None else items_of(document)
            if len(samples) + len(items) > MOST_SAMPLES:
                raise MalformedError(f"holds more than {MOST_SAMPLES} samples")
            samples.extend(of_item(item, document) for item in items)
        return joined(samples) if len(samples) > 1 else samples or [blank(layout)]

    return read


def blank(layout: Layout) -> Sample:
    """The sample of a message that has nothing of ours."""
    return Sample([math.nan] * layout.width, asset=("",) * len(layout.asset))


def joined(samples: list[Sample]) -> list[Sample]:
    """Samples of one asset and time in one, where no sensor would be lost; none without need."""
    found: list[Sample] = []
    last: dict[tuple[int | None, int, Parts], int] = {}
    for sample in samples:
        key = sample.time, sample.ago, sample.asset
        at = last.get(key)
        if at is not None and (both := _together(found[at], sample)) is not None:
            found[at] = both
            continue
        last[key] = len(found)
        found.append(sample)
    return found


def _together(one: Sample, other: Sample) -> Sample | None:
    values = one.values.copy()
    for sensor, value in enumerate(other.values):
        if not math.isnan(value):
            if not math.isnan(values[sensor]):
                return None
            values[sensor] = value
    return Sample(
        values,
        one.time,
        one.rejected + other.rejected,
        one.asset,
        one.ago,
        one.lost + other.lost,
    )


def _items(layout: Layout) -> Callable[[object], Sequence[object]] | None:
    path = layout.samples
    if path is None:
        return None
    list_of = None if path == _ITSELF else compiled(path)

    def items(document: object) -> Sequence[object]:
        found = document if list_of is None else list_of(document)
        if not isinstance(found, list):
            raise MalformedError(f"has no list of samples at {path}")
        return cast("list[object]", found)

    return items


def _time(layout: Layout) -> Callable[[object, object], int | None]:
    path, clock = layout.time, layout.clock
    if path is None or clock is None:
        return lambda item, document: None
    get = compiled(path)

    def time(item: object, document: object) -> int:
        value = get(item)
        if value is MISSING and item is not document:
            value = get(document)
        if value is MISSING:
            raise MalformedError(f"has no time at {path}")
        try:
            return clock(value)
        except TypeError:
            raise MalformedError(f"has no time at {path}, but a value of another kind") from None
        except ValueError as error:
            raise MalformedError(f"has no time at {path}; {error}") from None

    return time


def _asset(layout: Layout) -> Callable[[object, object], Parts]:
    getters = [compiled(path) for path in layout.asset]

    def asset(item: object, document: object) -> Parts:
        return tuple(_word(get, item, document) for get in getters)

    return asset if getters else lambda item, document: ()


def _word(get: Getter, item: object, document: object) -> str:
    value = get(item)
    if value is MISSING and item is not document:
        value = get(document)
    if isinstance(value, str):
        return value
    # Of integers with more digits Python refuses to make a text.
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**64:
        return str(value)
    return ""


def _wide(layout: Layout) -> Callable[[object, object], Sample]:
    """Every item has the sensors at their paths."""
    getters = [(field, field.column, compiled(field.path)) for field in layout.fields]
    time_of, asset_of = _time(layout), _asset(layout)
    nothing = [math.nan] * layout.width

    def sample(item: object, document: object) -> Sample:
        time = time_of(item, document)
        values = nothing.copy()
        rejected: Rejected = ()
        for field, column, get in getters:
            value = get(item)
            if value.__class__ is float and math.isfinite(value):  # pyright: ignore[reportArgumentType]
                values[column] = value  # pyright: ignore[reportArgumentType, reportCallIssue]
            elif value is not MISSING:
                found = number(value, field)
                if isinstance(found, str):
                    rejected += ((column, found),)
                else:
                    values[column] = found
        return Sample(values, time, rejected, asset_of(item, document))

    return sample


def _long(layout: Layout) -> Callable[[object, object], Sample]:
    """Every item is of the one sensor that it names."""
    by_name: dict[object, Field] = {field.path: field for field in layout.fields}
    sensor_of, value_of = compiled(layout.sensor or ""), compiled(layout.value or "")
    time_of, asset_of = _time(layout), _asset(layout)
    nothing = [math.nan] * layout.width

    def sample(item: object, document: object) -> Sample:
        time, asset = time_of(item, document), asset_of(item, document)
        values = nothing.copy()
        name = sensor_of(item)
        field = by_name.get(name) if isinstance(name, str) else None
        if field is None:
            return Sample(values, time, (), asset)
        return Sample(values, time, take(value_of(item), field, values), asset)

    return sample


def take(value: object, field: Field, values: list[float]) -> Rejected:
    """Put a value of a sensor in its place, or say why it is no reading."""
    if value is MISSING:
        return ()
    found = number(value, field)
    if isinstance(found, str):
        return ((field.column, found),)
    values[field.column] = found
    return ()
