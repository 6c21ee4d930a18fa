"""Whatever comes on a topic, no exception escapes, and every message has exactly one outcome."""

import gzip
import json
import random
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from models.frame import SECOND
from monitor.config import AlertsConfig, StreamConfig
from monitor.payloads import FORMATS, Field, Layout
from monitor.payloads.sample import MalformedError, Sample
from monitor.payloads.sparkplug import _payload_class
from monitor.payloads.stamp import clock
from monitor.reading import Message, MessageOutcome
from monitor.stream import Stream
from tests.monitor.machines import TODAY, detector

Random = random.Random
Make = Callable[[Random, int], tuple[str, bytes]]

LIMITED = {"path": "x", "min": -1e6, "max": 1e6}
DEEP = {"path": "deep.y[id=b].v"}
FLAT = {"x": LIMITED, "y": {"path": "y"}}


def asset(rng: Random) -> str:
    return rng.choice(("p1", "p2", "p\n", ""))


def value(rng: Random) -> float:
    return rng.choice((1.5, -3.0, 0.0, 1e300, 7.0))


def seconds(n: int) -> float:
    return TODAY // SECOND + n // 4


def document(rng: Random, n: int) -> dict[str, Any]:
    found: dict[str, Any] = {"t": seconds(n), "deep": {"y": [{"id": rng.choice("abc"), "v": 1.5}]}}
    return found | ({"x": value(rng), "y": value(rng)} if n % 3 else {})


def json_object(rng: Random, n: int) -> tuple[str, bytes]:
    data = json.dumps(document(rng, n)).encode()
    return f"plant/a/{asset(rng)}", gzip.compress(data) if n % 50 == 0 else data


def json_list(rng: Random, n: int) -> tuple[str, bytes]:
    items = [
        {"n": rng.choice("xyz"), "v": value(rng), "t": seconds(n) + i, "id": rng.choice("pq")}
        for i in range(rng.randint(0, 4))
    ]
    return "plant/a/gateway", json.dumps({"s": items, "t": seconds(n)}).encode()


def number(rng: Random, n: int) -> tuple[str, bytes]:
    text = rng.choice((repr(value(rng)), "ON", "nan", "unavailable"))
    return f"plant/a/{asset(rng)}/{rng.choice(('x', 'y', 'z', 'x/y'))}", text.encode()


def csv(rng: Random, n: int) -> tuple[str, bytes]:
    lines = [f'{seconds(n) + i},{value(rng)},"{value(rng)}"' for i in range(rng.randint(1, 3))]
    return f"plant/a/{asset(rng)}", "\r\n".join(lines).encode()


def senml(rng: Random, n: int) -> tuple[str, bytes]:
    pack: list[dict[str, Any]] = [{"bn": "", "bt": seconds(n), "n": "x", "v": value(rng)}]
    times = (0, 1, 2, 3, -17_000_000_000, -2_000_000_000, 17_000_000_000)
    pack += [
        {"n": rng.choice("xyz"), "t": rng.choice(times), "v": value(rng)}
        for _ in range(rng.randint(0, 3))
    ]
    pack += [{"n": "y", "vb": True}] * (n % 2)
    return f"plant/a/{asset(rng)}", json.dumps(pack).encode()


def influx(rng: Random, n: int) -> tuple[str, bytes]:
    name = rng.choice(("p1", "p2", "p\\ 3", ""))
    lines = [
        f'm,host={name} x={value(rng)},y={rng.randint(-9, 9)}i,s="a\\" b" {TODAY + n * SECOND}'
        for _ in range(rng.randint(1, 3))
    ]
    return "influx", "\n".join(lines).encode()


def msgpack(rng: Random, n: int) -> tuple[str, bytes]:
    return f"plant/a/{asset(rng)}", msgspec.msgpack.encode(document(rng, n))


