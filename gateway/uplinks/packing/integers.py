"""A column of integers as bytes: the differences that vary least, moved to begin at zero, low bytes first.

Three ways to look at a column are tried: its values, their differences (a level that drifts), the differences of those
(a clock, a counter). What is left is counted from its least, so that a byte is enough for what lies within 256 of each
other, and written byte plane by byte plane: first the lowest byte of each, then the next one. Deflate finds the order
in that which it would not find in numbers of changing length.

All of it is done by functions of the standard library that take a whole column at once: a loop in Python over single
values would cost more than the rest of the packing.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import repeat
from operator import sub
from typing import Final

_REACH: Final = 1 << 63
"""Values lie between ``-_REACH`` and ``_REACH``: what is counted from their least fits into 64 bits."""

_SHORT: Final = 3
"""Columns up to this many values are written as they are: the first values of differences would cost more."""

_LITTLE_ENDIAN: Final = array("H", (1,)).tobytes() == b"\x01\x00"


class Body:
    """What is written of a parcel so far, in two parts.

    head  counts, tables, how each column is written: read from front to back
    tail  bytes of the columns, in the same order. Apart from the heads they compress better
    """

    __slots__ = ("head", "tail")

    def __init__(self) -> None:
        self.head = bytearray()
        self.tail = bytearray()

    def number(self, value: int) -> None:
        """A natural number below 2**64: seven bits a byte, the lowest first, the highest bit says that more follows."""
        head = self.head
        while value > 0x7F:
            head.append(value & 0x7F | 0x80)
            value >>= 7
        head.append(value)

    def signed(self, value: int) -> None:
        """A signed number: 0, -1, 1, -2 ... become 0, 1, 2, 3 ..."""
        self.number(value << 1 if value >= 0 else (-value << 1) - 1)

    def text(self, value: bytes) -> None:
        """Bytes with their length."""
        self.number(len(value))
        self.head += value

    def finish(self) -> bytes:
        """Length of the head, length of the tail, head, tail."""
        front = Body()
        front.number(len(self.head))
        front.number(len(self.tail))
        return bytes(front.head + self.head + self.tail)


def put_integers(body: Body, values: Sequence[int]) -> None:
    """Write a column of at least one value, each a signed number of 64 bits."""
    if values.count(values[0]) == len(values):
        body.head.append(0)
        body.signed(values[0])
        return
    firsts: tuple[int, ...] = ()
    rest = values
    width, kinds, least = _look(values)
    if len(values) > _SHORT:
        steps = list(map(sub, values[1:], values))
        look = _look(steps)
        if look[:2] < (width, kinds):
            (width, kinds, least), rest, firsts = look, steps, (values[0],)
            turns = list(map(sub, steps[1:], steps))
            # A difference of differences of large values may be larger than 64 bits.
            if width and min(turns) > -_REACH and max(turns) < _REACH:
                look = _look(turns)
                if look[:2] < (width, kinds):
                    (width, kinds, least), rest, firsts = look, turns, (values[0], steps[0])
    body.head.append(len(firsts) << 4 | width)
    for first in firsts:
        body.signed(first)
    body.signed(least)
    if width:
        _put_planes(body.tail, list(map(sub, rest, repeat(least))), width)


def _look(values: Sequence[int]) -> tuple[int, int, int]:
    """Bytes that a value above the least needs; how many different values there are; the least."""
    least = min(values)
    return ((max(values) - least).bit_length() + 7) // 8, len(set(values)), least


def _put_planes(tail: bytearray, values: list[int], width: int) -> None:
    if width == 1:
        tail += bytes(values)
        return
    numbers = array("Q", values)
    if not _LITTLE_ENDIAN:
        numbers.byteswap()
    raw = numbers.tobytes()
    for plane in range(width):
        tail += raw[plane::8]
