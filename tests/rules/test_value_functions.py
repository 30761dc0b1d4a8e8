"""Numbers, bits, parts, times and bytes in expressions: the edges that the examples of the manual do not show."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.message import Message
from gateway.rules.compile import compile_expression
from gateway.rules.frame import Frame
from gateway.rules.language import RuleError


def evaluate(text: str, payload: bytes = b"null", **names: Any) -> Any:
    frame = Frame(Message("plant/a", payload), "n", 1.0, 1.0)
    frame.names = names
    return compile_expression(text, names)(frame)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("floor(2)", 2),
        ("floor(v)", None),
        ("sign(0)", 0),
        ("log(exp(2))", 2.0),
        ("sum([])", 0),
        ("sum([1, None])", None),
        ("bit(-1, 63)", True),
        ("bit(2 ** 63, 63)", True),
        ("bit(5, 1)", False),
        ("bits(-2, 0, 3)", 14),
        ("bits(18446744073709551615, 0, 63)", 2**64 - 1),
        ("join([])", ""),
        ("join(['a', None, true], ',')", "a,,true"),
        ("first([1, 2], 5)", [1, 2]),
        ("first('ab', 0)", ""),
        ("last('boiler', 3)", "ler"),
        ("last('boiler', 0)", ""),
        ("slice('boiler', -2)", "er"),
        ("slice([1, 2, 3], 1)", [2, 3]),
        ("slice([1, 2, 3], 2, 1)", []),
        ("seconds(5)", 5.0),
        ("hour('2026-03-29T00:59:59Z', 'Europe/Berlin')", 1),
        ("hour('2026-03-29T01:00:00Z', 'Europe/Berlin')", 3),
        ("weekday(0, 'UTC')", "thu"),
        ("date('2026-12-31T23:30:00Z', 'Asia/Tokyo')", "2027-01-01"),
        ("hex('')", ""),
        ("unhex('ff')", None),
        ("unhex('41:42')", "AB"),
        ("base64('')", ""),
        ("unbase64('-_-_')", "fbffbf"),
        ("unbase64('QQ')", "41"),
        ("unpack('b', 0, 'ff')", -1),
        ("unpack('<H', 0, '0100')", 1),
        ("unpack('>2xH', 0, '00000102')", 258),
        ("unpack('f', 0, '7fc00000')", None),
        ("unpack('4s', 0, '41420000')", "AB"),
        ("unpack('?', 0, '01')", True),
        ("unpack('H', 0, '01')", None),
        ("pack('>h4s?', -2, 'AB', true)", "fffe4142000001"),
        ("env('NOBODY_HAS_SET_THIS')", None),
    ],
)
def test_result(text: str, result: Any) -> None:
    found = evaluate(text)
    assert found == result
    assert type(found) is type(result)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("floor('a')", "needs a number"),
        ("floor(1e300)", "does not fit in 64 bits"),
        ("sqrt(-1)", "has no result for the number -1"),
        ("log(0)", "has no result"),
        ("log(8, 1)", "has no result"),
        ("exp(1000)", "too big"),
        ("bit(1, 64)", "needs a whole number from 0 to 63"),
        ("bit(1.5, 0)", "needs a whole number"),
        ("bits(1, 4, 2)", "the lower bit comes first: 2, 4"),
        ("join('a')", "needs a list"),
        ("first(5, 1)", "needs a text"),
        ("first('a', -1)", "needs a whole number"),
        ("keys([1])", "needs a table"),
        ("seconds('2026-01-01T00:00:00')", "no time with its offset"),
        ("seconds('soon')", "no time"),
        ("hour(-1)", "no time from 1970 to 9999"),
        ("hour(0, 'Mars/Base')", "is no time zone"),
        ("unhex('4')", "is no hex text"),
        ("unbase64('QQ*')", "is no base64"),
        ("unbase64('Q')", "is no base64"),
        ("unpack('@P', 0)", "is no format"),
        ("unpack('', 0)", "is no format"),
        ("unpack('9999q', 0)", "describes 79992 bytes; at most 4096"),
        ("unpack('HH', 2)", "gives 2 values, counted from 0"),
        ("pack('HH', 1)", "takes 2 values, not 1"),
        ("pack('B', 256)", "cannot be packed as 'B'"),
        ("pack('B', 'x')", "cannot be packed"),
        ("secret('x')", "a secret can be used in actions only"),
        ("env('a b')", "is no name of a variable"),
        ("env(topic)", "must be a text in quotes"),
    ],
)
def test_mistake(text: str, problem: str) -> None:
    with pytest.raises(RuleError, match=problem.replace("(", r"\(")):
        evaluate(text)


def test_the_payload_as_bytes() -> None:
    payload = bytes(range(250, 256))
    assert evaluate("hex()", payload) == payload.hex()
    assert evaluate("unbase64(base64())", payload) == payload.hex()
    assert evaluate("unpack('>HHH', 2)", payload) == 0xFEFF
    assert evaluate("payload", payload) is None


@given(st.integers(-(2**15), 2**15 - 1), st.floats(width=32, allow_nan=False, allow_infinity=False), st.booleans())
def test_what_is_packed_is_unpacked(whole: int, fraction: float, is_little: bool) -> None:
    order = "<" if is_little else ">"
    packed = evaluate(f"pack('{order}hf', a, b)", a=whole, b=fraction)
    assert bytes.fromhex(packed) == struct.pack(f"{order}hf", whole, fraction)
    assert evaluate(f"unpack('{order}hf', 0, x)", x=packed) == whole
    assert evaluate(f"unpack('{order}hf', 1, x)", x=packed) == fraction


@given(st.binary(max_size=200))
def test_any_payload_survives_as_text(payload: bytes) -> None:
    assert evaluate("unbase64(base64(hex()))", payload) == payload.hex()
