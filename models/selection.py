"""What is used of some data: rows, a span of time, assets, and stretches that are left out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.grid import Bools, Ints

Range = tuple[int | None, int | None]  # half-open, None = open


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time that is left out, such as a repair: [start, end), nanoseconds.

    Args:
        asset: whose; empty = of all.
        why: in the words of who left it out.
        rows: how many rows of a recording that were.
    """

    start: int
    end: int
    asset: str = ""
    why: str = ""
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Selection:
    """What is used of a recording.

    Args:
        rows: range of the file's data rows.
        span: range of time, nanoseconds.
        assets: names; empty = all.
        excluded: stretches left out; no window reaches over one.
    """

    rows: Range = (None, None)
    span: Range = (None, None)
    assets: tuple[str, ...] = ()
    excluded: tuple[Stretch, ...] = ()

    def sift(
        self, row: Ints, time: Ints, asset: Ints, names: Sequence[str]
    ) -> tuple[Bools, "Selection"]:
        """Which rows of a file are used, and the selection with the stretches that concern it.

        Args:
            row: number in the file, shape (rows,).
            time: nanoseconds, shape (rows,).
            asset: index into `names`, shape (rows,).
            names: of the file's assets.
        """
        kept = _within(row, self.rows) & _within(time, self.span)
        if self.assets:
            kept &= np.isin(names, self.assets)[asset]
        first, last = (int(time[kept].min()), int(time[kept].max())) if kept.any() else (0, 0)
        concerned: list[Stretch] = []
        for one in self.excluded:
            inside = kept & _within(time, (one.start, one.end))
            if one.asset:
                inside &= (np.array(names) == one.asset)[asset]
            kept &= ~inside
            if one.asset in ("", *names) and one.start <= last and first < one.end:
                concerned.append(replace(one, rows=int(inside.sum())))
        return kept, replace(self, excluded=tuple(concerned))

    def parts(self, time: Ints, tick: Ints, asset: str) -> tuple[Ints, Bools]:
        """Which rows of an asset lie on the same side of every stretch.

        Args:
            time: of its rows that are used, nanoseconds, shape (rows,).
            tick: of each, shape (rows,).
            asset: its name.

        Returns:
            A number per row that grows with every stretch passed, and whether the row's tick lies
            on one side alone; shape (rows,).
        """
        ends = np.sort([one.end for one in self.excluded if one.asset in ("", asset)])
        part = np.searchsorted(ends, time, side="right")
        at = np.searchsorted(np.unique(tick), tick)
        first, last = np.full(len(tick), len(ends)), np.zeros(len(tick), np.int64)
        np.minimum.at(first, at, part)
        np.maximum.at(last, at, part)
        return part, (first == last)[at]


EVERYTHING = Selection()


def _within(number: Ints, edges: Range) -> Bools:
    start, end = edges
    inside = np.ones(len(number), bool)
    if start is not None:
        inside &= number >= start
    if end is not None:
        inside &= number < end
    return inside