def sparkplug(rng: Random, n: int) -> tuple[str, bytes]:
    kind = rng.choice(("BIRTH", "DATA", "DATA", "DATA", "DATA", "DEATH"))
    message = _payload_class()(timestamp=int(seconds(n) * 1000), seq=n % 256)
    for alias, name in enumerate(("x", "y", "z")):
        one = message.metrics.add(alias=alias, datatype=10, double_value=value(rng))
        if kind == "BIRTH":
            one.name = name
    device = rng.choice(("", "", "/p1"))
    where = f"spBv1.0/a/{'D' if device else 'N'}{kind}/node{device}"
    return where, message.SerializeToString()


LINE = {"topic": "plant/{line}/{asset}"}
CASES: dict[str, tuple[dict[str, Any], Make]] = {
    "json": (LINE | {"time": "t", "sensors": {"x": LIMITED, "y": DEEP}}, json_object),
    "flat": (LINE | {"time": "t", "sensors": FLAT}, json_object),
    "untimed": (LINE | {"sensors": FLAT}, json_object),
    "lenient": (LINE | {"time": "t", "lenient_json": True, "sensors": FLAT}, json_object),
    "counter": (LINE | {"time": "t", "sensors": FLAT | {"y": {"counter": True}}}, json_object),
    "items": (
        {
            "topic": "plant/{line}/{_}",
            "asset": "id",
            "samples": "s",
            "time": "t",
            "sensor": "n",
            "value": "v",
            "sensors": {"x": "x", "y": "y"},
        },
        json_list,
    ),
    "number": (
        {
            "topic": "plant/{line}/{asset}/{sensor#}",
            "payload": "number",
            "sensors": {"x": LIMITED, "y": {"values": {"ON": 1}}},
        },
        number,
    ),
    "csv": (
        LINE
        | {
            "payload": "csv",
            "time": "[0]",
            "sensors": {"x": LIMITED | {"path": "[1]"}, "y": "[2]"},
        },
        csv,
    ),
    "senml": (LINE | {"payload": "senml", "sensors": {"x": LIMITED, "y": {"values": {}}}}, senml),
    "influx": (
        {"topic": "influx", "asset": "host", "payload": "influx", "sensors": FLAT},
        influx,
    ),
    "msgpack": (LINE | {"payload": "msgpack", "time": "t", "sensors": FLAT}, msgpack),
    "sparkplug": ({"payload": "sparkplug", "sensors": FLAT}, sparkplug),
}
TOKENS = [
    *(b"NaN", b"-Infinity", b"1e400", b"9" * 400, b"[" * 5000, b"\\ud800", b'"', b"null"),
    *(b"true", b"{", b"}", b",", b":", b"=", b" ", b"\n", b"\x00", b"\xff", b"\xef\xbb\xbf"),
    *(b"-", b"e9", b"t", b"\x1f\x8b", b"\x28\xb5\x2f\xfd"),
]


def mutated(payload: bytes, rng: Random) -> bytes:
    """A payload a few random steps from a good one."""
    for _ in range(rng.choice((0, 0, 0, 1, 1, 2, 3, 8))):
        at = rng.randint(0, len(payload))
        to = min(len(payload), at + rng.choice((0, 1, 1, 4, 40)))
        match rng.randint(0, 4):
            case 0:
                payload = payload[:at] + rng.choice(TOKENS) + payload[to:]
            case 1:
                payload = payload[:at] + rng.randbytes(to - at) + payload[to:]
            case 2:
                payload = payload[:at] + payload[to:]
            case 3:
                payload = payload[:to] + payload[at:]
            case _:
                payload = payload[:at]
    return payload


def grown(rng: Random, depth: int = 0) -> object:
    """A value of JSON's grammar, with keys that the streams read among others."""
    match rng.randint(0, 9 if depth < 4 else 6):
        case 0:
            return None
        case 1:
            return rng.random() < 0.5
        case 2:
            return rng.choice(("", "nan", "1.5", "x", "ON", "2026-09-21T14:13:20Z", "\ud7ff", "p1"))
        case 3:
            return rng.choice((0, -1, 2**53 + 1, 2**64, 10**400, 1_790_000_000))
        case 4 | 5 | 6:
            return rng.choice((0.0, -0.0, 1.5, 1e308, 5e-324, 1_790_000_000.25))
        case 7:
            return [grown(rng, depth + 1) for _ in range(rng.randint(0, 4))]
        case _:
            keys = ("x", "y", "t", "n", "v", "s", "id", "deep", "bn", "bt", "vb", "host", "z")
            return {rng.choice(keys): grown(rng, depth + 1) for _ in range(rng.randint(0, 6))}


