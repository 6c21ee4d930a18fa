"""Sparkplug B: what births, data and deaths of nodes and devices mean."""

import math
import sys
from typing import Any

import pytest

from models.frame import SECOND
from monitor.config import AlertsConfig, StreamConfig
from monitor.errors import PartMissing
from monitor.payloads import sparkplug as make
from monitor.payloads.sample import Decoder, Field, Layout, MalformedError
from monitor.payloads.sparkplug import _payload_class
from monitor.stream import Stream
from tests.monitor.machines import TODAY

TYPES = {"int8": 1, "int16": 2, "int32": 3, "int64": 4, "uint32": 7, "float": 9, "boolean": 11}


def payload(*metrics: dict[str, Any], seq: int | None = 0, at: int = TODAY) -> bytes:
    message = _payload_class()(timestamp=at // 10**6)
    if seq is not None:
        message.seq = seq
    for metric in metrics:
        message.metrics.add(**metric)
    return message.SerializeToString()


def decoder() -> Decoder:
    return make(Layout(2, (Field(0, "x"), Field(1, "Motor/y", values={"true": 1.0}))))


def topic(kind: str, node: str = "n", *device: str) -> str:
    return "/".join(("spBv1.0", "g", kind, node, *device))


BIRTH = payload(
    {"name": "x", "alias": 1, "datatype": 10, "double_value": 1.5},
    {"name": "Motor/y", "alias": 2, "datatype": 3, "int_value": 2},
)


def values(decode: Decoder, data: bytes, on: str) -> list[list[float | None]]:
    return [
        [None if math.isnan(one) else one for one in sample.values] for sample in decode(data, on)
    ]


def test_a_birth_gives_readings_and_names_the_aliases_of_what_follows() -> None:
    decode = decoder()
    assert values(decode, BIRTH, topic("NBIRTH")) == [[1.5, 2.0]]
    data = payload({"alias": 2, "int_value": 7}, {"name": "x", "float_value": 0.5}, seq=1)
    (sample,) = decode(data, topic("NDATA"))
    assert (sample.values, sample.time, sample.lost) == ([0.5, 7.0], TODAY, 0)


def test_metrics_of_other_times_are_samples_of_their_own() -> None:
    decode = decoder()
    decode(BIRTH, topic("NBIRTH"))
    older = TODAY // 10**6 - 2000
    data = payload(
        {"alias": 1, "double_value": 1, "timestamp": older, "is_historical": True},
        {"alias": 1, "double_value": 2},
        seq=1,
    )
    found = decode(data, topic("NDATA"))
    assert [(one.time, one.values[0]) for one in found] == [(TODAY - 2 * SECOND, 1.0), (TODAY, 2.0)]


@pytest.mark.parametrize(
    ("kind", "value", "number"),
    [
        ("int8", {"int_value": 0xFF}, -1.0),
        ("int8", {"int_value": 2**32 - 2}, -2.0),
        ("int16", {"int_value": 0x8000}, -32768.0),
        ("int32", {"int_value": 2**32 - 3}, -3.0),
        ("int64", {"long_value": 2**64 - 4}, -4.0),
        ("uint32", {"int_value": 2**32 - 1}, 4294967295.0),
        ("float", {"float_value": 0.5}, 0.5),
        ("boolean", {"boolean_value": True}, 1.0),
    ],
)
def test_a_metric_is_a_number_of_the_type_its_birth_named(
    kind: str, value: dict[str, Any], number: float
) -> None:
    decode = decoder()
    birth = {"name": "Motor/y", "alias": 9, "datatype": TYPES[kind], "is_null": True}
    (sample,) = decode(payload(birth), topic("NBIRTH"))
    assert sample.rejected == ((1, "missing"),)
    assert values(decode, payload({"alias": 9, **value}, seq=1), topic("NDATA")) == [[None, number]]


def test_what_is_no_number_is_no_reading() -> None:
    decode = decoder()
    for value in ({"string_value": "1"}, {"bytes_value": b"1"}, {"float_value": math.nan}):
        (sample,) = decode(payload({"name": "x", **value}), topic("NBIRTH"))
        reason = "missing" if "float_value" in value else "not-a-number"
        assert sample.rejected == ((0, reason),)


@pytest.mark.parametrize("born", [False, True])
def test_without_a_birth_metrics_are_read_by_their_names(born: bool) -> None:
    decode = decoder()
    if born:
        decode(BIRTH, topic("NBIRTH", "n"))
    named = payload({"name": "x", "double_value": 3}, {"name": "z", "double_value": 4}, seq=None)
    for where in (topic("NDATA", "other"), topic("DDATA", "n", "d")):
        (sample,) = decode(named, where)
        assert (sample.values[0], sample.time) == (3.0, TODAY)
    (sample,) = decode(payload({"name": "x", "int_value": 2**32 - 3}), topic("DDATA", "n", "d"))
    assert sample.rejected == ((0, "not-a-number"),)  # -3, or 4294967293: nobody has said
    typed = payload({"name": "x", "datatype": 3, "int_value": 2**32 - 3})
    assert values(decode, typed, topic("DDATA", "n", "d")) == [[-3.0, None]]


def test_an_alias_that_no_birth_has_named_is_malformed() -> None:
    decode = decoder()
    by_alias = payload({"alias": 1, "double_value": 3})
    strange = payload({"alias": 77, "int_value": 1})
    with pytest.raises(MalformedError, match="the alias 1, which no birth has named"):
        decode(by_alias, topic("NDATA"))
    decode(BIRTH, topic("NBIRTH"))
    for data, where in (
        (by_alias, topic("NDATA", "other")),
        (by_alias, topic("DDATA", "n", "d")),
        (strange, topic("NDATA")),
    ):
        with pytest.raises(MalformedError, match="which no birth has named"):
            decode(data, where)
    both = payload({"alias": 77, "int_value": 1}, {"alias": 1, "double_value": 3})
    assert values(decode, both, topic("NDATA")) == [[3.0, None]]


def test_a_devices_birth_counts_without_that_of_its_node() -> None:
    decode = decoder()
    data = payload({"alias": 1, "double_value": 3}, seq=1)
    assert values(decode, BIRTH, topic("DBIRTH", "n", "d")) == [[1.5, 2.0]]
    assert values(decode, data, topic("DDATA", "n", "d")) == [[3.0, None]]


def test_what_nodes_without_a_birth_send_is_not_kept() -> None:
    decode = decoder()
    own = getattr(decode, "__self__")  # noqa: B009
    for n in range(50):
        decode(payload({"name": f"m{n}", "alias": n, "int_value": 1}), topic("NDATA", f"n{n}"))
        decode(payload({"name": f"m{n}", "alias": n}), topic("DDATA", f"n{n}", f"d{n}"))
    assert (own._size, own._nodes) == (0, {})


@pytest.mark.parametrize(
    ("of_birth", "of_death", "buried"),
    [(2, 1, False), (2, 2, True), (2, None, True), (None, 1, True), (0, 255, False)],
)
def test_only_the_death_of_its_own_birth_ends_a_node(
    of_birth: int | None, of_death: int | None, buried: bool
) -> None:
    def number(of: int | None) -> list[dict[str, Any]]:
        return [] if of is None else [{"name": "bdSeq", "datatype": 8, "long_value": of}]

    decode = decoder()
    birth = payload({"name": "x", "alias": 1, "double_value": 1}, *number(of_birth))
    data = payload({"alias": 1, "double_value": 3}, seq=None)
    decode(birth, topic("NBIRTH"))
    decode(payload(*number(of_death), seq=None), topic("NDEATH"))
    if buried:
        with pytest.raises(MalformedError):
            decode(data, topic("NDATA"))
    else:
        assert values(decode, data, topic("NDATA")) == [[3.0, None]]


def test_a_death_ends_what_a_birth_began() -> None:
    decode = decoder()
    data = payload({"alias": 1, "double_value": 3}, seq=None)
    decode(BIRTH, topic("NBIRTH"))
    decode(BIRTH, topic("DBIRTH", "n", "d"))
    assert values(decode, data, topic("DDATA", "n", "d")) == [[3.0, None]]
    decode(payload(seq=None), topic("DDEATH", "n", "d"))
    with pytest.raises(MalformedError):
        decode(data, topic("DDATA", "n", "d"))
    assert values(decode, data, topic("NDATA")) == [[3.0, None]]
    decode(payload(seq=None), topic("NDEATH"))
    decode(payload(seq=None), topic("NDEATH"))
    with pytest.raises(MalformedError):
        decode(data, topic("NDATA"))


def test_a_gap_in_the_sequence_of_a_node_and_its_devices_counts_as_lost() -> None:
    decode = decoder()
    lost: list[int] = []
    steps = [("NBIRTH", 0), ("DBIRTH", 1), ("NDATA", 2), ("DDATA", 5), ("NDATA", 6), ("DDATA", 6)]
    steps += [("DDATA", 4), ("NDATA", 100), ("NDATA", 0), ("DDEATH", 2), ("NBIRTH", 0)]
    for kind, seq in steps:
        device = ("d",) if kind.startswith("D") else ()
        found = decode(payload({"name": "x", "int_value": 1}, seq=seq), topic(kind, "n", *device))
        lost.append(sum(one.lost for one in found))
    # 6 again is a repetition, and 4 after 6 comes late.
    assert lost == [0, 0, 0, 2, 0, 0, 0, 93, 155, 1, 0]


@pytest.mark.parametrize(
    "where",
    [
        *("spBv1.0/g/NDATA", "spBv1.0/g/NDATA/n/d", "spBv1.0/g/DDATA/n", "a/b/c/d"),
        *("spBv1.0/g/NCMD/n/d", "spBv1.0/g/DCMD/n", "spBv1.0/g/XCMD/n", "spBv1.0/g/NFOO/n"),
        *("spBv1.0/STATE", "STATE/host"),
    ],
)
def test_other_topics_are_no_data(where: str) -> None:
    with pytest.raises(MalformedError, match="came on no topic of Sparkplug B data"):
        decoder()(BIRTH, where)


@pytest.mark.parametrize("where", ["spBv1.0/g/NCMD/n", "spBv1.0/g/DCMD/n/d", "spBv1.0/STATE/host"])
@pytest.mark.parametrize("data", [BIRTH, b'{"online": true, "timestamp": 1}', b""])
def test_commands_and_states_hold_nothing_of_ours(where: str, data: bytes) -> None:
    assert values(decoder(), data, where) == [[None, None]]


@pytest.mark.parametrize("data", [b"\x0a", b"\xff", b"{}", b"\x12\x01\x0a"])
def test_what_is_no_protobuf_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError, match=r"is no Sparkplug B \(DecodeError\)"):
        decoder()(data, topic("NBIRTH"))


