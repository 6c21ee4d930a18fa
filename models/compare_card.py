"""What people read of a comparison: a table with a column for each family, and the advice."""

from collections.abc import Callable, Iterator

import numpy as np
from rich.table import Table

from models.compare import BASELINE, FIGURES, Entry, best_of, quantile
from models.report import number
from models.words import count, duration


def comparison(entries: dict[str, Entry]) -> Iterator[str | Table]:
    """All about some families, the baseline among them."""
    table = Table("", *(f"{name} (baseline)" if name == BASELINE else name for name in entries))
    for words, cell in _rows(entries):
        table.add_row(words, *(cell(one) for one in entries.values()))
    yield table
    if judged := entries[BASELINE].judged:
        seen = judged.pooled["rows_seen_in_training"]
        yield f"judged on {count(len(judged.files), 'recording')} with labels" + (
            f"; {seen:.0f} of their rows were trained on, so false alarms are fewer than on others"
            if seen
            else ""
        )
    _, why = best_of(entries)
    yield f"[bold]{why}[/bold]"


def _rows(entries: dict[str, Entry]) -> Iterator[tuple[str, Callable[[Entry], str]]]:
    yield "validation loss", lambda one: number(one.loss)
    for key in FIGURES:
        if any(one.figure(key) is not None for one in entries.values()):
            yield key, lambda one, key=key: number(one.figure(key))
    yield "false alarms a day expected", lambda one: number(one.threshold.expected_per_day)
    yield "at most, with 95 % confidence", lambda one: number(one.threshold.bound_per_day)
    yield "smallest step in spreads, median", lambda one: _spreads(one.steps, 0.5)
    yield "of the worst sensor", lambda one: _spreads(one.steps, 1.0)
    yield (
        "audit",
        lambda one: "none" if one.audit is None else "refused" if one.is_refused else "passed",
    )
    yield "trained in", lambda one: duration(one.seconds)
    yield "a window scored in", lambda one: f"{one.microseconds:.3g} µs"
    yield "on disk", lambda one: f"{one.bytes / 1000:.0f} kB"


def _spreads(steps: list[float], share: float) -> str:
    if not steps:
        return "–"
    size = quantile(steps, share)
    return f"{size:.2g}" if np.isfinite(size) else "none found"
