"""An image of registers as a meter fills them, and the numbers on its display."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.connectors.modbus.codec import make_codec
from gateway.connectors.modbus.solve import ORDERS, TYPES, Fit, narrow, parse_shown, solve


def image(**values: float) -> dict[str, dict[int, int]]:
    """Input registers as a meter with floats from address 0 fills them (words high first), among noise."""
    noise = random.Random(7)
    registers = {address: noise.choice((0, 0, noise.randrange(300), noise.randrange(65536))) for address in range(200)}
    for at, value in values.items():
        registers[int(at[1:])], registers[int(at[1:]) + 1] = struct.unpack(">HH", struct.pack(">f", value))
    return {"input": registers}


def test_a_float_among_noise_is_found_first() -> None:
    (fits,) = solve(image(_40=230.1234), [parse_shown("230.1")])
    assert fits[0].place == ("input", 40, "float32", "ABCD", 1.0)
    assert fits[0].value == pytest.approx(230.1234)


def test_kilowatts_on_the_display_and_watts_in_the_registers() -> None:
    (fits,) = solve(image(_52=12_345.6), [parse_shown("12.345")])
    assert fits[0].place == ("input", 52, "float32", "ABCD", 0.001)


def test_a_scaled_integer_is_found_with_its_scale() -> None:
    (fits,) = solve({"holding": {7: 2301, 8: 17}}, [parse_shown("230.1")])
    assert [fit.place for fit in fits][0] == ("holding", 7, "uint16", "ABCD", 0.1)


def test_other_numbers_of_the_display_tell_the_order() -> None:
    # 49.98 as float32 with swapped words, and 17 in a single register that fits nothing else of the display.
    registers = {0: 17}
    for at, value in ((10, 17.0), (12, 49.98), (14, 230.4)):
        high, low = struct.unpack(">HH", struct.pack(">f", value))
        registers[at], registers[at + 1] = low, high
    first, _, _ = solve({"input": registers}, [parse_shown(text) for text in ("17", "49.98", "230.4")])
    assert first[0].place == ("input", 10, "float32", "CDAB", 1.0)
    assert ("input", 0, "uint16", "ABCD", 1.0) in [fit.place for fit in first]


def test_a_second_reading_leaves_what_was_no_accident() -> None:
    (before,) = solve({"input": {0: 231, 1: 231, 2: 2310}}, [parse_shown("231")])
    (now,) = solve({"input": {0: 231, 1: 233, 2: 2331}}, [parse_shown("233")])
    left = narrow(now, [fit.place for fit in before])
    assert [(fit.address, fit.type, fit.scale) for fit in left if fit.type == "uint16"] == [
        (1, "uint16", 1.0),
        (2, "uint16", 0.1),
    ]
    assert all(fit.address != 0 for fit in left)


def test_negative_numbers() -> None:
    (fits,) = solve({"input": {3: 0x10000 - 55}}, [parse_shown("-5.5")])
    assert [fit.place for fit in fits] == [("input", 3, "int16", "ABCD", 0.1)]


@pytest.mark.parametrize("text", ["0", "0.0", "abc", "", "nan", "inf", "1e3", "1" * 19])
def test_what_no_display_shows(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        parse_shown(text)


@pytest.mark.parametrize(("text", "value", "fits"), [
    ("230.1", 230.149, True), ("230.1", 230.199, True), ("230.1", 230.051, True),
    ("230.1", 230.2, False), ("230.1", 230.04, False), ("-5", -5.9, True), ("-5", -4.4, False), ("-5", -6.0, False),
])  # fmt: skip
def test_a_display_rounds_or_cuts_off(text: str, value: float, fits: bool) -> None:
    assert parse_shown(text).may_be(value) is fits


@given(st.integers(1, 30_000), st.sampled_from(TYPES), st.sampled_from(ORDERS))
def test_whatever_a_device_holds_is_among_the_fits(number: int, type: str, order: str) -> None:
    words = make_codec(type, order).encode(number)  # type: ignore[arg-type]
    (fits,) = solve({"holding": dict(enumerate(words))}, [parse_shown(str(number))])
    codec = make_codec(type, order)  # type: ignore[arg-type]
    assert any(fit.address == 0 and fit.type == type and codec.decode(words) == fit.value for fit in fits)


def test_registers_that_could_not_be_read_are_left_out() -> None:
    high, low = struct.unpack(">HH", struct.pack(">f", 230.1))
    fits: list[Fit]
    (fits,) = solve({"input": {0: high, 2: low}}, [parse_shown("230.1")])
    assert fits == []
