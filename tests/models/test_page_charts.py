import re
from xml.etree import ElementTree as ET

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from models.page import charts

SVG = "{http://www.w3.org/2000/svg}"


def drawn(title: str = "flow", label: str = "a picture") -> Markup:
    with charts.style():
        figure, (axes,) = charts.stacked((1.0,), top=0.3)
        axes.plot([1, 2, 3], [0.123456789, 2, 1], color=charts.MODEL)
        axes.axhline(1, color=charts.INK)
        axes.set_title(title)
        return charts.svg(figure, label)


def texts(picture: Markup) -> list[str]:
    root = ET.fromstring(
        str(picture).replace(
            "<svg ",
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" ',
        )
    )
    return ["".join(text.itertext()).strip() for text in root.iter(f"{SVG}text")]


def test_a_chart_takes_its_colours_and_its_font_from_the_page() -> None:
    picture = drawn()

    assert "var(--model)" in picture
    assert "var(--ink)" in picture
    assert not re.search(r"#0[1-9]0000", picture)
    assert "flow" in texts(picture)


def test_equal_charts_are_equal_bytes_without_a_date() -> None:
    assert drawn() == drawn()
    assert "<metadata" not in drawn()


def test_no_part_has_a_name_that_nothing_refers_to() -> None:
    picture = drawn()

    names = re.findall(r' id="([^"]+)"', picture)
    assert names
    assert len(names) == len(set(names))
    assert all(f"#{name}" in picture for name in names)


def test_names_are_shown_as_they_are_whatever_they_look_like() -> None:
    for name in ("v1.23456", "$x_1$", 'a < b & "c"', '<script id="x">', "温度", "#010000"):
        assert name in texts(drawn(name)), name
    assert 'aria-label="&lt;b&gt; &#34;' in drawn(label='<b> "')


@given(st.lists(st.none() | st.integers(-9, 9), min_size=1, max_size=80), st.integers(1, 30))
def test_a_thinned_line_keeps_its_extremes_and_its_breaks(
    numbers: list[int | None], most: int
) -> None:
    values = np.array([np.nan if one is None else float(one) for one in numbers])
    at = np.arange(float(len(values)))

    thin_at, thin = charts.thinned(at, values, most)

    assert len(thin) <= max(2 * most, 1)
    assert set(thin_at) <= set(at)
    assert set(thin[~np.isnan(thin)]) <= set(values[~np.isnan(values)])
    assert np.isnan(thin).all() == np.isnan(values).all()
    if not np.isnan(values).all():
        assert (np.nanmin(thin), np.nanmax(thin)) == (np.nanmin(values), np.nanmax(values))


@given(st.lists(st.booleans(), max_size=80), st.integers(1, 30))
def test_thinned_spans_cover_every_flag_and_little_else(flags: list[bool], most: int) -> None:
    given_flags = np.array(flags, bool)

    spans = charts.thinned_spans(given_flags, most)

    covered = np.zeros(len(flags), bool)
    for start, end in spans:
        covered[start:end] = True
    assert len(spans) <= most
    assert covered[given_flags].all()
    column = -(-len(flags) // most)
    assert all(given_flags[max(0, i - column) : i + column].any() for i in np.flatnonzero(covered))
