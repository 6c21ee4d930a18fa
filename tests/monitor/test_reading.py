import json
import math
import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.frame import SECOND
from monitor import reading
from monitor.config import SensorConfig
from monitor.reading import MAX_SKEW, Message, MessageOutcome, Readings
from monitor.stream import Stream
from tests.monitor.machines import TODAY, detector, many, message, outcomes, stream


def read(of: Stream, *messages: Message) -> tuple[Readings, list[str], dict[tuple[str, str], int]]:
    """Readings, outcomes, and rejected readings by sensor and reason."""
    rejected: dict[tuple[str, str], int] = {}

    def reject(sensor: int, reason: str, count: int) -> None:
        key = of.sensors.names[sensor], reason
        rejected[key] = rejected.get(key, 0) + count

    found, outcome = of.reader.read(messages, reject)
    return found, [MessageOutcome(int(code)).label for code in outcome], rejected


def numbers(*topics: tuple[str, bytes], **config: Any) -> tuple[Stream, list[Message]]:
    """A stream whose topics name the sensor, and a message on each of some topics."""
    of = stream(
        detector(["x", "y"]),
        topic="plant/{line}/{asset}/{sensor}",
        payload="number",
        time=None,
        **config,
    )
    sent = [
        Message(topic, data, TODAY + n, retained=False) for n, (topic, data) in enumerate(topics)
    ]
    return of, sent


