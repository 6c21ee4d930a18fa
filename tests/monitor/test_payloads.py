import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.frame import SECOND
from monitor.payloads import FORMATS, Decoder, Field, Layout
from monitor.payloads.sample import MalformedError
from monitor.payloads.stamp import clock
from tests.monitor.machines import TODAY, many

JSON = FORMATS["json"](Layout(2, (Field(0, "x"), Field(1, "y"))))
NUMBER = FORMATS["number"](Layout(1, (Field(0, "x"),)))
TIMED = FORMATS["json"](Layout(1, (Field(0, "x"),), time="when.t", clock=clock()))


def read(decode: Decoder, payload: bytes) -> tuple[list[float | None], list[tuple[int, str]]]:
    """Values of the one sample, None for NaN, and what was rejected of it."""
    (sample,) = decode(payload, "")
    return [None if math.isnan(one) else one for one in sample.values], list(sample.rejected)


@pytest.mark.parametrize(
    ("payload", "values", "rejected"),
    [
        (b'{"x": 1.5, "y": -2}', [1.5, -2.0], []),
        (b' \r\n\t{"y":1e3,"x":-0.0} \n', [-0.0, 1000.0], []),
        (b'{"x": 1, "z": 2}', [1.0, None], []),
        (b"{}", [None, None], []),
        (b'{"x": 1, "x": 2}', [2.0, None], []),
        (b'{"x": 1, "x": null}', [None, None], [(0, "missing")]),
        (b'{"x": null, "y": 1}', [None, 1.0], [(0, "missing")]),
        (b'{"x": true, "y": false}', [None, None], [(0, "not-a-number"), (1, "not-a-number")]),
        (b'{"x": "1", "y": "NaN"}', [None, None], [(0, "not-a-number"), (1, "missing")]),
        (b'{"x": [1], "y": {"y": 1}}', [None, None], [(0, "not-a-number"), (1, "not-a-number")]),
        (b'{"x": 1%s, "y": 1}' % (b"0" * 399), [None, 1.0], [(0, "not-finite")]),
        (b'{"x": -1%s, "y": 1}' % (b"0" * 399), [None, 1.0], [(0, "not-finite")]),
        (b'{"x": 1%s}' % (b"0" * 308), [1e308, None], []),
        (b'{"x": 18446744073709551617}', [2.0**64, None], []),
        (b'{"x": 1e-400}', [0.0, None], []),
        (b'{"x": 0.1234567890123456789}', [0.12345678901234568, None], []),
        (b'{"x\\u0000": 1, "y\\"": 2}', [None, None], []),
        (b'{"\\u0078": 1}', [1.0, None], []),
        (b"[1, 2]", [None, None], []),
        (b"7", [None, None], []),
        (b'"x"', [None, None], []),
        (b"null", [None, None], []),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_json_field_is_a_number_or_no_reading(
    payload: bytes, values: list[float | None], rejected: list[tuple[int, str]]
) -> None:
    assert read(JSON, payload) == (values, rejected)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b" ",
        b"x",
        b"{",
        b'{"x": 1',
        b'{"x": 1}}',
        b'{"x": 1}{"x": 2}',
        b"{'x': 1}",
        b"{x: 1}",
        b'{"x": 01}',
        b'{"x": .5}',
        b'{"x": +1}',
        b'{"x": 0x1F}',
        b'{"x": 1_000}',
        b'{"x": 1,}',
        b'{"x": NaN}',
        b'{"x": Infinity}',
        b'{"x": -Infinity}',
        b'{"x": 1e400}',
        b'{"x": -1e400}',
        b'{"x": 1%s}' % (b"0" * 9999),
        b"\xef\xbb\xbf{}",
        '{"x": 1}'.encode("utf-16"),
        b'{"x": "\\ud800"}',
        b'{"x": "\xed\xa0\x80"}',
        b'{"x": "\xff"}',
        b'{"x\x00": 1}',
        b"\x00" * 1000,
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"x":' * 100_000 + b"1" + b"}" * 100_000,
    ],
    ids=lambda payload: f"{payload[:20]!r}-{len(payload)}",
)
def test_what_is_no_json_is_malformed_in_words_without_the_payload(payload: bytes) -> None:
    with pytest.raises(MalformedError, match=r"^is (no JSON \(.{5,80}\)|nested too deeply)$"):
        JSON(payload, "")


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        (b"1", 1.0),
        (b" -1.50\r\n", -1.5),
        (b"+1", 1.0),
        (b".5", 0.5),
        (b"5.", 5.0),
        (b"007", 7.0),
        (b"1e3", 1000.0),
        (b"1E-0003", 0.001),
        (b"1e-9999", 0.0),
        (b"0.1234567890123456789", 0.12345678901234568),
        (b"9" * 300, 1e300),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_number_payload_is_one_decimal_number(payload: bytes, value: float) -> None:
    assert read(NUMBER, payload) == ([value], [])


