import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from monitor.topics import (
    MAX_NAME_BYTES,
    AssetName,
    TopicMatch,
    TopicPattern,
    covers,
    is_name,
    overlap,
)
from tests.monitor.machines import many

PLACES = ("asset", "sensor", "line", "_")
names = st.text(min_size=1, max_size=8).filter(is_name)
literals = st.text(st.sampled_from("ab$ é-"), max_size=3)


@st.composite
def patterns(draw: st.DrawFn) -> TopicPattern:
    places = draw(st.lists(st.sampled_from(PLACES), max_size=3, unique=True))
    levels = [f"{{{name}}}" for name in places] + draw(st.lists(literals, min_size=1, max_size=3))
    levels = draw(st.permutations(levels)) + draw(st.sampled_from([[], ["{rest#}"]]))
    text = "/".join(levels)
    assume(text and not text.startswith("$share/"))
    return TopicPattern.parse(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        ("$share/group/plant/{asset}", "is a shared subscription.*allow_shared = true"),
        ("plant/{sensor#}/{asset}", r"has the level \{sensor#\}; wanted it at the end"),
        (
            "plant/{asset#}",
            r"\{asset#\}; wanted it at the end, and not for the asset",
        ),
        ("plant/+/{asset}", r"has the wildcard '\+'"),
        ("plant/{asset}/#", "has the wildcard '#'"),
        ("plant/a+b/{asset}", r"has the wildcard 'a\+b'"),
        ("plant/pump-{asset}", "has the level 'pump-{asset}'; wanted a placeholder to fill"),
        ("plant/{asset}{line}", "wanted a placeholder to fill a level"),
        ("plant/{}/{asset}", "has the level '{}'"),
        ("plant/{1st}/{asset}", "has the level '{1st}'"),
        ("plant/{the line}/{asset}", "has the level '{the line}'"),
        ("plant/asset}", "has the level 'asset}'"),
        ("plant/{asset}/{asset}", r"names \{asset\} twice"),
        ("{line}/{asset}/{line}", r"names \{line\} twice"),
        ("plant\0/{asset}", "is no MQTT topic"),
        ("x" * 65536, "is no MQTT topic"),
        ("é" * 32768, "is no MQTT topic"),
        ("\ud800/{asset}", "surrogates not allowed"),
    ],
    ids=lambda text: repr(text[:30]),
)
def test_a_pattern_that_is_no_single_filter_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        TopicPattern.parse(text)


@pytest.mark.parametrize(
    ("text", "topic_filter"),
    [
        ("plant/{line}/{asset}/telemetry", "plant/+/+/telemetry"),
        ("{asset}", "+"),
        ("plant/{_}/{_}/{asset}/{sensor}", "plant/+/+/+/+"),
        ("/plant//{asset}/", "/plant//+/"),
        ("Werk 3/Öfen/{asset}", "Werk 3/Öfen/+"),
        ("$SYS/{asset}", "$SYS/+"),
        ("shellies/{asset}/{sensor#}", "shellies/+/#"),
        ("{_#}", "#"),
        ("x" * 65535, "x" * 65535),
    ],
    ids=lambda text: repr(text[:30]),
)
def test_a_placeholder_is_one_level_of_the_filter(text: str, topic_filter: str) -> None:
    assert TopicPattern.parse(text).filter == topic_filter


