"""Known answers of the formats, from the documents that define them."""

import gzip
import json
import math
import tracemalloc
import zlib
from typing import Any

import msgspec
import pytest

from models.frame import SECOND
from models.recording import timestamp_ns
from monitor.config import AlertsConfig, StreamConfig
from monitor.payloads import FORMATS, Decoder, Field, Layout
from monitor.payloads.packed import GZIP, ZSTD, _library, unpacked
from monitor.payloads.sample import MOST_SAMPLES, MalformedError, Sample, TooLargeError
from monitor.payloads.stamp import TimeUnit, clock
from monitor.reading import Message
from monitor.stream import Stream
from tests.monitor.machines import TODAY, outcomes

XY = (Field(0, "x"), Field(1, "y"))


def decoder(form: str, *paths: str, **layout: Any) -> Decoder:
    fields = tuple(Field(column, path) for column, path in enumerate(paths))
    return FORMATS[form](Layout(len(paths), fields, **layout))


def rows(samples: list[Sample]) -> list[tuple[int | None, dict[int, float]]]:
    """Time, and values by column, of each sample."""
    return [
        (one.time, {i: v for i, v in enumerate(one.values) if not math.isnan(v)}) for one in samples
    ]


# SenML: RFC 8428


def test_senml_resolves_base_values_and_joins_records_of_one_time() -> None:
    # RFC 8428, section 5.1.3, "Multiple Data Points", and what 5.1.4 makes of it
    pack = """[
      {"bn":"urn:dev:ow:10e2073a0108006:","bt":1.276020076001e+09,
       "bu":"A","bver":5,
       "n":"voltage","u":"V","v":120.1},
      {"n":"current","t":-5,"v":1.2},
      {"n":"current","t":-4,"v":1.3},
      {"n":"current","t":-3,"v":1.4},
      {"n":"current","t":-2,"v":1.5},
      {"n":"current","t":-1,"v":1.6},
      {"n":"current","v":1.7}
    ]"""
    base = "urn:dev:ow:10e2073a0108006:"
    found = decoder("senml", f"{base}voltage", f"{base}current")(pack.encode(), "")
    now = 1276020076 * SECOND + 1_000_000
    assert rows(found) == [
        (now, {0: 120.1, 1: 1.7}),
        *(
            (now - ago * SECOND, {1: v})
            for ago, v in zip(range(5, 0, -1), (1.2, 1.3, 1.4, 1.5, 1.6), strict=True)
        ),
    ]


def test_senml_names_asset_and_sensor_by_the_two_parts_of_the_name() -> None:
    # RFC 8428, section 5.1.5
    pack = """[
      {"bn":"urn:dev:ow:10e2073a01080063:","bt":1.320067464e+09,"bu":"%RH","v":20},
      {"u":"lon","v":24.30621},
      {"u":"lat","v":60.07965},
      {"t":60,"v":20.3},
      {"n":"temp","t":60,"u":"Cel","v":18.7}
    ]"""
    decode = decoder("senml", "temp", sensor="name", asset=("bn",))
    stamped = [one for one in decode(pack.encode(), "") if not math.isnan(one.values[0])]
    assert rows(stamped) == [((1320067464 + 60) * SECOND, {0: 18.7})]
    assert stamped[0].asset == ("urn:dev:ow:10e2073a01080063:",)


def test_senml_has_values_that_are_no_numbers() -> None:
    # RFC 8428, section 5.1.4, "Multiple Data Types"
    pack = """[
      {"bn":"urn:dev:ow:10e2073a01080063:","n":"temp","u":"Cel","v":23.1},
      {"n":"label","vs":"Machine Room"},
      {"n":"open","vb":false},
      {"n":"nfc-reader","vd":"aGkgCg"}
    ]"""
    base = "urn:dev:ow:10e2073a01080063:"
    fields = (
        Field(0, f"{base}temp"),
        Field(1, f"{base}label"),
        Field(2, f"{base}open", values={"false": 0.0}),
    )
    (sample,) = FORMATS["senml"](Layout(3, fields))(pack.encode(), "")
    assert rows([sample]) == [(None, {0: 23.1, 2: 0.0})]
    assert sample.rejected == ((1, "not-a-number"),)


def test_a_small_time_of_senml_counts_from_the_arrival() -> None:
    decode = decoder("senml", "x")
    for record, ago in (({"t": -2.5}, 2.5), ({"t": 0}, 0), ({}, 0), ({"bt": -1, "t": -1}, 2)):
        (sample,) = decode(json.dumps([{"n": "x", "v": 1} | record]).encode(), "")
        assert (sample.time, sample.ago) == (None, round(ago * SECOND))


