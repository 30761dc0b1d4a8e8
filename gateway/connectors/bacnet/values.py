"""Plain BACnet values <-> values: one application tag each (ASHRAE 135 clause 20.2). Pure, by hand."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from gateway.connectors.bacnet.objects import Object
from gateway.connectors.shape import shortest_single
from gateway.errors import Rejected
from gateway.message import Value

NULL: Final = 0
BOOLEAN: Final = 1
UNSIGNED: Final = 2
INTEGER: Final = 3
REAL: Final = 4
DOUBLE: Final = 5
OCTETS: Final = 6
TEXT: Final = 7
BITS: Final = 8
ENUMERATED: Final = 9
DATE: Final = 10
TIME: Final = 11
OBJECT: Final = 12

_UTF8: Final = 0
_CHARACTER_SETS: Final = {0: "utf-8", 3: "utf-32-be", 4: "utf-16-be", 5: "latin-1"}
_ANY: Final = 255
"""A part of a date or time that is left open."""

KINDS: Final = {UNSIGNED: "unsigned", INTEGER: "integer", REAL: "real", DOUBLE: "double", ENUMERATED: "enumerated"} | {
    BOOLEAN: "boolean",
    TEXT: "text",
}
"""What a value that was read as this is written as."""


class Atom(NamedTuple):
    """One application tag: its number, its length (of a boolean the value), its bytes."""

    tag: int
    length: int
    data: bytes = b""


class Flags(NamedTuple):
    """The four status flags of an object (clause 12)."""

    in_alarm: bool
    fault: bool
    overridden: bool
    out_of_service: bool


def decode(atoms: Sequence[Atom], is_binary: bool = False) -> Value:
    """The value of a property; a list for an array of several. ``is_binary``: an enumerated 0 or 1 is false or true.

    Raises ValueError for null, and for bytes that mean nothing.
    """
    if len(atoms) == 1:
        return _decode(atoms[0], is_binary)
    return [_decode(atom, is_binary) for atom in atoms]


def _decode(atom: Atom, is_binary: bool) -> Value:
    tag, data = atom.tag, atom.data
    try:
        if tag == NULL:
            raise ValueError("it holds no value (null)")
        if tag == BOOLEAN:
            return bool(atom.length)
        if tag in (UNSIGNED, ENUMERATED):
            if not 1 <= len(data) <= 8:
                raise ValueError(f"a number of {len(data)} bytes")
            number = int.from_bytes(data)
            return bool(number) if is_binary and number in (0, 1) else number
        if tag == INTEGER:
            return int.from_bytes(data, signed=True)
        if tag == REAL:
            return shortest_single(struct.unpack(">f", data)[0])
        if tag == DOUBLE:
            return float(struct.unpack(">d", data)[0])
        if tag == OCTETS:
            return data.hex()
        if tag == TEXT:
            return data[1:].decode(_CHARACTER_SETS[data[0]])
        if tag == BITS:
            return decode_bits(data)
        if tag == DATE:
            return _date(data)
        if tag == TIME:
            return _time(data)
        if tag == OBJECT:
            number = int.from_bytes(data)
            return str(Object(number >> 22, number & 0x3FFFFF))
    except (struct.error, IndexError, KeyError, UnicodeDecodeError) as error:
        raise ValueError(f"a value that means nothing: {error!r}") from None
    raise ValueError(f"a value of the unknown type {tag}")


def decode_bits(data: bytes) -> list[bool]:
    """A bit string: the unused bits of the last byte, then the bits, the first one highest."""
    unused = data[0]
    if unused > 7 or (unused and len(data) < 2):
        raise ValueError("a bit string that means nothing")
    count = (len(data) - 1) * 8 - unused
    return [bool(data[1 + at // 8] >> (7 - at % 8) & 1) for at in range(count)]


def decode_flags(atoms: Sequence[Atom]) -> Flags:
    """Status flags. Raises ValueError."""
    bits = decode(atoms)
    if not isinstance(bits, list) or len(bits) < 4:
        raise ValueError("status flags that are none")
    return Flags(*bits[:4])


def _date(data: bytes) -> str:
    year, month, day, _ = struct.unpack(">4B", data)
    parts = ("*" if year == _ANY else f"{1900 + year:04}", *("*" if p == _ANY else f"{p:02}" for p in (month, day)))
    return "-".join(parts)


def _time(data: bytes) -> str:
    hour, minute, second, hundredths = ("*" if part == _ANY else f"{part:02}" for part in struct.unpack(">4B", data))
    return f"{hour}:{minute}:{second}.{hundredths}"


def encode(value: Value, kind: str) -> Atom:
    """The value as ``kind`` (see ``objects.KINDS``); null for None. Raises Rejected."""
    if value is None:
        return Atom(NULL, 0)
    if kind == "text":
        if not isinstance(value, str):
            raise Rejected(f"must be text, not {value!r}")
        text = bytes((_UTF8,)) + value.encode("utf-8", "replace")
        return Atom(TEXT, len(text), text)
    if kind in ("binary", "boolean"):
        if value not in (0, 1) or isinstance(value, float | str):
            raise Rejected(f"must be true or false, not {value!r}")
        return Atom(BOOLEAN, int(value)) if kind == "boolean" else Atom(ENUMERATED, 1, bytes((int(value),)))
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Rejected(f"must be a number, not {value!r}")
    if kind in ("real", "double"):
        try:
            data = struct.pack(">f" if kind == "real" else ">d", value)
        except OverflowError:
            raise Rejected(f"{value!r} does not fit into {kind}") from None
        return Atom(REAL if kind == "real" else DOUBLE, len(data), data)
    return _whole(value, kind)


def _whole(value: float, kind: str) -> Atom:
    if value != int(value):
        raise Rejected(f"must be a whole number, not {value!r}")
    number = int(value)
    low, high = (-(1 << 31), (1 << 31) - 1) if kind == "integer" else (0, (1 << 32) - 1)
    if not low <= number <= high:
        raise Rejected(f"must be between {low} and {high}, not {value!r}")
    if kind == "integer":
        data = number.to_bytes((number + (number < 0)).bit_length() // 8 + 1, signed=True)
        return Atom(INTEGER, len(data), data)
    data = number.to_bytes(max(1, (number.bit_length() + 7) // 8))
    return Atom(UNSIGNED if kind == "unsigned" else ENUMERATED, len(data), data)