def test_a_message_becomes_a_row_of_its_asset_at_its_own_time() -> None:
    of = stream(detector(["x", "y"]))
    found, outcome, rejected = read(of, message(1.5, {"y": 2}), message(2, {"x": 1, "y": 3}, "p2"))
    assert outcome == ["accepted", "accepted"]
    assert of.assets.names == ["p1", "p2"]
    assert of.assets.labels == [(("line", "a"),)] * 2
    assert found.asset.tolist() == [0, 1]
    assert found.time.tolist() == [TODAY + 3 * SECOND // 2, TODAY + 2 * SECOND]
    np.testing.assert_equal(found.values, [[math.nan, 2.0], [1.0, 3.0]])
    assert found.message.tolist() == [0, 1]
    assert rejected == {}


def test_without_a_time_in_the_payload_arrival_is_the_time() -> None:
    of = stream(detector(), time=None)
    late = replace(message(5, 1.0), arrival=TODAY + 7)
    found, outcome, _ = read(of, late)
    assert found.time.tolist() == [TODAY + 7]
    assert outcome == ["accepted"]


@pytest.mark.parametrize(
    ("sensor", "value", "reading"),
    [
        (SensorConfig(path="x", scale=0.001), 1500, 1.5),
        (SensorConfig(path="x", scale=-2, offset=1), 3, -5.0),
        (SensorConfig(path="x", scale=5 / 9, offset=-160 / 9), 212, 100.0),
        (SensorConfig(path="x", min=0, max=50), 0, 0.0),
        (SensorConfig(path="x", min=0, max=50), 50, 50.0),
        (SensorConfig(path="x", scale=0.001, max=50), 49_999, 49.999),
    ],
)
def test_a_reading_is_value_times_scale_plus_offset_within_its_limits(
    sensor: SensorConfig, value: float, reading: float
) -> None:
    found, outcome, rejected = read(stream(detector(), sensors={"x": sensor}), message(0, value))
    assert found.values == pytest.approx(np.array([[reading]]), rel=1e-15)
    assert (outcome, rejected) == (["accepted"], {})


@pytest.mark.parametrize(
    ("sensor", "value", "reason"),
    [
        (SensorConfig(path="x", min=0), -1e-9, "out-of-range"),
        (SensorConfig(path="x", max=50), 50.001, "out-of-range"),
        (SensorConfig(path="x", scale=0.001, max=50), 51_000, "out-of-range"),
        (SensorConfig(path="x", scale=1e10), 1e300, "not-finite"),
        (SensorConfig(path="x", scale=1e10, max=50), 1e300, "not-finite"),
        (SensorConfig(path="x", scale=-1e10, min=0), 1e300, "not-finite"),
        (SensorConfig(path="x"), 10**400, "not-finite"),
        (SensorConfig(path="x"), None, "missing"),
        (SensorConfig(path="x"), True, "not-a-number"),
        (SensorConfig(path="x"), "1", "not-a-number"),
    ],
)
def test_a_field_that_is_no_reading_is_counted_by_reason_and_leaves_the_others(
    sensor: SensorConfig, value: object, reason: str
) -> None:
    of = stream(detector(["x", "y"]), sensors={"x": sensor, "y": SensorConfig(path="y")})
    found, outcome, rejected = read(of, message(0, {"x": value, "y": 2}))
    np.testing.assert_equal(found.values, [[math.nan, 2.0]])
    assert (outcome, rejected) == (["accepted"], {("x", reason): 1})

    _, outcome, rejected = read(of, message(0, {"x": value}), message(1, {"x": value}))
    assert (outcome, rejected) == (["no-sensor"] * 2, {("x", reason): 2})


@pytest.mark.parametrize(
    ("one", "outcome"),
    [
        (replace(message(0, 1.0), retained=True), "retained"),
        (replace(message(0, 1.0), payload=b" " * 65 * 1024), "too-large"),
        (replace(message(0, 1.0), payload=b" " * 64 * 1024), "malformed"),
        (message(0, 1.0, "p\n1"), "no-asset"),
        (message(0, 1.0, ""), "no-asset"),
        (message(0, 1.0, "p" * 129), "no-asset"),
        (message(0, 1.0, line="\u202ea"), "no-asset"),
        (message(0, 1.0, t=(TODAY + MAX_SKEW) / SECOND), "accepted"),
        (message(0, 1.0, t=(TODAY + MAX_SKEW) / SECOND + 0.001), "future"),
        (message(0, 1.0, t="2026-09-21"), "malformed"),
        (message(0, {"z": 1.0}), "no-sensor"),
        (message(0, {}), "no-sensor"),
    ],
)
def test_a_message_that_is_no_reading_says_why(one: Message, outcome: str) -> None:
    of = stream(detector())
    assert outcomes(of, [one]) == [outcome]
    assert len(of.assets.names) == (outcome == "accepted")


def test_a_retained_message_counts_where_the_stream_says_so() -> None:
    of = stream(detector(), accept_retained=True)
    assert outcomes(of, [replace(message(0, 1.0), retained=True)]) == ["accepted"]


def test_a_message_from_the_future_moves_nothing() -> None:
    of = stream(detector(), sensors={"x": SensorConfig(path="x", max=5)})
    assert outcomes(of, [message(0, 1.0)]) == ["accepted"]
    read_at = of.pipeline.board.read.copy()
    ahead = message(1, 9.0, t=TODAY / SECOND + 3600)
    assert outcomes(of, [ahead, replace(ahead, topic="plant/a/p2/telemetry")]) == ["future"] * 2
    np.testing.assert_equal(of.pipeline.board.read, read_at)
    assert of.assets.names == ["p1"]
    assert dict(of.books.rejected) == {(0, "future"): 2}
    assert outcomes(of, [message(1, 1.0), message(2, 1.0)]) == ["accepted"] * 2


REFUSED = message(0, {"x": None})
REASONS: dict[str, Message] = {
    "malformed": replace(REFUSED, payload=b"{"),
    "no-asset": message(0, {"x": None}, "p\n"),
    "ambiguous-asset": message(0, {"x": None}, line="b"),
    "asset-limit": message(0, {"x": None}, "p9"),
    "future": message(0, 1.0, t=TODAY / SECOND + 3600),
    "late": message(-60, 1.0),
    "duplicate": message(0, 1.0),
    "no-sensor": REFUSED,
}


def test_a_refused_message_counts_under_the_reason_alone() -> None:
    for reason, one in REASONS.items():
        of = stream(detector(), max_assets=1)
        of.take([message(0, 1.0)], TODAY)
        assert outcomes(of, [one]) == [reason]
        assert of.assets.names == ["p1"]


# Reasons of the topic and of the payload can be joined; what holds first in the contract's list
# counts.
@pytest.mark.parametrize("payload_of", ["malformed", "future", "late", "duplicate", "no-sensor"])
@pytest.mark.parametrize("topic_of", ["no-asset", "ambiguous-asset", "asset-limit"])
def test_of_two_reasons_the_first_of_the_contract_counts(topic_of: str, payload_of: str) -> None:
    of = stream(detector(), max_assets=1)
    of.take([message(0, 1.0)], TODAY)
    both = replace(REASONS[payload_of], topic=REASONS[topic_of].topic)
    order = list(REASONS)
    assert outcomes(of, [both]) == [min(topic_of, payload_of, key=order.index)]


def test_a_message_is_accepted_when_one_of_its_readings_is() -> None:
    of = stream(detector(["x", "y"]))
    assert outcomes(
        of,
        [
            message(0, {"x": 1}),
            message(0, {"x": 1}),
            message(0, {"x": 1, "y": None}),
            message(0, {"x": 1, "y": True}),
            message(0, {"x": 1, "y": 2}),
            message(0, {"x": 1, "y": 2}),
        ],
    ) == ["accepted", *["duplicate"] * 3, "accepted", "duplicate"]


def test_assets_beyond_the_limit_are_refused_and_not_remembered() -> None:
    of = stream(detector(), max_assets=3)
    flood = [message(0, 1.0, f"p{n}") for n in range(1000)]
    assert outcomes(of, flood) == ["accepted"] * 3 + ["asset-limit"] * 997
    assert of.assets.names == ["p0", "p1", "p2"]
    assert len(of.pipeline.board.state) <= 16
    assert outcomes(of, [message(1, 1.0, "p2"), message(1, 1.0, "p3")]) == [
        "accepted",
        "asset-limit",
    ]


@pytest.mark.parametrize(
    "bad",
    [{"x": None}, {"x": "1"}, {"x": 10**400}, {"x": 1e300}, {"z": 1}, {}],
    ids=str,
)
def test_only_a_good_reading_makes_an_asset(bad: dict[str, object]) -> None:
    of = stream(
        detector(), max_assets=1, sensors={"x": SensorConfig(path="x", scale=1e10, max=51e9)}
    )
    assert outcomes(of, [message(0, bad, "noise"), message(0, 1.0)]) == ["no-sensor", "accepted"]
    assert of.assets.names == ["p1"]


def sent(payload: bytes, second: float = 0) -> Message:
    """A message of p1 with a payload as it is."""
    return replace(message(second), payload=payload)


def test_a_sensor_that_is_out_of_its_range_from_the_start_is_told_of() -> None:
    of = stream(detector(), sensors={"x": SensorConfig(path="x", max=50)})
    far = [message(second, 51.0) for second in range(100)]
    told = [alert for one in far for alert in of.take([one], one.arrival)]
    assert of.books.outcomes[MessageOutcome.NO_SENSOR] == 100
    assert [(alert.asset, alert.kind, alert.step) for alert in told] == [
        ("p1", "out-of-range", "opened")
    ]


@pytest.mark.parametrize("ago", [17_000_000_000, 6_500_000_000, 2_000_000_000])
def test_a_relative_time_beyond_all_bounds_is_malformed(ago: int) -> None:
    of = stream(detector(), payload="senml", time=None)
    far = json.dumps([{"n": "x", "v": 1, "t": -ago}]).encode()
    assert outcomes(of, [sent(far), sent(b'[{"n": "x", "v": 1}]', 1)]) == ["malformed", "accepted"]


def test_samples_without_any_value_are_not_kept() -> None:
    of = stream(detector(), samples="[]")
    time = TODAY // SECOND
    payload = json.dumps([*({"t": time - n} for n in range(2000)), {"t": time, "x": 1.0}]).encode()
    found, outcome, _ = read(of, sent(payload))
    assert (len(found.asset), outcome) == (1, ["accepted"])


@pytest.mark.parametrize(
    ("payload", "data"),
    [
        ("json", b'{"x": 1, "time": "2020-01-01T00:00:00Z"}'),
        ("influx", b"pump x=1 1577836800000000000"),
        ("senml", b'[{"n": "x", "v": 1, "t": 1577836800}]'),
    ],
)
def test_readings_may_count_as_of_their_arrival_whatever_the_payload_says(
    payload: str, data: bytes
) -> None:
    one = sent(data, 7)
    found, _, _ = read(stream(detector(), payload=payload, time="arrival"), one)
    assert found.time.tolist() == [one.arrival]


def test_one_name_on_two_lines_is_ambiguous_and_the_first_keeps_it() -> None:
    of = stream(detector())
    sent = [message(0, 1.0), message(0, 2.0, line="b"), message(1, 1.0), message(2, 1.0, line="b")]
    assert outcomes(of, sent) == ["accepted", "ambiguous-asset", "accepted", "ambiguous-asset"]
    assert of.assets.labels == [(("line", "a"),)]


def test_levels_named_underscore_do_not_make_an_asset_ambiguous() -> None:
    of = stream(detector(), topic="plant/{_}/{asset}/telemetry")
    assert outcomes(of, [message(0, 1.0), message(1, 1.0, line="b")]) == ["accepted"] * 2
    assert of.assets.labels == [()]


def test_labels_keep_the_order_of_the_topic() -> None:
    of = stream(detector(), topic="{site}/{line}/{asset}/{_}")
    of.take([message(0, 1.0)], TODAY)
    assert of.assets.labels == [(("site", "plant"), ("line", "a"))]


def test_a_topic_of_its_own_per_sensor_fills_that_sensor_alone() -> None:
    of, sent = numbers(("plant/a/p1/y", b"2"), ("plant/a/p1/x", b"1"))
    found, outcome, _ = read(of, *sent)
    np.testing.assert_equal(found.values, [[math.nan, 2.0], [1.0, math.nan]])
    assert found.asset.tolist() == [0, 0]
    assert outcome == ["accepted"] * 2


def test_a_topic_of_an_unknown_sensor_makes_no_asset() -> None:
    of, sent = numbers(
        ("plant/a/p1/z", b"1"), ("plant/a/p1/z", b"x"), ("plant/a/p1/x", b"1e400"), max_assets=1
    )
    _, outcome, rejected = read(of, *sent)
    assert outcome == ["no-sensor", "no-sensor", "no-sensor"]
    assert rejected == {("x", "not-finite"): 1}
    assert of.assets.names == []

    _, sent = numbers(("plant/a/p1/x", b"1"), ("plant/b/p1/z", b"1"), ("plant/a/p2/z", b"1"))
    assert read(of, *sent)[1] == ["accepted", "ambiguous-asset", "asset-limit"]


def test_what_is_remembered_of_topics_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LARGEST_CACHE", 10)
    of = stream(detector(), topic="plant/{_}/{asset}/telemetry")
    sent = [message(n, 1.0, f"p{n % 3}", line=f"{n}") for n in range(100)]
    sent += [message(n, 1.0, line="l" * 60_000) for n in range(100, 102)]
    assert outcomes(of, sent) == ["accepted"] * 102
    assert 0 < len(of.reader._senders) <= 10
    assert max(map(len, of.reader._senders)) < 1000


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"{", r"the payload is no JSON \(Input data was truncated\)"),
        (b"[" * 9999, r"the payload is nested too deeply"),
        (b"{}", r"the payload has no time at t"),
        (b'{"t": "today"}', r"the payload has no time at t; wanted ISO 8601 with an offset, or .*"),
    ],
)
def test_a_malformed_message_is_explained_without_its_payload(payload: bytes, words: str) -> None:
    said: list[str] = []
    one = replace(message(0), payload=payload)
    stream(detector()).reader.read([one], lambda sensor, reason, count: None, said.append)
    assert [bool(re.fullmatch(words, one)) for one in said] == [True]


