from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from monitor.payloads.path import MISSING, Step, compiled, parse, place
from tests.monitor.machines import many

keys = st.text(max_size=6).filter(lambda text: '"' not in text)
item_keys = st.text(min_size=1, max_size=4).filter(lambda text: not {*text} & {"=", "]"})
item_names = st.text(max_size=4).filter(lambda text: "]" not in text)
paths = st.lists(
    keys.map(lambda key: [key])
    | st.integers(0, 3).map(lambda index: [index])
    | st.tuples(st.tuples(item_keys, item_names), keys).map(list),
    min_size=1,
    max_size=3,
).map(lambda parts: [step for part in parts for step in part])
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
documents = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "id", ""]) | keys, inner, max_size=3)
    ),
    max_leaves=12,
)


def written(path: list[Step]) -> str:
    """A path in its own notation, every key quoted."""
    out = ""
    for step in path:
        match step:
            case int():
                out += f"[{step}]"
            case (key, value):
                out += f"[{key}={value}]"
            case _:
                out += ("." if out else "") + f'"{step}"'
    return out


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("current", {"current": 1.5}),
        ("ENERGY.Current", {"ENERGY": {"Current": 1.5}}),
        ("a-b.c:d", {"a-b": {"c:d": 1.5}}),
        ("0x1F:voltage-rms", {"0x1F:voltage-rms": 1.5}),
        ("bearing temp.7th value", {"bearing temp": {"7th value": 1.5}}),
        ("2.5", {"2": {"5": 1.5}}),
        ('"a.b"."c d"', {"a.b": {"c d": 1.5}}),
        ('"[2]".x', {"[2]": {"x": 1.5}}),
        ('"".x', {"": {"x": 1.5}}),
        ("Öl.温度", {"Öl": {"温度": 1.5}}),
        ("a=b", {"a=b": 1.5}),
        ("v[2]", {"v": [0, 0, 1.5]}),
        ("[1]", [0, 1.5]),
        ("m[0][1]", {"m": [[0, 1.5]]}),
        ("m[1].x", {"m": [{"x": 0}, {"x": 1.5}]}),
        ("s[id=ch7].v", {"s": [{"id": "ch1", "v": 0}, {"id": "ch7", "v": 1.5}]}),
        ("s[id=ch7].v", {"s": [7, None, [], {"v": 0}, {"id": "ch7", "v": 1.5}]}),
        ("s[id=ch7].v", {"s": [{"id": "ch7", "v": 1.5}, {"id": "ch7", "v": 0}]}),
        ("s[id=7].v", {"s": [{"id": 6, "v": 0}, {"id": 7, "v": 1.5}]}),
        ("s[id=-0.5].v", {"s": [{"id": -0.5, "v": 1.5}]}),
        ("s[on=true].v", {"s": [{"on": False, "v": 0}, {"on": True, "v": 1.5}]}),
        ("s[a b=c.d].v", {"s": [{"a b": "c.d", "v": 1.5}]}),
        ("s[id=a=b].v", {"s": [{"id": "a=b", "v": 1.5}]}),
        ("s[id=].v", {"s": [{"id": "x", "v": 0}, {"id": "", "v": 1.5}]}),
    ],
)
def test_a_path_leads_to_its_value(path: str, document: object) -> None:
    assert compiled(path)(document) == 1.5


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("a", {}),
        ("a", []),
        ("a", None),
        ("a", "a"),
        ("a.b", {"a": 1}),
        ("a.b", {"a.b": 1}),
        ("a.b", {"a": [{"b": 1}]}),
        ("v[2]", {"v": [0, 1]}),
        ("v[0]", {"v": {"0": 1}}),
        ("v[0]", {"v": "text"}),
        ("s[id=x].v", {"s": [{"id": "y", "v": 1}]}),
        ("s[id=x].v", {"s": {"id": "x", "v": 1}}),
        ("s[id=x].v", {"s": [{"id": "x"}]}),
        ("s[id=True].v", {"s": [{"id": True, "v": 1}]}),
        ("s[id=1].v", {"s": [{"id": True, "v": 1}]}),
        ("s[id=None].v", {"s": [{"id": None, "v": 1}]}),
        ("s[id={}].v", {"s": [{"id": {}, "v": 1}]}),
        ("s[id=1].v", {"s": [{"id": 10**5000, "v": 1}]}),
    ],
)
def test_a_path_that_ends_early_leads_to_nothing(path: str, document: object) -> None:
    assert compiled(path)(document) is MISSING


