"""Registers and values, both ways, against pymodbus and struct."""

from __future__ import annotations

import builtins
import math
import struct
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pymodbus.client.mixin import ModbusClientMixin

from gateway.connectors.modbus.codec import ORDERS, Order, ends_of, make_codec, words_of
from gateway.errors import Rejected

orders: st.SearchStrategy[Order] = st.sampled_from(("ABCD", "BADC", "CDAB", "DCBA"))

RANGES = {
    f"{sign}int{bits}": (0, 2**bits - 1) if sign else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    for bits in (16, 32, 64)
    for sign in ("", "u")
}


@st.composite
def numbers(draw: st.DrawFn) -> tuple[str, Any]:
    """A type and a value that it can hold."""
    type = draw(st.sampled_from([*RANGES, "float32", "float64", "bcd16", "bcd32", "bool", "string:7"]))
    if type.startswith("bcd"):
        return type, draw(st.integers(0, 10 ** (int(type[3:]) // 4) - 1))
    if type == "bool":
        return type, draw(st.booleans())
    if type.startswith("string"):
        text = draw(st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=7))
        return type, text.rstrip(" ")
    if type in RANGES:
        low, high = RANGES[type]
        return type, draw(st.integers(low, high) | st.sampled_from([0, 1, low, high]))
    return type, draw(st.floats(allow_nan=False, allow_infinity=False, width=32 if type == "float32" else 64))


@given(numbers(), orders)
def test_what_is_written_is_read(typed: tuple[str, Any], order: Order) -> None:
    type, value = typed
    codec = make_codec(type, order)
    words = codec.encode(value)
    assert len(words) == codec.width == words_of(type)
    assert all(0 <= word <= 0xFFFF for word in words)
    back = codec.decode(words)
    assert back == value and builtins.type(back) is builtins.type(value)
    if type.startswith("float"):
        assert math.copysign(1, back) == math.copysign(1, value)
    assert codec.agree(words, words)


@given(numbers())
def test_the_two_orders_that_pymodbus_knows_agree_with_it(typed: tuple[str, Any]) -> None:
    type, value = typed
    assume(type.upper() in ModbusClientMixin.DATATYPE.__members__)
    kind = ModbusClientMixin.DATATYPE[type.upper()]
    for order, words in (("ABCD", "big"), ("CDAB", "little")):
        registers = ModbusClientMixin.convert_to_registers(value, kind, word_order=words)  # type: ignore[arg-type]
        codec = make_codec(type, order)  # type: ignore[arg-type]
        assert codec.encode(value) == registers
        assert codec.decode(registers) == ModbusClientMixin.convert_from_registers(
            registers,
            kind,
            word_order=words,  # type: ignore[arg-type]
        )


@given(st.lists(st.integers(0, 0xFFFF), min_size=4, max_size=4))
def test_any_registers_are_a_value_or_no_value(words: list[int]) -> None:
    for type in (*RANGES, "float32", "float64", "string:8", "bcd16", "bcd32"):
        codec = make_codec(type)
        try:
            codec.decode(words[: codec.width])
        except ValueError:
            assert type.startswith(("float", "string", "bcd"))


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ("ABCD", [0x4142, 0x4344]),
        ("BADC", [0x4241, 0x4443]),
        ("CDAB", [0x4344, 0x4142]),
        ("DCBA", [0x4443, 0x4241]),
    ],
)
def test_orders_are_named_after_the_bytes_as_they_arrive(order: Order, words: list[int]) -> None:
    assert make_codec("uint32", order).encode(0x41424344) == words
    assert make_codec("uint32", order).decode(words) == 0x41424344
    assert make_codec("string:4", order).decode(words) == "ABCD"
    wire = struct.pack(">2H", *words)
    assert wire.decode() == order


@pytest.mark.parametrize(("order", "word"), [("ABCD", 0x1234), ("CDAB", 0x1234), ("BADC", 0x3412), ("DCBA", 0x3412)])
def test_a_single_register_knows_only_swapped_bytes(order: Order, word: int) -> None:
    assert make_codec("uint16", order).decode([word]) == 0x1234