def test_base_value_and_sum_of_senml_are_added() -> None:
    pack = b'[{"bn":"x","bv":10,"v":1,"bs":5,"s":2}]'
    assert rows(decoder("senml", "x")(pack, "")) == [(None, {0: 11.0})]
    assert rows(decoder("senml", "x", value="s")(pack, "")) == [(None, {0: 7.0})]
    assert rows(decoder("senml", "x")(b'[{"bn":"x","bv":10,"vs":"on"}]', "")) == [(None, {})]


@pytest.mark.parametrize(
    ("pack", "why"),
    [
        (b"{}", "is no SenML"),
        (b"[1]", "is no SenML"),
        (b'[{"n":1}]', "n is no text"),
        (b'[{"n":"x","v":"1"}]', "v is no number"),
        (b'[{"n":"x","v":true}]', "v is no number"),
        (b'[{"n":"x","v":1,"bver":11}]', "of a version after 10"),
        (b'[{"n":"x","v":1,"new_":1}]', "with new_, which must be understood"),
        (b'[{"n":"x","v":1,"t":1e300}]', "out of all bounds"),
        (b'[{"n":"x","v":1,"t":4102444800}]', "between the years 1970 and 2100"),
        (b'[{"n":"x","v":1' + b"0" * 400 + b"}]", "too many digits"),
        (b"[" * 100_000, "nested too deeply|is no SenML"),
    ],
    ids=lambda one: repr(one)[:40],
)
def test_what_is_no_senml_is_malformed(pack: bytes, why: str) -> None:
    with pytest.raises(MalformedError, match=why):
        decoder("senml", "x")(pack, "")


# InfluxDB's line protocol: the examples of its reference


@pytest.mark.parametrize(
    ("line", "path", "value"),
    [
        ('myMeasurement,tag1=value1,tag2=value2 fieldKey="fieldValue",n=1 1556813561', "n", 1.0),
        ("weather,location=us-midwest temperature=82 1465839830100400200", "temperature", 82.0),
        ("weather,location=us-midwest temperature=82,humidity=71i", "weather.humidity", 71.0),
        ("my\\ Measurement fieldKey=1u", "my Measurement.fieldKey", 1.0),
        ("my\\,Measurement f\\ k=-1.234456e+78", "f k", -1.234456e78),
        ("m,tag\\ Key1=tag\\ Value1,tag\\,Key2=a\\=b field\\=Key=.5", "field=Key", 0.5),
        ('m s="a \\"quoted\\", b=9 \\\\",x=2', "x", 2.0),
        ('m s="two\nlines",x=3 1\nm x=4 2', "x", 3.0),
        ("# a comment\n\n  m x=5\r\n", "x", 5.0),
        ("m,x=1 x=6", "x", 6.0),
        ("m\\x,t=a\\b x=7", "m\\x.x", 7.0),
    ],
)  # fmt: skip
def test_a_line_of_influx_is_a_document_of_tags_and_fields(
    line: str, path: str, value: float
) -> None:
    quoted = ".".join(f'"{key}"' for key in path.split("."))
    sample = decoder("influx", quoted)(line.encode(), "")[0]
    assert sample.values == [value]


def test_lines_of_influx_have_their_own_times_and_assets() -> None:
    decode = decoder("influx", "x", asset=("host",), time="time", clock=clock("ns"))
    found = decode(b"m,host=a x=1 1790000000000000001\nm,host=b x=2 5\nm,host=b x=3", "")
    assert [(one.time, one.asset, one.values) for one in found] == [
        (TODAY + 1, ("a",), [1.0]),
        (5, ("b",), [2.0]),
        (None, ("b",), [3.0]),
    ]


@pytest.mark.parametrize(
    "line",
    [
        *("", "# only a comment", "m", "m ", "m x", "m x=", "m x=1,", "m,x=1", "m, x=1", "m,t x=1"),
        *("m x=1 a", "m x=1 1 1", "m x=1.5i", "m x=0x1", "m x=NaN", "m x=1_0", 'm x="a'),
        *(",t=1 x=1", "m x=1 1.5", "m x=1  \x00", "m x=tRUE", "m  =1", 'm x="a"b', "m x=1\\"),
        *("m x=1\nm", "m x=1 99999999999999999999"),
    ],
)  # fmt: skip
def test_what_is_no_line_is_malformed(line: str) -> None:
    with pytest.raises(MalformedError, match="is no line protocol"):
        decoder("influx", "x")(line.encode(), "")