def test_what_is_kept_of_births_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[make.__module__], "MOST_METRICS", 100)
    decode = decoder()
    own = getattr(decode, "__self__")  # noqa: B009
    for n in range(300):
        decode(BIRTH, topic("NBIRTH", f"n{n}"))
        assert own._size == sum(map(len, own._nodes.values())) <= 100
    for n in range(300):
        node = "n299" if "n299" in {key[1] for key in own._nodes} else "again"
        if node == "again":
            decode(BIRTH, topic("NBIRTH", node))
        decode(payload(), topic("DBIRTH", node, f"d{n}"))
        assert own._size == sum(map(len, own._nodes.values())) <= 100


def test_without_protobuf_a_stream_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    _payload_class.cache_clear()
    monkeypatch.setitem(sys.modules, "google.protobuf", None)
    config = StreamConfig.model_validate(
        {"name": "lines", "payload": "sparkplug", "sensors": {"x": "x"}}
    )
    with pytest.raises(PartMissing, match=r'stream "lines" .*sensor-monitor\[sparkplug\]'):
        Stream(config, AlertsConfig(), {})


def test_what_was_lost_before_a_refused_message_is_told_with_the_next() -> None:
    decode = decoder()
    decode(payload({"name": "x", "double_value": 1.0}, seq=0), topic("NBIRTH"))
    with pytest.raises(MalformedError, match="alias"):
        decode(payload({"alias": 7, "double_value": 1.0}, seq=4), topic("DDATA", "n", "d"))
    samples = decode(payload({"name": "x", "double_value": 2.0}, seq=5), topic("NDATA"))
    assert sum(sample.lost for sample in samples) == 3
