"""The TLV format of LwM2M (OMA LwM2M Core 1.1.1 section 7.4.3): resources of an object instance. Pure."""

from __future__ import annotations

import math
import struct
from typing import Final, Literal

from gateway.message import Value

INSTANCE: Final = 0
RESOURCE_INSTANCE: Final = 1
MULTIPLE: Final = 2
RESOURCE: Final = 3

MAX_DEPTH: Final = 3
"""Object instance, resource, instance of a resource."""

Type = Literal["int", "float", "bool", "text"]


def decode(data: bytes, path: tuple[int, ...] = ()) -> dict[str, bytes]:
    """Values by their path below what was read: ``5700``, ``0/5700``, ``0/6/1``. Raises ValueError for what is none."""
    found: dict[str, bytes] = {}
    at = 0
    while at < len(data):
        head = data[at]
        kind, at = head >> 6, at + 1
        id_size, length_size = (2 if head & 0x20 else 1), head >> 3 & 3
        if at + id_size + length_size > len(data):
            raise ValueError("no TLV: it ends too early")
        identifier = int.from_bytes(data[at : at + id_size], "big")
        at += id_size
        length = int.from_bytes(data[at : at + length_size], "big") if length_size else head & 7
        at += length_size
        if at + length > len(data):
            raise ValueError("no TLV: it ends too early")
        content, at = data[at : at + length], at + length
        place = (*path, identifier)
        if kind in (RESOURCE, RESOURCE_INSTANCE):
            found["/".join(map(str, place))] = content
        elif len(place) >= MAX_DEPTH:
            raise ValueError("no TLV: it is nested too deep")
        else:
            found.update(decode(content, place))
    return found


def value_of(content: bytes, type: Type) -> Value:
    """The content of a resource as a value. Raises ValueError when its length is none of that type."""
    if type == "text":
        return content.decode()
    if type == "bool":
        if content not in (b"\0", b"\1"):
            raise ValueError(f"{content.hex()} is no boolean")
        return content == b"\1"
    if type == "int":
        if len(content) not in (1, 2, 4, 8):
            raise ValueError(f"{len(content)} bytes are no integer")
        return int.from_bytes(content, "big", signed=True)
    if len(content) not in (4, 8):
        raise ValueError(f"{len(content)} bytes are no float")
    return float(struct.unpack(">f" if len(content) == 4 else ">d", content)[0])


def encode(identifier: int, value: Value, type: Type) -> bytes:
    """One resource with a value. Raises ValueError for a value that the type cannot hold."""
    content = content_of(value, type)
    head = RESOURCE << 6 | (0x20 if identifier > 0xFF else 0)
    name = identifier.to_bytes(2 if identifier > 0xFF else 1, "big")
    if len(content) < 8:
        return bytes((head | len(content),)) + name + content
    size = (len(content).bit_length() + 7) // 8
    return bytes((head | size << 3,)) + name + len(content).to_bytes(size, "big") + content


def content_of(value: Value, type: Type) -> bytes:
    """The bytes of a value. Raises ValueError."""
    if type == "text" and isinstance(value, str):
        return value.encode()
    if type == "bool" and isinstance(value, bool):
        return b"\1" if value else b"\0"
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        if type == "float":
            return struct.pack(">d", value)
        if type == "int" and value == int(value) and -(2**63) <= value < 2**63:
            number = int(value)
            size = next(size for size in (1, 2, 4, 8) if -(1 << 8 * size - 1) <= number < 1 << 8 * size - 1)
            return number.to_bytes(size, "big", signed=True)
    raise ValueError(f"{value!r} is no {type}")
