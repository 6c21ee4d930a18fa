from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.frame import NEVER, Runs

Cell = tuple[float, bool]  # a value, and whether it counts
cells = st.tuples(st.sampled_from([0.0, 1.0, 2.0]), st.booleans())
rows_drawn = st.lists(st.tuples(st.integers(0, 2), cells, cells), max_size=30)


def step(runs: Runs, rows: list[tuple[int, tuple[int, Cell, Cell]]]) -> list[list[tuple[int, int]]]:
    """Rows of (time, (asset, cell, cell)) as one call; what comes of each, in the rows' order."""
    order = sorted(range(len(rows)), key=lambda n: rows[n][1][0])
    asset = np.array([rows[n][1][0] for n in order], np.int64)
    time = np.array([rows[n][0] for n in order], np.int64)
    drawn = np.array([rows[n][1][1:] for n in order]).reshape(len(rows), 2, 2)
    count, since = runs.step(asset, time, drawn[:, :, 0], drawn[:, :, 1] > 0)
    place = np.argsort(order)
    return np.stack((count, since), axis=2)[place].tolist()


@given(rows_drawn, st.lists(st.integers(0, 30), max_size=4))
def test_a_run_is_the_counted_cells_of_one_value_however_they_are_split(
    drawn: list[tuple[int, Cell, Cell]], edges: list[int]
) -> None:
    state: dict[tuple[int, int], tuple[float, int, int]] = {}
    wanted: list[list[list[int]]] = []
    for time, (asset, *both) in enumerate(drawn):
        told: list[list[int]] = []
        for sensor, (value, counts) in enumerate(both):
            old, count, since = state.get((asset, sensor), (np.nan, 0, NEVER))
            if counts:
                count, since = (count + 1, since) if value == old else (1, time)
                state[asset, sensor] = value, count, since
            told.append([count, since])
        wanted.append(told)

    rows, runs = list(enumerate(drawn)), Runs(2)
    places = [0, *sorted(min(edge, len(rows)) for edge in edges), len(rows)]
    found = [one for start, end in pairwise(places) for one in step(runs, rows[start:end])]

    assert found == wanted
