import math
import operator
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.running import DEEPEST, LONGEST, Condition, ConditionError, check_syntax

SENSORS = ("current", "Volume Flow", "m.1/valve-b")
NAMED = ("current", "'Volume Flow'", "m.1/valve-b")
COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}

# A frame is three values; an expression is its text and what it must say of one, None = unknown.
Frame = tuple[float, float, float]
Said = tuple[str, Callable[[Frame], bool | None]]


def negated(one: Said) -> Said:
    def say(frame: Frame) -> bool | None:
        found = one[1](frame)
        return None if found is None else not found

    return f"not {one[0]}", say


def joined(word: str, parts: list[Said]) -> Said:
    decides = word == "or"  # the value that decides, whatever the others are

    def say(frame: Frame) -> bool | None:
        found = [part(frame) for _, part in parts]
        if decides in found:
            return decides
        return None if None in found else not decides

    return "(" + f" {word} ".join(text for text, _ in parts) + ")", say


@st.composite
def comparisons(draw: st.DrawFn) -> Said:
    column, sign = draw(st.integers(0, 2)), draw(st.sampled_from([*COMPARE]))
    other = draw(st.one_of(st.integers(0, 2), st.sampled_from([-1.0, 0.0, 0.5, 1.0])))
    is_sensor = isinstance(other, int)
    turned = draw(st.booleans())

    def say(frame: Frame) -> bool | None:
        one, two = frame[column], frame[other] if isinstance(other, int) else other
        if math.isnan(one) or math.isnan(two):
            return None
        return COMPARE[sign](two, one) if turned else COMPARE[sign](one, two)

    sides = [NAMED[column], NAMED[other] if is_sensor else str(other)]
    space = draw(st.sampled_from(["", " ", "  "]))
    return (space + sign + space).join(sides[::-1] if turned else sides), say


expressions: st.SearchStrategy[Said] = st.recursive(
    comparisons(),
    lambda inner: st.one_of(
        inner.map(negated),
        st.builds(joined, st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=4)),
    ),
    max_leaves=12,
)
cells = st.sampled_from([-1.0, 0.0, 0.5, 1.0, math.nan])


@given(expressions, st.lists(st.tuples(cells, cells, cells), max_size=6))
def test_an_expression_is_what_its_parts_are_and_unknown_where_a_missing_value_decides(
    said: Said, frames: list[Frame]
) -> None:
    text, say = said
    values = np.array(frames, np.float64).reshape(-1, 3)

    truth = Condition(text, SENSORS).truth(values)

    assert truth.tolist() == [{True: 1, None: 0, False: -1}[say(frame)] for frame in frames]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("current > 0.2", 1),
        ("current>.2", 1),
        ("current >= 3e-1", 1),
        ("current == 0.3", 1),
        ("current != 0.3", -1),
        ("0.3 <= current", 1),
        ("current < -1 or current > +0.2", 1),
        ('"Volume Flow" < current', 1),
        ("'Volume Flow' == -2", 1),
        ("m.1/valve-b == 1", 0),
        ("not m.1/valve-b == 1", 0),
        ("current > 0.2 and m.1/valve-b == 1", 0),
        ("current > 9 and m.1/valve-b == 1", -1),
        ("current > 0.2 or m.1/valve-b == 1", 1),
        # "not" binds closer than "and", "and" closer than "or".
        ("not current > 9 and current > 0", 1),
        ("not (current > 9 or current > 0)", -1),
        ("current > 0 or current > 9 and current > 9", 1),
        ("(current > 0 or current > 9) and current > 9", -1),
    ],
)
def test_what_is_written_is_what_is_asked(text: str, wanted: int) -> None:
    assert Condition(text, SENSORS).truth(np.array([[0.3, -2.0, math.nan]])).tolist() == [wanted]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "character 1: found the end; wanted a sensor or a number"),
        ("  ", "character 3: found the end; wanted a sensor or a number"),
        ("current", "character 8: found the end; wanted one of < <= > >= == !="),
        ("current >", "character 10: found the end; wanted a sensor or a number"),
        ("current = 1", "character 9: found '='; wanted .* a comparison such as =="),
        ("current > 1 && flow", "character 13: found '&&'; wanted a sensor"),
        ("0 < current < 5", "character 13: found '<'; wanted and, or, or the end"),
        ("current > 1 current < 2", "character 13: found 'current'; wanted and, or, or the end"),
        ("(current > 1", "character 13: found the end; wanted and, or, or \\)"),
        ("current > 1)", "character 12: found '\\)'; wanted and, or, or the end"),
        ("current > 1 and", "character 16: found the end; wanted a sensor or a number"),
        ("not", "character 4: found the end; wanted a sensor or a number"),
        ("and > 1", "character 1: found 'and'; wanted a sensor or a number"),
        ("current > or", "character 11: found 'or'; wanted a sensor or a number"),
        ("1 < 2", "character 1: found '1'; wanted a sensor on one side"),
        ("current > 1e999", "character 11: found '1e999'; wanted a number that is finite"),
        ("current > nan", "character 11: found 'nan'; wanted one of the sensors"),
        ("current > 1.2.3", "character 11: found '1.2.3'; wanted a sensor, a number"),
        ("current > 1and current < 2", "character 11: found '1and'; wanted a sensor, a number"),
        ("current > \u0661", "character 11: found '\u0661'; wanted a sensor, a number"),
        ("'current > 1", 'character 1: found "\'current"; wanted a sensor'),
        ("curent > 1", "character 1: found 'curent'; wanted one of the sensors current, Volume"),
        ("'' > 1", "character 1: found \"''\"; wanted one of the sensors"),
        ("__import__('os') > 1", "character 1: found '__import__'; wanted one of the sensors"),
        ("current.real(1) > 1", "character 1: found 'current.real'; wanted one of the sensors"),
    ],
)
def test_what_is_no_expression_is_refused_with_the_place(text: str, message: str) -> None:
    with pytest.raises(ConditionError, match=f"^{message}"):
        Condition(text, SENSORS)


def test_length_and_depth_are_bounded() -> None:
    def deep(levels: int) -> str:
        return "not (" * (levels // 2) + "current > 1" + ")" * (levels // 2)

    assert Condition(deep(DEEPEST), SENSORS).truth(np.array([[2.0, 0, 0]])).tolist() == [-1]
    with pytest.raises(ConditionError, match=f"wanted at most {DEEPEST} parentheses"):
        Condition(deep(DEEPEST + 2), SENSORS)
    # Depth is left again: many side by side are as good as one.
    wide = " or ".join(["(not (current > 1))"] * 40)
    assert Condition(wide, SENSORS).truth(np.array([[2.0, 0, 0]])).tolist() == [-1]
    with pytest.raises(ConditionError, match=f"has {LONGEST + 1} characters; wanted at most"):
        Condition("current > 1" + " " * (LONGEST - 10), SENSORS)


def test_many_sensors_are_not_all_named() -> None:
    with pytest.raises(ConditionError, match=r"s18, s19, …$"):
        Condition("x > 1", tuple(f"s{n}" for n in range(50)))


def test_syntax_is_checked_without_sensors() -> None:
    check_syntax("anything > 1 and 'odd name' != 2")
    with pytest.raises(ConditionError, match="character 11: found the end"):
        check_syntax("anything >")


def test_equal_expressions_on_equal_sensors_are_equal() -> None:
    assert Condition("current > 1", SENSORS) == Condition("current > 1", SENSORS)
    assert Condition("current > 1", SENSORS) != Condition("current > 2", SENSORS)
