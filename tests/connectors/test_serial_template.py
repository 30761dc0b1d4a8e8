"""Bytes as people write them, and questions with places to fill in."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.connectors.serial.template import Template, bytes_problem, parse_bytes
from gateway.errors import Rejected

KNOWN = ("unit", "address", "value")


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("READ\r\n", b"READ\r\n"),
        (r"READ\r\n", b"READ\r\n"),
        (r"\x02a\x03\t\0\\", b"\x02a\x03\t\0\\"),
        (r"\xff", b"\xff"),
        ("\u00b0C", "\u00b0C".encode()),
        ("hex:0D0a", b"\r\n"),
        ("hex: AA 55 ", b"\xaa\x55"),
    ],
)
def test_bytes(text: str, data: bytes) -> None:
    assert parse_bytes(text) == data
    assert bytes_problem(text) is None


@given(st.binary(min_size=1))
def test_any_bytes_can_be_written_in_hexadecimal_and_with_escapes(data: bytes) -> None:
    assert parse_bytes("hex:" + data.hex()) == data
    assert parse_bytes("".join(f"\\x{byte:02x}" for byte in data)) == data


@pytest.mark.parametrize(
    ("text", "hint"),
    [("hex:0", "pairs of hexadecimal"), (r"a\q", r"\q"), ("a\\", "\\"), ("", "empty"), ("\u20ac\\xff", "U+00FF")],
)
def test_what_are_no_bytes(text: str, hint: str) -> None:
    problem = bytes_problem(text)
    assert problem is not None and problem.startswith("must") and hint in problem


@pytest.mark.parametrize(
    ("text", "value", "sent"),
    [
        ("SET {address} {value:.1f}\r\n", 21.34, b"SET T1 21.3\r\n"),
        ("SET {value:05.1f}", 2.5, b"SET 002.5"),
        ("SET {value:d}", 7.0, b"SET 7"),
        ("SET {value}", True, b"SET 1"),
        ("SET {value}", "auto", b"SET auto"),
        ("SET {value}", "a\\n", b"SET a\\n"),
        ("{{{unit:02d}}} {value}", 1, b"{07} 1"),
        ("hex: {unit:02X} {value:04X} 0D", 0x1F, b"\x07\x00\x1f\r"),
        ("hex: {value:02X}", 16.0, b"\x10"),
    ],
)
def test_places_are_filled_in(text: str, value: Any, sent: bytes) -> None:
    assert Template(text, KNOWN).fill(unit=7, address="T1", value=value) == sent


@pytest.mark.parametrize(
    ("text", "value", "hint"),
    [
        ("SET {value:.1f}", "warm", "form {value:.1f}"),
        ("SET {value:d}", 7.5, "form {value:d}"),
        ("SET {value}\r\n", "1\r\nRESET", "control characters"),
        ("hex: {value:02X}", 256, "whole bytes"),
        ("hex: {value:02X}", -1, "whole bytes"),
        ("SET {value}", "x" * 2000, "longer than 1024"),
    ],
)
def test_what_a_place_cannot_hold_is_rejected(text: str, value: Any, hint: str) -> None:
    with pytest.raises(Rejected) as caught:
        Template(text, KNOWN).fill(unit=7, address="T1", value=value)
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("READ {n}", "not {n}"),
        ("READ {value.real}", "not {value.real}"),
        ("READ {value[0]}", "not {value[0]}"),
        ("READ {}", "not {}"),
        ("READ {value", "close every brace"),
        ("READ {value!r}", "form such as"),
        ("READ {value:>9999999d}", "form such as"),
        ("READ {value:{unit}}", "form such as"),
        (r"READ {value}\q", r"\q"),
    ],
)
def test_what_is_no_template(text: str, hint: str) -> None:
    with pytest.raises(ValueError, match="must") as caught:
        Template(text, KNOWN)
    assert hint in str(caught.value)
