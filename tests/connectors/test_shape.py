"""Raw values and values of points, both ways."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.connectors.shape import Bits, Part, Shape, Whole, parse_bits, parse_names
from gateway.errors import Rejected

INT64 = Whole(-(2**63), 2**63 - 1, "int64")
INT16 = Whole(-(2**15), 2**15 - 1, "int16")
NAMES = {0: "off", 1: "run", -1: "fault"}

scales = st.sampled_from([1.0, -1.0, 0.1, 0.01, 0.001, 10.0, -0.5, 0.0005, 3.0, 1e-6, 0.7])
offsets = st.sampled_from([0.0, -40.0, 273.15, 0.5, 1e6])


def seen(shape: Shape, raw: Any) -> Any:
    return shape.value(shape.part(raw))


@given(st.integers(-(2**31), 2**31 - 1) | st.sampled_from([0, -1, 1, 2**31 - 1, -(2**31)]), scales, offsets)
def test_what_the_device_holds_comes_back_through_any_scale(raw: int, scale: float, offset: float) -> None:
    shape = Shape(scale, offset, whole=INT64)
    assert shape.raw(seen(shape, raw)) == raw


@given(st.integers(-(2**63), 2**63 - 1))
def test_all_64_bits_go_both_ways(raw: int) -> None:
    shape = Shape(whole=INT64)
    assert seen(shape, raw) == raw and shape.raw(raw) == raw
    shifted = Shape(scale=-1.0, offset=5.0, whole=INT64)
    assert shifted.raw(seen(shifted, raw)) == raw


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_without_a_scale_pass_bit_for_bit(raw: float) -> None:
    shape = Shape()
    for value in (seen(shape, raw), shape.raw(raw)):
        assert value == raw and math.copysign(1, value) == math.copysign(1, raw) and isinstance(value, float)


@given(st.floats(-1e9, 1e9), scales, offsets)
def test_floats_with_a_scale_come_back_as_near_as_floats_can(raw: float, scale: float, offset: float) -> None:
    shape = Shape(scale, offset)
    back = shape.raw(seen(shape, raw))
    assert math.isclose(back, raw, rel_tol=1e-9, abs_tol=1e-9 * (1 + abs(offset)) / abs(scale))


@given(st.booleans() | st.text(max_size=20) | st.lists(st.integers(), max_size=3) | st.none())
def test_what_is_no_number_passes_unchanged(raw: Any) -> None:
    for shape in (Shape(), Shape(scale=0.1)):
        assert seen(shape, raw) is raw
    assert Shape().raw(raw) is raw


@given(st.integers(0, 2**16 - 1), st.integers(0, 15), st.integers(0, 15), st.integers(0, 2**16 - 1))
def test_a_part_is_put_where_it_was_taken(raw: int, one: int, other: int, before: int) -> None:
    bits = Bits(min(one, other), max(one, other))
    shape = Shape(bits=bits)
    value = seen(shape, raw)
    assert isinstance(value, bool) is bits.is_single
    mask, placed = shape.placed(shape.raw(value))
    after = (before & ~mask) | placed
    assert seen(shape, after) == value
    assert after & ~mask == before & ~mask


def test_bits_of_a_negative_number_are_those_of_its_twos_complement() -> None:
    assert seen(Shape(bits=Bits(15, 15)), -1) is True
    assert seen(Shape(bits=Bits(0, 7)), -2) == 0xFE


def test_some_bits_have_a_scale_or_names_like_a_number() -> None:
    assert seen(Shape(scale=0.5, bits=Bits(8, 11)), 0x0501) == 2.5
    assert Shape(scale=0.5, bits=Bits(8, 11)).raw(2.5) == 5
    shape = Shape(bits=Bits(4, 4), names={0: "open", 1: "closed"})
    assert seen(shape, 0x10) == "closed"
    assert shape.placed(shape.raw("closed")) == Part(0x10, 0x10)
    assert shape.placed(shape.raw("open")) == Part(0x10, 0)
    with pytest.raises(Rejected, match="must be between 0 and 15 to fit 4 bits, not 16"):
        Shape(bits=Bits(8, 11)).raw(16)
    with pytest.raises(ValueError, match="has no bits"):
        Shape(bits=Bits(0, 0)).part(1.5)
    with pytest.raises(TypeError):
        Shape().placed(1)


@pytest.mark.parametrize(("raw", "value"), [(0, "off"), (1, "run"), (-1, "fault"), (True, "run"), (1.0, "run"), (7, 7)])
def test_a_number_becomes_its_name_and_stays_without_one(raw: Any, value: Any) -> None:
    assert seen(Shape(names=NAMES), raw) == value


@pytest.mark.parametrize(
    ("value", "raw"), [("off", 0), ("fault", -1), (1, 1), (0, 0), (True, 1), (False, 0), (1.0, 1), (-1, -1)]
)
def test_a_name_or_its_number_is_written_as_the_number(value: Any, raw: int) -> None:
    assert Shape(names=NAMES, whole=INT16).raw(value) == raw


@pytest.mark.parametrize("value", ["RUN", "", 7, 0.5, None, [0], "1"])
def test_what_has_no_number_is_rejected_with_the_names(value: Any) -> None:
    with pytest.raises(Rejected, match='must be one of "off", "run", "fault", not '):
        Shape(names=NAMES).raw(value)


@pytest.mark.parametrize(
    ("shape", "value", "words"),
    [
        (Shape(whole=INT16), 32768, "must be between -32768 and 32767 to fit int16, not 32768"),
        (Shape(0.1, whole=INT16), 3276.8, "must be between -3276.8 and 3276.7 to fit int16"),
        (Shape(-1, whole=INT16), 32769, "must be between -32767 and 32768"),
        (Shape(whole=INT16), 1.5, "must be a whole number, not 1.5"),
        (Shape(whole=INT16), True, "must be a number, not True"),
        (Shape(whole=INT16), "5", "must be a number, not '5'"),
        (Shape(whole=INT16), float("nan"), "must be a finite number"),
        (Shape(0.1), None, "must be a number, not None"),
        (Shape(1e-300), 1e300, "is too large"),
        (Shape(bits=Bits(3, 3)), 2, "must be true or false, not 2"),
        (Shape(bits=Bits(3, 3)), "1", "must be true or false"),
    ],
)
def test_what_the_device_cannot_hold_is_rejected_in_the_unit_of_the_point(shape: Shape, value: Any, words: str) -> None:
    with pytest.raises(Rejected) as error:
        shape.raw(value)
    assert str(error.value).startswith(words)


@pytest.mark.parametrize("raw", [math.nan, math.inf, -math.inf])
def test_no_number_is_no_value(raw: float) -> None:
    with pytest.raises(ValueError, match="no number"):
        Shape().value(raw)


@pytest.mark.parametrize(
    ("given", "bits"), [(0, (0, 0)), ("3", (3, 3)), ("8..11", (8, 11)), (" 0 .. 63 ", (0, 63)), (63, (63, 63))]
)
def test_bits_are_written_as_one_or_as_first_and_last(given: int | str, bits: tuple[int, int]) -> None:
    assert parse_bits(given) == bits


@pytest.mark.parametrize("given", ["", "a", "11..8", 64, "0..64", -1, "1-3", "1..", True])
def test_other_bits_are_refused_with_the_form(given: int | str) -> None:
    with pytest.raises(ValueError, match=r'must be a bit such as 3, or several such as "8..11"'):
        parse_bits(given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"a": "off"}, "whole numbers as keys"),
        ({"1.5": "off"}, "whole numbers as keys"),
        ({"0": "off", "00": "on"}, "0 has two names"),
        ({"0": "off", "1": "off"}, '"off" could not be written'),
        ({}, "at least one"),
    ],
)
def test_names_that_cannot_be_told_apart_are_refused(given: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_names(given)