@pytest.mark.parametrize("payload", [b"1e400", b"-1e9999", b"9" * 400])
def test_a_number_beyond_all_floats_is_not_finite(payload: bytes) -> None:
    assert read(NUMBER, payload) == ([None], [(0, "not-finite")])


@pytest.mark.parametrize(
    "payload",
    [
        *(b".", b"-", b"e5", b"1e", b"1e5.0", b"1 2", b"1,5", b"--1", b"1_000", b"0x10"),
        *(b"inf", b"-Infinity", b"true", b'"1"', b"[1]", b"1\x00", b"1a"),
        *(
            "١٢".encode(),
            "\uff11".encode(),
            b"\xef\xbb\xbf1",
            "½".encode(),
            b"\xff",
            "1 °C".encode(),
        ),
        *(b"9" * 401, b"1" + b"0" * 100_000, b"1e99999", b" " * 65_000, b"1" * 60_000 + b"x"),
    ],
    ids=lambda payload: f"{payload[:20]!r}-{len(payload)}",
)
def test_other_words_are_no_number(payload: bytes) -> None:
    with pytest.raises(MalformedError, match=r"^is no number$"):
        NUMBER(payload, "")


@pytest.mark.parametrize("payload", [b"on", b"true", b"\xff", b"", b'{"a": 1}', b"1.5"])
def test_on_a_topic_of_no_sensor_any_payload_is_nothing_of_ours(payload: bytes) -> None:
    (sample,) = FORMATS["number"](Layout(1, ()))(payload, "")
    assert math.isnan(sample.values[0])
    assert sample.rejected == ()


@many
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_survives_both_formats(value: float) -> None:
    assert read(NUMBER, repr(value).encode()) == ([value], [])
    assert read(JSON, json.dumps({"y": value}).encode()) == ([None, value], [])


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("1790000000", TODAY),
        ("1790000000.1", TODAY + 100_000_000),
        ("1.79e9", TODAY),
        ('"1790000000.123456789"', TODAY + 123_456_789),
        ('"2026-09-21T14:13:20Z"', TODAY),
        ('"2026-09-21T16:13:20.5+02:00"', TODAY + SECOND // 2),
        ('"2026-09-21 14:13:20.000000001Z"', TODAY + 1),
        ('"20260921T141320Z"', TODAY),
        ('"2099-12-31T23:59:59Z"', 4_102_444_799 * SECOND),
    ],
)
def test_a_time_is_iso_8601_with_an_offset_or_seconds(text: str, nanoseconds: int) -> None:
    (sample,) = TIMED(b'{"when": {"t": %s}, "x": 1}' % text.encode(), "")
    assert sample.time == nanoseconds


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('"2026-09-21T14:13:20"', "wanted ISO 8601 with an offset"),
        ('"2026-09-21"', "wanted ISO 8601"),
        ('"14:13:20Z"', "wanted ISO 8601"),
        ('"noon"', "wanted ISO 8601"),
        ('""', "wanted ISO 8601"),
        ('"2026-02-30T00:00:00Z"', "wanted ISO 8601"),
        ('"2100-01-01T00:00:00Z"', "wanted ISO 8601"),
        ('"0001-01-01T00:00:00+23:59"', "wanted ISO 8601"),
        ('"9999-12-31T23:59:59-23:59"', "wanted ISO 8601"),
        ("-1", "wanted ISO 8601"),
        ("1790000000000", "or seconds since the epoch"),
        ("1e300", "wanted ISO 8601"),
        ("1" + "0" * 399, "wanted ISO 8601"),
        ('"1" ', "0"),
        ("true", "of another kind"),
        ("null", "of another kind"),
        ("[1790000000]", "of another kind"),
    ],
)
def test_a_payload_without_its_time_is_malformed(text: str, why: str) -> None:
    payload = b'{"when": {"t": %s}, "x": 1}' % text.encode()
    if why == "0":  # seconds may be text, as a recording spells them
        assert TIMED(payload, "")[0].time == SECOND
        return
    with pytest.raises(MalformedError, match=rf"has no time at when\.t.*{why}"):
        TIMED(payload, "")


def test_a_payload_that_lacks_the_time_altogether_is_malformed() -> None:
    for payload in (b"{}", b"[]", b'{"when": {}}', b'{"when": 1}'):
        with pytest.raises(MalformedError, match=r"^has no time at when\.t$"):
            TIMED(payload, "")
