"""What is JSON on one line, by shape: the same answer as a strict parser gives for each payload."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.uplinks.packing.shapes import LONGEST, MOST, Shapes

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('ab0\\"', max_size=3), inner, max_size=3),
    max_leaves=6,
)


def refuse(word: str) -> Any:
    raise ValueError(word)


def is_line(payload: bytes) -> bool:
    """The plain definition."""
    try:
        json.loads(payload.decode(), parse_constant=refuse)
    except (ValueError, RecursionError):
        return False
    return b"\n" not in payload and b"\r" not in payload


@given(st.lists(st.text('0123456789.-+eE,:[]{}"\\ua \n', max_size=12).map(str.encode), max_size=30))
@example([b"10", b"01", b"0", b"00", b"0.05", b"-01", b"1e05", b"[1,02]", b'"01"', b'{"a":01}', b'{"0":10}'])
@example([b'"\\u0041"', b'"\\\\",01', b'["\\"01",10]', b'["\\"01",01]', b"NaN", b"-Infinity", b"1\r", b"[" * 9999])
def test_any_payloads_in_any_order(payloads: list[bytes]) -> None:
    shapes = Shapes()
    assert [shapes.is_line(payload) for payload in payloads] == [is_line(payload) for payload in payloads]


@given(st.lists(VALUES, min_size=1, max_size=5), st.data())
def test_json_with_other_digits(values: list[Any], data: st.DataObject) -> None:
    shapes = Shapes()
    for value in values:
        payload = json.dumps(value).encode()
        assert shapes.is_line(payload)
        places = [at for at, byte in enumerate(payload) if chr(byte).isdigit()]
        if places:
            at = data.draw(st.sampled_from(places))
            other = payload[:at] + data.draw(st.sampled_from([b"0", b"5"])) + payload[at + 1 :]
            assert shapes.is_line(other) == is_line(other)


@given(st.binary(max_size=20))
def test_any_bytes(payload: bytes) -> None:
    shapes = Shapes()
    assert shapes.is_line(payload) == shapes.is_line(payload) == is_line(payload)


def test_what_is_remembered_is_bounded() -> None:
    shapes = Shapes()
    for number in range(3 * MOST):
        assert shapes.is_line(json.dumps(chr(0x4E00 + number)).encode())
    assert shapes.is_line(b'"%b"' % (b"x" * LONGEST))
    assert len(shapes._known) <= MOST
    assert max(map(len, shapes._known)) <= LONGEST