def test_whatever_a_format_raises_the_next_message_is_read() -> None:
    of = stream(detector())
    (source,) = of.reader._sources

    def fragile(payload: bytes, topic: str) -> Any:
        if payload == b"bomb":
            raise KeyError(payload)
        return source.decode(payload, topic)

    of.reader._sources = (replace(source, decode=fragile),)
    said: list[str] = []
    sent = [replace(message(0), payload=b"bomb"), message(0, 1.0)]
    found, outcome = of.reader.read(sent, lambda sensor, reason, count: None, said.append)
    assert outcome.tolist() == [MessageOutcome.MALFORMED, MessageOutcome.ACCEPTED]
    assert len(found.asset) == 1
    assert said == ["the payload could not be read (KeyError)"]


senders = st.sampled_from(["p1", "p2", "p3", "p\n"])
lines = st.sampled_from(["a", "b"])
values = st.sampled_from([1.0, 2.0, 99.0, 1e999, None, "1"])


@many
@given(
    st.lists(st.tuples(senders, lines, values, st.sampled_from([0, 1, 90])), max_size=12),
    st.lists(st.integers(0, 12), max_size=3),
)
def test_what_a_message_becomes_does_not_depend_on_its_batch(
    drawn: list[tuple[str, str, object, int]], edges: list[int]
) -> None:
    sent = [
        message(n, {"x": value}, asset, line=line, t=TODAY / SECOND + n + ahead)
        for n, (asset, line, value, ahead) in enumerate(drawn)
    ]
    limits = {"x": SensorConfig(path="x", max=50)}
    whole, cut = (stream(detector(), sensors=limits, max_assets=2) for _ in range(2))
    found, outcome, rejected = read(whole, *sent)

    places = [0, *sorted(min(edge, len(sent)) for edge in edges), len(sent)]
    parts = [read(cut, *sent[start:end]) for start, end in pairwise(places)]
    assert [label for _, labels, _ in parts for label in labels] == outcome
    assert cut.assets.names == whole.assets.names
    for name in ("asset", "time", "values"):
        together = np.concatenate([getattr(part, name) for part, _, _ in parts])
        np.testing.assert_equal(together, getattr(found, name))
    counts = [part for _, _, part in parts]
    assert {key: sum(part.get(key, 0) for part in counts) for key in rejected} == rejected