@pytest.mark.parametrize(
    ("text", "topic", "match"),
    [
        ("a/{asset}", "a/p1", TopicMatch("p1", None, ())),
        ("a/{asset}", "b/p1", None),
        ("a/{asset}", "a/p1/x", None),
        ("a/{asset}", "a", None),
        ("a/{asset}", "a/", TopicMatch("", None, ())),
        ("a/{asset}", "A/p1", None),
        ("a/{asset}/{sensor}", "a/p1/x", TopicMatch("p1", "x", ())),
        ("{z}/{asset}/{b}", "1/p1/2", TopicMatch("p1", None, (("z", "1"), ("b", "2")))),
        ("{_}/{asset}/{_}", "1/p1/2", TopicMatch("p1", None, ())),
        ("a/{asset}/{sensor#}", "a/p1/x/y", TopicMatch("p1", "x/y", ())),
        ("a/{asset}/{sensor#}", "a/p1", TopicMatch("p1", "", ())),
        ("a/{asset}/{sensor#}", "a", None),
        ("a/{asset}/{z#}", "a/p1/x", TopicMatch("p1", None, (("z", "x"),))),
        ("a/{asset}/{z#}", "a/p1", TopicMatch("p1", None, ())),
        ("a//{asset}", "a//p1", TopicMatch("p1", None, ())),
        ("a/{asset}", "a/Pümpe 1", TopicMatch("Pümpe 1", None, ())),
        ("a/{asset}", "a/p\0", TopicMatch("p\0", None, ())),
        ("a/{asset}", "a/" + "p" * 65533, TopicMatch("p" * 65533, None, ())),
        ("a/{asset}", "/" * 65535, None),
        ("a/{asset}", "", None),
        ("{line}/{asset}", "$SYS/broker", None),
        ("$SYS/{asset}", "$SYS/broker", TopicMatch("broker", None, ())),
    ],
    ids=lambda text: repr(text)[:30],
)
def test_a_topic_names_what_stands_at_the_placeholders(
    text: str, topic: str, match: TopicMatch | None
) -> None:
    assert TopicPattern.parse(text).match(topic) == match


@many
@given(patterns(), st.data())
def test_match_is_the_inverse_of_build(pattern: TopicPattern, data: st.DataObject) -> None:
    values = {name: data.draw(names) for name in PLACES}
    values["rest"] = "/".join(data.draw(st.lists(names, min_size=1, max_size=3)))
    assume(pattern.names[0] is None or not values[pattern.names[0]].startswith("$"))
    match = pattern.match(pattern.build(values))
    asset = values["asset"] if pattern.has_asset else None
    sensor = values["sensor"] if pattern.has_sensor else None
    labels = tuple((name, values[name]) for name in ("line", "rest") if name in pattern.names)
    assert match == TopicMatch(asset, sensor, labels)


