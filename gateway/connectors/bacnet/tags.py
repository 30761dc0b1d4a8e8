"""Tags of BACnet values (ASHRAE 135 clause 20.2.1), both ways. Pure, by hand: answers of many values are the hot path,
and bacpypes3 takes ten times as long for them.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from gateway.connectors.bacnet.values import BOOLEAN, Atom
from gateway.errors import Malformed

APPLICATION: Final = 0
CONTEXT: Final = 1
OPENING: Final = 2
CLOSING: Final = 3

_EXTENDED_NUMBER: Final = 15
_EXTENDED_LENGTH: Final = 5
_OPENING: Final = 6
_CLOSING: Final = 7


class Tag(NamedTuple):
    """``length`` of an application boolean is its value."""

    kind: int
    number: int
    length: int = 0
    data: bytes = b""

    @property
    def unsigned(self) -> int:
        """The content as a number."""
        return int.from_bytes(self.data)


def parse(body: bytes) -> list[Tag]:
    """All tags, one after the other, brackets too. Raises Malformed."""
    found: list[Tag] = []
    at, end = 0, len(body)
    try:
        while at < end:
            first = body[at]
            at += 1
            number, low = first >> 4, first & 7
            if number == _EXTENDED_NUMBER:
                number = body[at]
                at += 1
            if first & 8:
                if low >= _OPENING:
                    found.append(Tag(OPENING if low == _OPENING else CLOSING, number))
                    continue
                kind = CONTEXT
            else:
                kind = APPLICATION
            length = low
            if low == _EXTENDED_LENGTH:
                length, at = _length(body, at)
            elif low > _EXTENDED_LENGTH:
                raise Malformed("an application value with a length that there is not")
            if kind == APPLICATION and number == BOOLEAN:
                found.append(Tag(kind, number, length))
                continue
            if at + length > end:
                raise Malformed("a value that is longer than its message")
            found.append(Tag(kind, number, length, body[at : at + length]))
            at += length
    except (IndexError, struct.error):
        raise Malformed("a message that ends within a tag") from None
    return found


def _length(body: bytes, at: int) -> tuple[int, int]:
    length = body[at]
    if length == 254:
        return struct.unpack_from(">H", body, at + 1)[0], at + 3
    if length == 255:
        return struct.unpack_from(">I", body, at + 1)[0], at + 5
    return length, at + 1


def application(atom: Atom) -> bytes:
    """A plain value."""
    if atom.tag == BOOLEAN:
        return bytes((BOOLEAN << 4 | atom.length,))
    return _head(atom.tag, 0, len(atom.data)) + atom.data


def context(number: int, data: bytes) -> bytes:
    """A value whose meaning is given by its place; ``number`` below 15."""
    return _head(number, 8, len(data)) + data


def unsigned(number: int, value: int) -> bytes:
    """A number whose meaning is given by its place."""
    return context(number, value.to_bytes(max(1, (value.bit_length() + 7) // 8)))


def opening(number: int) -> bytes:
    """The begin of something that is built of several."""
    return bytes((number << 4 | 8 | _OPENING,))


def closing(number: int) -> bytes:
    """Its end."""
    return bytes((number << 4 | 8 | _CLOSING,))


def _head(number: int, kind: int, length: int) -> bytes:
    if length < _EXTENDED_LENGTH:
        return bytes((number << 4 | kind | length,))
    first = number << 4 | kind | _EXTENDED_LENGTH
    if length < 254:
        return bytes((first, length))
    return struct.pack(">BBH", first, 254, length) if length < 65_536 else struct.pack(">BBI", first, 255, length)


class Reader:
    """Tags, taken one by one in the order that a service says. Every verb raises Malformed for another order."""

    __slots__ = ("_at", "_tags")

    def __init__(self, body: bytes) -> None:
        self._tags = parse(body)
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        """Nothing is left."""
        return self._at >= len(self._tags)

    def has(self, kind: int, number: int) -> bool:
        """Whether this is next."""
        return not self.is_at_end and self._tags[self._at][:2] == (kind, number)

    def take(self, kind: int, number: int) -> Tag:
        """What must be next."""
        if not self.has(kind, number):
            raise Malformed(f"tag {number} was expected")
        self._at += 1
        return self._tags[self._at - 1]

    def optional(self, number: int) -> int | None:
        """A number that may be left out."""
        return self.take(CONTEXT, number).unsigned if self.has(CONTEXT, number) else None

    def values(self, number: int) -> tuple[Atom, ...]:
        """The plain values between two brackets."""
        self.take(OPENING, number)
        found: list[Atom] = []
        is_plain, depth = True, 0
        while depth or not self.has(CLOSING, number):
            if self.is_at_end:
                raise Malformed("a bracket that is never closed")
            tag = self._tags[self._at]
            self._at += 1
            depth += (tag.kind == OPENING) - (tag.kind == CLOSING)
            is_plain = is_plain and tag.kind == APPLICATION
            found.append(Atom(tag.number, tag.length, tag.data))
        self.take(CLOSING, number)
        if not is_plain:
            raise Built("a value that is made of several parts; only plain values can be points")
        return tuple(found)


class Built(Malformed):
    """A value that is none of a point, in an answer that is in order otherwise."""