def test_eight_bytes_swap_like_four() -> None:
    big = make_codec("uint64", "ABCD").encode(0x0102030405060708)
    assert make_codec("uint64", "CDAB").encode(0x0102030405060708) == big[::-1]
    assert make_codec("uint64", "BADC").encode(0x0102030405060708) == [0x0201, 0x0403, 0x0605, 0x0807]
    assert make_codec("uint64", "DCBA").encode(0x0102030405060708) == [0x0807, 0x0605, 0x0403, 0x0201]
    assert set(ORDERS) == {"ABCD", "BADC", "CDAB", "DCBA"}


def test_integers_are_whole_and_floats_are_not() -> None:
    assert repr(make_codec("int16").decode([5])) == "5"
    assert repr(make_codec("float32").decode([0x40A0, 0])) == "5.0"
    assert make_codec("int16").encode(5.0) == [5]


def test_decimal_digits() -> None:
    assert make_codec("bcd16").decode([0x1234]) == 1234
    assert make_codec("bcd32", "CDAB").decode([0x5678, 0x1234]) == 12345678
    assert make_codec("bcd32").encode(42) == [0, 0x42]
    with pytest.raises(ValueError, match="0x12a4, which are no decimal digits"):
        make_codec("bcd16").decode([0x12A4])


def test_the_ends_of_whole_types() -> None:
    assert ends_of("int16") == (-32768, 32767)
    assert ends_of("uint64") == (0, 2**64 - 1)
    assert ends_of("bcd16") == (0, 9999)
    assert [ends_of(type) for type in ("bool", "float32", "string:4")] == [None, None, None]


@pytest.mark.parametrize(
    ("type", "value", "words"),
    [
        ("int16", 32768, "between -32768 and 32767"),
        ("uint16", -1, "between 0 and 65535"),
        ("int16", 0.5, "whole number"),
        ("int16", True, "must be a number"),
        ("int16", "5", "must be a number"),
        ("int16", None, "must be a number"),
        ("uint64", 10**400, "between 0"),
        ("int16", float("nan"), "finite"),
        ("float32", float("inf"), "finite"),
        ("float32", 1e39, "too large for float32"),
        ("float64", 10**400, "too large for float64"),
        ("bcd16", 10_000, "between 0 and 9999 to fit bcd16"),
        ("bcd16", -1, "between 0 and 9999"),
        ("bool", 2, "true or false"),
        ("bool", "1", "true or false"),
        ("string:4", "abcde", "at most 4 bytes"),
        ("string:4", "a\0b", "without NUL"),
        ("string:4", 5, "must be text"),
    ],
)
def test_what_the_type_cannot_hold_is_rejected(type: str, value: Any, words: str) -> None:
    with pytest.raises(Rejected, match=words):
        make_codec(type).encode(value)


@pytest.mark.parametrize("word", [0x7FC0, 0x7F80, 0xFF80])
def test_nan_and_infinity_are_no_value(word: int) -> None:
    with pytest.raises(ValueError, match="no number"):
        make_codec("float32").decode([word, 0])


def test_bits() -> None:
    codec = make_codec("bool")
    assert [codec.decode([0]), codec.decode([1])] == [False, True]
    assert [codec.encode(value) for value in (False, True, 0, 1)] == [[0], [1], [0], [1]]


def test_text_ends_at_nul_or_at_its_size() -> None:
    codec = make_codec("string:5")
    assert codec.width == 3
    assert codec.decode(codec.encode("ab")) == "ab"
    assert codec.decode(codec.encode("grün")) == "grün"
    assert codec.decode([0x4142, 0x4344, 0x4546]) == "ABCDE"
    with pytest.raises(ValueError, match="no text"):
        codec.decode([0xFFFF, 0, 0])


def test_a_float_read_back_may_be_rounded_by_the_device() -> None:
    codec = make_codec("float32")
    assert codec.agree(codec.encode(71.3), codec.encode(71.30001))
    assert not codec.agree(codec.encode(71.3), codec.encode(71.4))
    integer = make_codec("int16")
    assert not integer.agree(integer.encode(713), integer.encode(714))


@pytest.mark.parametrize("type", ["int8", "", "string", "string:0", "string:241", "string:x", "float"])
def test_unknown_types_are_named(type: str) -> None:
    with pytest.raises(ValueError, match="must be one of bool, int16"):
        words_of(type)
