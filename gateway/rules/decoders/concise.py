"""CBOR to values that JSON can say. Pure.

Source: RFC 8949. A byte string becomes hex text, a time (tags 0 and 1) a number of seconds or its text, an undefined
value None, a key of a map its text. Several items one behind the other (RFC 8742) are a record each, as are the items
of an array. Lengths are believed only as far as there are bytes, so a short message cannot ask for much memory.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from gateway.errors import Malformed
from gateway.message import Message, Value, dump_json
from gateway.rules.decoders.record import Record

MAX_DEPTH: Final = 32
"""Arrays, maps and tags inside each other."""

MAX_BYTES: Final = 65_536
"""Bytes of one message: each may be an item, and each item takes a microsecond or two."""

_BREAK: Final = object()
_FLOATS: Final = {25: struct.Struct(">e"), 26: struct.Struct(">f"), 27: struct.Struct(">d")}
_SIMPLE: Final[dict[int, Value]] = {20: False, 21: True, 22: None, 23: None}
_INT64: Final = (1 << 64) - 1


def cbor_decoder(message: Message) -> Iterator[Record]:
    """The items of a message."""
    data = message.payload
    at = 0
    if not data:
        yield Record(None, "is empty", data)
    if len(data) > MAX_BYTES:
        yield Record(None, f"has {len(data)} bytes; CBOR is read up to {MAX_BYTES}", data)
        return
    while at < len(data):
        begin = at
        try:
            value, at = _item(data, at, 1)
            if value is _BREAK:
                raise Malformed("an end without its begin")
        except Malformed as error:
            yield Record(None, f"is not CBOR: {error}, at byte {begin}", data[begin:])
            return
        for one in value if isinstance(value, list) else (value,):
            yield Record(one, raw=data[begin:at])


def _item(data: bytes, at: int, depth: int) -> tuple[Value, int]:
    """The item that begins at ``at``, and where the next one begins. Raises Malformed."""
    if depth > MAX_DEPTH:
        raise Malformed(f"nested deeper than {MAX_DEPTH}")
    if at >= len(data):
        raise Malformed("it ends too early")
    major, low = data[at] >> 5, data[at] & 0x1F
    if major == 7:
        return _simple(data, at, low)
    is_open = low == 31
    argument, at = (0, at + 1) if is_open else _argument(data, at + 1, low)
    if is_open and major in (0, 1, 6):
        raise Malformed("a length where none can be")
    if major == 0:
        return argument, at
    if major == 1:
        if argument >= _INT64:
            raise Malformed("a number does not fit in 64 bits")
        return -1 - argument, at
    if major == 6:
        return _tagged(argument, *_item(data, at, depth + 1))
    if major in (2, 3):
        return _string(data, at, argument, major, is_open)
    if not is_open and argument > len(data) - at:
        raise Malformed("it ends too early")
    return _items(data, at, None if is_open else argument, major == 5, depth)


def _argument(data: bytes, at: int, low: int) -> tuple[int, int]:
    if low < 24:
        return low, at
    if low > 27:
        raise Malformed("a length of a kind that is not known")
    end = at + (1 << low - 24)
    if end > len(data):
        raise Malformed("it ends too early")
    return int.from_bytes(data[at:end], "big"), end


def _string(data: bytes, at: int, length: int, major: int, is_open: bool) -> tuple[Value, int]:
    if is_open:
        found = b""
        chunks = []
        while True:
            if at >= len(data):
                raise Malformed("it ends too early")
            if data[at] == 0xFF:
                at += 1
                break
            if data[at] >> 5 != major or data[at] & 0x1F == 31:
                raise Malformed("a piece of a string of another kind")
            length, at = _argument(data, at + 1, data[at] & 0x1F)
            chunks.append(_bytes(data, at, length))
            at += length
        found = b"".join(chunks)
    else:
        found = _bytes(data, at, length)
        at += length
    if major == 2:
        return found.hex(), at
    try:
        return found.decode(), at
    except UnicodeDecodeError:
        raise Malformed("a text that is not UTF-8") from None


def _bytes(data: bytes, at: int, length: int) -> bytes:
    if length > len(data) - at:
        raise Malformed("it ends too early")
    return data[at : at + length]


def _items(data: bytes, at: int, count: int | None, is_map: bool, depth: int) -> tuple[Value, int]:
    found: list[Value] = []
    wanted = None if count is None else count * 2 if is_map else count
    while wanted is None or len(found) < wanted:
        value, at = _item(data, at, depth + 1)
        if value is _BREAK:
            if wanted is not None:
                raise Malformed("an end without its begin")
            break
        found.append(value)
    if not is_map:
        return found, at
    if len(found) % 2:
        raise Malformed("a map with a key and no value")
    return {_key(key): value for key, value in zip(found[::2], found[1::2], strict=True)}, at


def _key(key: Value) -> str:
    return key if isinstance(key, str) else dump_json(key).decode()


def _simple(data: bytes, at: int, low: int) -> tuple[Value, int]:
    if low == 31:
        return _BREAK, at + 1
    if low in _SIMPLE:
        return _SIMPLE[low], at + 1
    if low in _FLOATS:
        shape = _FLOATS[low]
        if at + 1 + shape.size > len(data):
            raise Malformed("it ends too early")
        value = shape.unpack_from(data, at + 1)[0]
        return (value if value - value == 0 else None), at + 1 + shape.size
    raise Malformed("a simple value that is not known")


def _tagged(tag: int, value: Value, at: int) -> tuple[Value, int]:
    """Section 3.4: what a tag means; of most it is enough to know what they hold."""
    if value is _BREAK:
        raise Malformed("a tag without anything")
    if tag in (2, 3) and isinstance(value, str):
        number = int(value or "0", 16)
        if number > _INT64:
            raise Malformed("a number does not fit in 64 bits")
        return (number if tag == 2 else -1 - number), at
    if tag in (4, 5) and isinstance(value, list) and len(value) == 2 and all(type(one) is int for one in value):
        exponent, mantissa = value
        if abs(exponent) > 1000:
            raise Malformed("a fraction that is too long")
        try:
            return float(mantissa) * (10.0 if tag == 4 else 2.0) ** exponent, at
        except OverflowError:
            raise Malformed("a number that is too big") from None
    return value, at
