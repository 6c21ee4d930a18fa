import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from monitor.topics import MAX_NAME_BYTES, TopicMatch, TopicPattern, is_name
from tests.monitor.machines import many

PLACES = ("asset", "sensor", "line", "_")
names = st.text(min_size=1, max_size=8).filter(is_name)
literals = st.text(st.sampled_from("ab$ é-"), max_size=3)


@st.composite
def patterns(draw: st.DrawFn) -> TopicPattern:
    places = draw(st.lists(st.sampled_from(PLACES), max_size=3, unique=True))
    levels = [f"{{{name}}}" for name in places] + draw(st.lists(literals, min_size=1, max_size=3))
    text = "/".join(draw(st.permutations(levels)))
    assume(text and not text.startswith("$share/"))
    return TopicPattern.parse(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        ("$share/group/plant/{asset}", "is a shared subscription"),
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
    assume(pattern.names[0] is None or not values[pattern.names[0]].startswith("$"))
    match = pattern.match(pattern.build(values))
    asset = values["asset"] if pattern.has_asset else None
    sensor = values["sensor"] if pattern.has_sensor else None
    labels = (("line", values["line"]),) if "line" in pattern.names else ()
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