# CSV and MessagePack


def test_cells_of_csv_are_found_by_number_or_by_name() -> None:
    text = b'2026-09-21T14:13:20Z, 1.5 ,"7"\r\n2026-09-21T14:13:21Z,nan,x\r\n'
    by_number = decoder("csv", "[1]", "[2]", time="[0]", clock=clock())
    by_name = decoder("csv", "a", "b", time="t", clock=clock(), columns=("t", "a", "b"))
    for decode in (by_number, by_name):
        found = decode(text, "")
        assert rows(found) == [(TODAY, {0: 1.5, 1: 7.0}), (TODAY + SECOND, {})]
        assert found[1].rejected == ((0, "missing"), (1, "not-a-number"))
    (sample,) = decoder("csv", "[1]", delimiter=";")(b"p;2", "")
    assert sample.values == [2.0]


@pytest.mark.parametrize("text", [b"", b"\n\n", b"\xff", b'"a', b'"a"b,1', b"1,2\n1"])
def test_what_is_no_csv_is_malformed(text: bytes) -> None:
    with pytest.raises(MalformedError, match=r"is no CSV|has a line of 1 cells; wanted 2"):
        decoder("csv", "a", columns=("a", "b"))(text, "")


def test_messagepack_is_read_like_json() -> None:
    decode = decoder("msgpack", "E.x", "y", time="t", clock=clock())
    whole = {"t": 1_790_000_000, "E": {"x": 1}, "y": math.nan, 7: {}, "z": b"\xff"}
    (sample,) = decode(msgspec.msgpack.encode(whole), "")
    assert (sample.time, sample.values[0]) == (TODAY, 1.0)
    assert sample.rejected == ((1, "missing"),)
    moment = msgspec.msgpack.Ext(-1, (1_790_000_000).to_bytes(4))
    (sample,) = decode(msgspec.msgpack.encode({"t": moment, "y": 2.5}), "")
    assert rows([sample]) == [(TODAY, {1: 2.5})]


@pytest.mark.parametrize("payload", [b"", b"\xc1", b"\x81\xa1x", b"\x1f\x00", b"\x91" * 9999])
def test_what_is_no_messagepack_is_malformed(payload: bytes) -> None:
    with pytest.raises(MalformedError, match=r"is no MessagePack|is nested too deeply"):
        decoder("msgpack", "x")(payload, "")


# JSON: batches, items of one sensor, and what is no JSON


def test_a_message_may_hold_several_samples() -> None:
    batch = (
        b'{"at": 1790000000, "s": [{"x": 1}, {"t": 1790000001, "y": 2}, {"x": 3, "t": 1790000001}]}'
    )
    decode = decoder("json", "x", "y", samples="s", time="t", clock=clock())
    with pytest.raises(MalformedError, match="has no time at t"):
        decode(batch, "")
    found = decode(batch.replace(b'"at"', b'"t"'), "")
    assert rows(found) == [(TODAY, {0: 1.0}), (TODAY + SECOND, {0: 3.0, 1: 2.0})]
    listed = decoder("json", "x", samples="[]")
    assert rows(listed(b'[{"x": 1}, {"x": 2}]', "")) == [(None, {0: 1.0}), (None, {0: 2.0})]
    assert rows(listed(b"[]", "")) == [(None, {})]
    with pytest.raises(MalformedError, match=r"has no list of samples at \[\]"):
        listed(b'{"x": 1}', "")


def test_items_of_equal_time_are_one_sample_unless_a_sensor_comes_twice() -> None:
    decode = decoder("json", "x", "y", samples="[]", sensor="n", value="v")
    items = [{"n": "x", "v": 1}, {"n": "y", "v": 2}, {"n": "x", "v": 3}, {"n": "z", "v": 4}, {}]
    assert rows(decode(json.dumps(items).encode(), "")) == [
        (None, {0: 1.0, 1: 2.0}),
        (None, {0: 3.0}),
    ]


def test_no_message_makes_more_than_so_many_samples() -> None:
    decode = decoder("json", "x", samples="[]")
    assert len(decode(b"[" + b",".join([b'{"x":1}'] * MOST_SAMPLES) + b"]", "")) == MOST_SAMPLES
    with pytest.raises(MalformedError, match=f"more than {MOST_SAMPLES} samples"):
        decode(b"[" + b",".join([b"1"] * (MOST_SAMPLES + 1)) + b"]", "")


