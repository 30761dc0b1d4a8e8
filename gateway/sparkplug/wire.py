"""The wire format of Protocol Buffers, as far as Sparkplug needs it: varints, fixed 32 and 64 bits, bytes.

Source: "Encoding" (https://protobuf.dev/programming-guides/encoding/). Pure.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from gateway.errors import Malformed

VARINT: Final = 0
FIXED64: Final = 1
BYTES: Final = 2
FIXED32: Final = 5

LONGEST_VARINT: Final = 10
"""Bytes of a varint of 64 bits."""

_MASK: Final = (1 << 64) - 1


def varint(value: int) -> bytes:
    """0 to 2**64 - 1, seven bits in a byte, lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field: int, value: int) -> bytes:
    """A field with a varint: unsigned, or negative in two's complement of 64 bits."""
    return varint(field << 3 | VARINT) + varint(value & _MASK)


def data(field: int, value: bytes) -> bytes:
    """A field with bytes, text or a message."""
    return varint(field << 3 | BYTES) + varint(len(value)) + value


def float32(field: int, value: float) -> bytes:
    """A field with a float of 32 bits. Raises OverflowError when it is too large for that."""
    return varint(field << 3 | FIXED32) + struct.pack("<f", value)


def float64(field: int, value: float) -> bytes:
    """A field with a float of 64 bits."""
    return varint(field << 3 | FIXED64) + struct.pack("<d", value)


def fields(message: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """(field, wire type, value) of each field in order; fixed ones as their bytes. Raises Malformed."""
    at, end = 0, len(message)
    while at < end:
        key, at = _read_varint(message, at)
        field, kind = key >> 3, key & 7
        if field == 0:
            raise Malformed("a protobuf field has number 0")
        if kind == VARINT:
            value, at = _read_varint(message, at)
            yield field, kind, value
            continue
        if kind == BYTES:
            size, at = _read_varint(message, at)
        elif kind == FIXED32:
            size = 4
        elif kind == FIXED64:
            size = 8
        else:
            raise Malformed(f"protobuf wire type {kind} is not known")
        if size > end - at:
            raise Malformed("a protobuf field is longer than its message")
        yield field, kind, message[at : at + size]
        at += size


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    for byte in message[at : at + LONGEST_VARINT]:
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _MASK, at
        shift += 7
    raise Malformed("a protobuf varint does not end")