@many
@given(patterns(), st.lists(literals | names, min_size=1, max_size=5).map("/".join))
def test_a_pattern_matches_what_the_broker_sends_for_its_filter(
    pattern: TopicPattern, topic: str
) -> None:
    assume(topic)
    assert (pattern.match(topic) is not None) == topic_matches_sub(pattern.filter, topic)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"asset": "p1"}, r"needs a value for \{line\} \(--label line=VALUE\)"),
        ({"line": "a", "asset": "p/1"}, "asset = 'p/1' cannot stand in a topic level"),
        ({"line": "a", "asset": "+"}, "cannot stand"),
        ({"line": "#", "asset": "p1"}, "line = '#' cannot stand"),
        ({"line": "a", "asset": ""}, "cannot stand"),
        ({"line": "a", "asset": "p\0"}, "cannot stand"),
        ({"line": "$SYS", "asset": "p1"}, "line = '\\$SYS' cannot stand"),
    ],
)
def test_a_topic_is_built_of_plain_names_only(values: dict[str, str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        TopicPattern.parse("{line}/{asset}").build(values)


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("p1", True),
        ("Pumpe 7 (Öl)", True),
        ("ポンプ", True),
        ("$p", True),
        ("a" * MAX_NAME_BYTES, True),
        ("é" * (MAX_NAME_BYTES // 2), True),
        ("", False),
        ("a" * (MAX_NAME_BYTES + 1), False),
        ("é" * (MAX_NAME_BYTES // 2 + 1), False),
        ("a/b", False),
        ("a+b", False),
        ("#", False),
        ("a\nb", False),
        ("a\0", False),
        ("\ud800", False),
        ("\u202egnp", False),
    ],
    ids=lambda text: repr(text)[:30],
)
def test_a_name_is_one_short_printable_level(text: str, good: bool) -> None:
    assert is_name(text) == good


def test_a_shared_subscription_is_read_where_it_is_allowed() -> None:
    pattern = TopicPattern.parse("$share/group/plant/{asset}", allow_shared=True)
    assert pattern.filter == "$share/group/plant/+"
    assert pattern.match("plant/p1") == TopicMatch("p1", None, ())
    for text in ("$share/group/", "$share//plant/{asset}", "$share/+/plant/{asset}"):
        with pytest.raises(ValueError, match="is a shared subscription"):
            TopicPattern.parse(text, allow_shared=True)


filters = st.lists(st.sampled_from(["a", "b", "", "+", "$x"]), min_size=1, max_size=4).flatmap(
    lambda levels: st.sampled_from(["/".join(levels), "/".join([*levels, "#"]), "#"])
)


@many
@given(filters.filter(bool), filters.filter(bool), st.data())
def test_two_filters_overlap_where_a_topic_matches_both(
    one: str, other: str, data: st.DataObject
) -> None:
    topic = "/".join(data.draw(st.lists(st.sampled_from(["a", "b", "", "$x"]), min_size=1)))
    assume(topic)
    if topic_matches_sub(one, topic) and topic_matches_sub(other, topic):
        assert overlap(one, other)
    assert overlap(one, other) == overlap(other, one)


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("a/+", "a/b", True),
        ("a/+/c", "+/b/c", True),
        ("a/#", "a", True),
        ("#", "a/b/c", True),
        ("a/+", "a/b/c", False),
        ("a/+/c", "a/b/d", False),
        ("a/b/#", "a", False),
        ("#", "$SYS/a", False),
    ],
)
def test_filters_without_a_topic_in_common_do_not_overlap(one: str, other: str, both: bool) -> None:
    assert overlap(one, other) == overlap(other, one) == both


@pytest.mark.parametrize(
    ("form", "topic", "payload", "name"),
    [
        ("{line}-{asset}", {"line": "a", "asset": "p"}, (), "a-p"),
        ("{node}-{device}", {"node": "n", "device": ""}, (), "n"),
        ("pump {asset}!", {"asset": "p"}, (), "pump p!"),
        ("{asset}.{id}.{dev.id}", {"asset": "p"}, ("1", "2"), "p.1.2"),
        ("dev.id", {}, ("7",), "7"),
        ("{id}-{asset}", {"asset": "p"}, ("",), ""),
        ("-{asset}-", {}, (), ""),
    ],
)
def test_an_assets_name_is_built_of_its_parts(
    form: str, topic: dict[str, str], payload: tuple[str, ...], name: str
) -> None:
    placeholders = ("line", "asset", "node", "device", "_", None)
    assert AssetName.parse(form, placeholders).build(topic, payload) == name


@pytest.mark.parametrize("form", ["{", "}", "a}b", "{a", "a{b}c}", "{{a}}", "x}{a}{"])
def test_a_name_with_a_brace_too_many_is_refused(form: str) -> None:
    with pytest.raises(ValueError, match="wanted a form"):
        AssetName.parse(form, ())


@many
@given(filters.filter(bool), filters.filter(bool), st.data())
def test_a_filter_covers_another_whose_topics_it_matches(
    one: str, other: str, data: st.DataObject
) -> None:
    words = st.sampled_from(["a", "b", "", "$x", "c"])
    topic = "/".join(data.draw(st.lists(words, min_size=1, max_size=4)))
    assume(topic and topic_matches_sub(other, topic))
    if covers(one, other):
        assert topic_matches_sub(one, topic)


@pytest.mark.parametrize(
    ("one", "other", "all_of_it"),
    [
        ("a/+", "a/b", True),
        ("a/b", "a/+", False),
        ("a/#", "a", True),
        ("a/#", "a/+/#", True),
        ("a/+/#", "a/#", False),
        ("+/+", "a", False),
        ("a/+", "a/#", False),
        ("#", "$SYS/a", False),
        ("a/b", "a/b", True),
    ],
)
def test_a_filter_that_brings_all_of_another_covers_it(
    one: str, other: str, all_of_it: bool
) -> None:
    assert covers(one, other) == all_of_it