def test_lenient_json_rejects_the_field_that_is_no_number_alone() -> None:
    decode = decoder("json", "x", "y", lenient=True)
    reasons = dict.fromkeys(("Infinity", "-Infinity", "1e400"), "not-finite")
    for text, reason in {**reasons, "NaN": "missing"}.items():
        (sample,) = decode(b'\xef\xbb\xbf{"x": %s, "y": 1}' % text.encode(), "")
        assert (sample.values[1], sample.rejected) == (1.0, ((0, reason),))
    for payload in (b"", b"{", b"\xff", b"[" * 100_000, b'{"x": 1%s}' % (b"0" * 5000)):
        with pytest.raises(MalformedError, match=r"is no JSON|nested"):
            decode(payload, "")


# Time


@pytest.mark.parametrize(
    ("unit", "value", "nanoseconds"),
    [
        ("s", 1_790_000_000, TODAY),
        ("s", 1_790_000_000.000001, TODAY + 1000),
        ("ms", 1_790_000_000_000, TODAY),
        ("ms", 1_790_000_000_000.5, TODAY + 500_000),
        ("ms", "1790000000000.5", TODAY + 500_000),
        ("us", 1_790_000_000_000_001, TODAY + 1000),
        ("ns", 1_790_000_000_000_000_001, TODAY + 1),
        ("ms", "2026-09-21T14:13:20Z", TODAY),
    ],
    ids=repr,
)
def test_a_number_counts_in_the_unit_that_is_said(
    unit: TimeUnit, value: object, nanoseconds: int
) -> None:
    assert clock(unit)(value) == nanoseconds


@pytest.mark.parametrize("value", [1_790_000_000_000, -1, math.inf, math.nan, 1e300, "1e9x", "1_0"])
def test_a_unit_is_never_guessed(value: object) -> None:
    with pytest.raises(ValueError, match="wanted ISO 8601 with an offset, or seconds since"):
        clock("s")(value)


@pytest.mark.parametrize(
    ("local", "utc"),
    [
        ("2026-01-15 12:00:00", "2026-01-15T11:00:00Z"),
        ("2026-07-15T12:00:00.123456789", "2026-07-15T10:00:00.123456789Z"),
        ("2026-07-15T12:00:00Z", "2026-07-15T12:00:00Z"),
        ("2026-07-15T12:00:00+05:30", "2026-07-15T06:30:00Z"),
        ("2026-10-25 02:30:00", "2026-10-25T00:30:00Z"),  # comes twice: the first
        ("2026-03-29 02:30:00", "2026-03-29T01:30:00Z"),  # never comes: as before the change
    ],
)
def test_a_local_time_counts_in_the_zone_that_is_said(local: str, utc: str) -> None:
    assert clock("s", "Europe/Berlin")(local) == timestamp_ns(utc)


# Compressed payloads


@pytest.mark.parametrize("pack", [gzip.compress, _library().compress], ids=["gzip", "zstd"])
def test_a_compressed_payload_is_read_within_the_bound(pack: Any) -> None:
    stream = Stream(
        StreamConfig.model_validate(
            {"name": "a", "topic": "t/{asset}", "sensors": {"x": "x"}, "max_payload": 1000}
        ),
        AlertsConfig(),
        {},
    )
    good = pack(b'{"x": 1}')
    assert good.startswith((GZIP, ZSTD))
    payloads = [
        good,
        pack(b" " * 10_000_000),
        pack(b" " * 992 + b'{"x": 1}'),
        good[:-1],
        good + b"1",
    ]
    sent = [Message("t/p", one, TODAY + i, retained=False) for i, one in enumerate(payloads)]
    sent.append(Message("t/p", good[:4] + bytes(20), TODAY + 9, retained=False))
    assert outcomes(stream, sent) == [
        *("accepted", "too-large", "accepted", "malformed", "malformed", "malformed")
    ]


def test_a_bomb_is_not_unpacked_further_than_its_bound() -> None:
    deflated = zlib.compressobj(wbits=31)
    bomb = deflated.compress(bytes(50_000_000)) + deflated.flush()
    tracemalloc.start()
    with pytest.raises(TooLargeError, match="more than 100 bytes"):
        unpacked(bomb, 100)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000