@pytest.mark.parametrize(
    "path",
    [
        *("", ".", ".a", "a.", "a..b", "a[2].", "a[", "a]", "a[]", "a[-1]", "a[x]", "a[=x]"),
        *("[2]a", "a[1]b", "a[0000001]", "[id=x", "a.[", '"a', 'a"', '"a"b', 'a"b"', '"a""b"'),
        *('"a".', "a[id=[]].v", "a[id=x]", "a[id=x][0]", "a[id=x][id=y].v"),
    ],
)
def test_what_is_no_path_is_refused_in_words(path: str) -> None:
    with pytest.raises(ValueError, match=r"wanted|ends in a dot"):
        parse(path)


@many
@given(paths)
def test_a_path_is_read_as_it_was_written(path: list[Step]) -> None:
    assert parse(written(path)) == tuple(path)


@many
@given(st.text(st.sampled_from('ab1.=[]" -:\\') | st.characters(), max_size=12), documents)
def test_any_text_is_a_path_that_any_document_answers_or_a_value_error(
    path: str, document: object
) -> None:
    try:
        follow = compiled(path)
    except ValueError:
        return
    follow(document)


@many
@given(paths, documents)
def test_no_document_makes_a_path_fail(path: list[Step], document: object) -> None:
    compiled(written(path))(document)


@many
@given(keys, paths, st.floats())
def test_compiled_is_the_inverse_of_place(first: str, rest: list[Step], value: float) -> None:
    assume(not any(isinstance(one, tuple) and one[0] == other for one, other in pairwise(rest)))
    path = written([first, *rest])
    document: dict[str, Any] = {}
    place(document, path, value)
    assert compiled(path)(document) is value


def test_values_placed_side_by_side_all_stay() -> None:
    paths = [
        "t",
        "E.a",
        "E.b",
        "E.deep.er.x",
        "v[2]",
        "v[0]",
        "s[id=7].v",
        "s[id=x].v",
        "s[id=7].w",
    ]
    document: dict[str, Any] = {}
    values = [float(n) for n in range(len(paths))]
    for path, value in zip(paths, values, strict=True):
        place(document, path, value)
    assert [compiled(path)(document) for path in paths] == values
    assert document["s"] == [{"id": "7", "v": 6.0, "w": 8.0}, {"id": "x", "v": 7.0}]
    assert document["v"] == [5.0, None, 4.0]


def test_two_sensors_may_read_the_same_place() -> None:
    document: dict[str, Any] = {}
    place(document, "a.b", 1.0)
    place(document, "a.b", 1.0000000001)
    assert document == {"a": {"b": 1.0000000001}}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a", "a.b"),
        ("a.b", "a"),
        ("a[0]", "a.b"),
        ("a.b", "a[0]"),
        ("a[0]", "a"),
        ("a.b", "a[id=x].v"),
        ("a[1]", "a[1].x"),
        ("x", "[0]"),
        ("x", "s[id=7].id"),
    ],
)
def test_paths_that_exclude_each_other_cannot_both_be_placed(one: str, other: str) -> None:
    document: dict[str, Any] = {}
    place(document, one, 1.0)
    with pytest.raises(ValueError, match="no payload can have a value here"):
        place(document, other, 2.0)
    assert compiled(one)(document) == 1.0
