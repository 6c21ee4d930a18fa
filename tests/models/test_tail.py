import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from models.frame import Floats
from models.tail import exceeded, fit, opening, peaks


def test_an_alarm_opens_below_the_third_largest_of_the_last_five() -> None:
    found = opening(np.array([5.0, 4.0, 3.0, 9.0, 1.0, 1.0, 1.0, 8.0]), need=3, of=5)

    assert found.tolist() == [-np.inf, -np.inf, 3, 4, 4, 3, 1, 1]


def test_an_excursion_is_told_by_its_peak_and_ends_after_a_gap_below_the_level() -> None:
    heights = np.array([0, 3, 5, 0, 4, 0, 0, 0, 2, 9, 1])

    assert peaks(heights, 1.0, gap=3).tolist() == [5, 9]
    assert peaks(heights, 1.0, gap=2).tolist() == [5, 4, 9]
    assert peaks(heights, 9.0, gap=2).tolist() == []


@pytest.mark.parametrize("shape", [-0.3, 0.0, 0.2, 0.5, 0.9])
def test_the_law_of_many_excesses_is_found_again(shape: float) -> None:
    excess = np.array(stats.genpareto.rvs(shape, scale=2, size=20_000, random_state=1))

    found, scale = fit(excess[None])

    assert found[0] == pytest.approx(shape, abs=0.03)
    assert scale[0] == pytest.approx(2, rel=0.03)


@pytest.mark.parametrize("shape", [-0.3, 0.0, 1e-12, 0.2, 0.9])
def test_extrapolated_excesses_are_scipys_quantiles(shape: float) -> None:
    ratio = np.array([1.0, 0.3, 1e-3, 1e-6])

    found = exceeded(ratio, np.full(4, shape), np.full(4, 2.0))

    np.testing.assert_allclose(found, stats.genpareto.isf(ratio, shape, scale=2), rtol=1e-6)


def test_the_shape_of_few_excesses_is_drawn_towards_an_exponential_tail() -> None:
    rng = np.random.default_rng(0)
    few, many = rng.uniform(0, 1, (50, 10)), rng.uniform(0, 1, (50, 500))

    # A uniform excess has the shape -1.
    assert fit(many)[0].mean() == pytest.approx(-1, abs=0.1)
    assert -0.7 < fit(few)[0].mean() < -0.3


positive = st.floats(1e-6, 1e6) | st.sampled_from([0.5, 1.0, 2.0])


@given(st.lists(positive, min_size=1, max_size=200), st.floats(1e-6, 1.0))
def test_any_excesses_have_a_finite_law_whose_extrapolation_is_none_below_0(
    excess: list[float], ratio: float
) -> None:
    shape, scale = fit(np.array([excess]))

    assert np.isfinite(shape).all()
    assert (scale > 0).all()
    assert exceeded(np.array([ratio]), shape, scale)[0] >= 0


@given(
    st.lists(st.lists(positive, min_size=1, max_size=20), min_size=1, max_size=5),
    st.integers(0, 30),
)
def test_a_rows_law_depends_neither_on_the_other_rows_nor_on_the_order(
    rows: list[list[float]], seed: int
) -> None:
    table = np.full((len(rows), 20), np.nan)
    for row, excess in enumerate(rows):
        table[row, : len(excess)] = excess
    shuffled: Floats = np.random.default_rng(seed).permuted(table, axis=1)

    together = fit(table)

    for one in range(len(rows)):
        alone = fit(shuffled[one : one + 1])
        assert [part[0] for part in alone] == [part[one] for part in together]