def put_through(name: str, make: Make, count: int) -> tuple[Stream, list[str]]:
    """Give a stream so many messages; return it, and what it said of those it refused."""
    keys, _ = CASES[name]
    config = StreamConfig.model_validate({"name": "pumps", "max_payload": 4096} | keys)
    stream = Stream(config, AlertsConfig(), {None: detector(["x", "y"])})
    explainer = Stream(config, AlertsConfig(), {None: detector(["x", "y"])})
    rng = Random(name)
    words: list[str] = []
    for start in range(0, count, 100):
        batch: list[Message] = []
        for n in range(start, start + 100):
            topic, payload = make(rng, n)
            arrival = TODAY + n // 4 * SECOND + rng.choice((0, 1, -120)) * SECOND
            batch.append(Message(topic, payload, arrival, retained=rng.random() < 0.01))
        found, outcome = explainer.reader.read(batch, lambda sensor, reason, n: None, words.append)
        accepted = np.flatnonzero(outcome == MessageOutcome.ACCEPTED)
        assert sorted({*found.message.tolist()}) == accepted.tolist()
        assert not np.isinf(found.values).any()
        assert not np.isnan(found.values).all(axis=1).any()
        stream.take(batch, max(one.arrival for one in batch))
        assert stream.books.received == start + 100 == stream.books.outcomes.sum()
    return stream, words


def check_mutated(name: str, count: int) -> None:
    make = CASES[name][1]

    def mutant(rng: Random, n: int) -> tuple[str, bytes]:
        topic, payload = make(rng, n)
        return topic, mutated(payload, rng)

    stream, words = put_through(name, mutant, count)
    # A format says itself what it cannot read; the reader's net stays empty.
    assert not [word for word in words if "could not be read" in word]
    seen = {one.label for one in MessageOutcome if stream.books.outcomes[one]}
    assert seen >= {"accepted", "malformed", "no-sensor", "too-large", "retained"}


@pytest.mark.parametrize("name", CASES)
def test_every_mutated_message_has_exactly_one_outcome(name: str) -> None:
    check_mutated(name, 4_200)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", CASES)
def test_a_million_mutated_messages_have_exactly_one_outcome_each(name: str) -> None:
    check_mutated(name, 84_000)


@pytest.mark.parametrize("name", CASES)
def test_every_message_made_by_a_grammar_has_exactly_one_outcome(name: str) -> None:
    topic_of = CASES[name][1]

    def made(rng: Random, n: int) -> tuple[str, bytes]:
        topic, _ = topic_of(rng, n)
        tree = grown(rng)
        if name == "msgpack":
            try:
                return topic, msgspec.msgpack.encode(tree)
            except OverflowError:
                return topic, b"\xc0"
        return topic, json.dumps(tree, ensure_ascii=n % 2 == 0).encode()

    _, words = put_through(name, made, 900)
    assert not [word for word in words if "could not be read" in word]


def test_the_fast_way_through_flat_json_gives_what_the_other_gives() -> None:
    def decoder(values: dict[str, float]) -> Callable[[bytes], list[Sample] | None]:
        fields = (Field(0, "x", values=values), Field(1, "y"))
        decode = FORMATS["json"](Layout(2, fields, time="t", clock=clock()))

        def read(payload: bytes) -> list[Sample] | None:
            try:
                return decode(payload, "")
            except MalformedError:
                return None

        return read

    fast, slow = decoder({}), decoder({"a word": 1.0})  # words are not for the fast way
    rng = Random(7)
    equal = 0
    for n in range(5_000):
        tree = json.dumps(grown(rng)).encode()
        payload = mutated(json_object(rng, 3 * n + 1)[1], rng) if n % 2 else tree
        wanted = slow(payload)
        if wanted is not None:  # else there may be broken text under a key that is not ours
            assert repr(fast(payload)) == repr(wanted)
            equal += not np.isnan(wanted[0].values).all()
    assert equal > 500
