"""Bytes of an S7 controller <-> values. Everything is big-endian, as IEC 61131-3 types lie in Siemens' memory.

A type has a name, or a name and a length: ``int``, ``real``, ``string:20``. Numbers of time are seconds; moments are
text of ISO 8601 without a zone, for a controller's clock has none. Pure.
"""

from __future__ import annotations

import math
import struct
from abc import ABC, abstractmethod
from typing import Final

from gateway.connectors.s7.moments import MOMENTS
from gateway.connectors.shape import shortest_single
from gateway.errors import Rejected
from gateway.message import Value

INTEGERS: Final = {
    "byte": ">B", "usint": ">B", "sint": ">b", "word": ">H", "uint": ">H", "int": ">h",
    "dword": ">I", "udint": ">I", "dint": ">i", "lword": ">Q", "ulint": ">Q", "lint": ">q",
}  # fmt: skip
FLOATS: Final = {"real": ">f", "lreal": ">d"}
TEXTS: Final = {"chars": (1, 65_535), "string": (1, 254), "wstring": (1, 16_382)}
"""Types with a length, and what it may be: characters."""

LONGEST_TEXT: Final = 2048
"""Characters of the longest text that is read: more is a file, not a point."""

TYPES: Final = ("bool", *INTEGERS, *FLOATS, *MOMENTS, *(f"{name}:<characters>" for name in TEXTS))


class Codec(ABC):
    """One type.

    size  bytes that the value takes
    head  bytes at its begin that a write leaves alone
    """

    size: int
    head = 0

    @abstractmethod
    def decode(self, raw: bytes) -> Value:
        """The value in ``size`` bytes. Raises ValueError when they mean nothing."""

    @abstractmethod
    def encode(self, value: Value) -> bytes:
        """The bytes behind ``head``. Raises Rejected when the type cannot hold the value."""

    def agree(self, sent: bytes, back: bytes) -> bool:
        """Whether what was read back is what was sent."""
        return back[self.head : self.head + len(sent)] == sent

    def room(self, raw: bytes) -> int | None:
        """Characters that the controller itself has room for, from the head of ``raw``; None for other types."""
        return None


class Bool(Codec):
    """One bit of a byte."""

    size = 1

    def __init__(self, bit: int) -> None:
        self._mask = 1 << bit

    def decode(self, raw: bytes) -> bool:
        return bool(raw[0] & self._mask)

    def encode(self, value: Value) -> bytes:
        """One byte, 0 or 1, as a write of a single bit takes it."""
        if value not in (0, 1) or isinstance(value, float):
            raise Rejected(f"must be true or false, not {value!r}")
        return bytes((int(bool(value)),))

    def agree(self, sent: bytes, back: bytes) -> bool:
        return bool(back[0] & self._mask) == bool(sent[0])


class Number(Codec):
    """Whole numbers and floats."""

    def __init__(self, type: str) -> None:
        self._type = type
        self._is_whole = type in INTEGERS
        self._struct = struct.Struct(INTEGERS.get(type) or FLOATS[type])
        self.size = self._struct.size

    def decode(self, raw: bytes) -> int | float:
        value: int | float = self._struct.unpack(raw)[0]
        if not math.isfinite(value):
            raise ValueError(f"the controller says {value}, which is no number")
        if self._type == "real":
            # The shortest number that is the same REAL: 71.3, not 71.30000305175781.
            return shortest_single(value)
        return value

    def encode(self, value: Value) -> bytes:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise Rejected(f"must be a number, not {value!r}")
        if self._is_whole and value != int(value):
            raise Rejected(f"{self._type} holds whole numbers, not {value!r}")
        try:
            return self._struct.pack(int(value) if self._is_whole else value)
        except (struct.error, OverflowError):
            raise Rejected(f"{value!r} does not fit into {self._type}") from None


class Chars(Codec):
    """ARRAY OF CHAR: a fixed number of characters, spaces and zeros at the end cut off."""

    def __init__(self, length: int) -> None:
        self.size = length

    def decode(self, raw: bytes) -> str:
        return raw.decode("latin-1").rstrip("\0 ")

    def encode(self, value: Value) -> bytes:
        return _narrow(value, self.size).ljust(self.size)


class String(Codec):
    """STRING: most characters, characters in use, then one byte each (Latin-1). A write leaves the first byte alone."""

    head = 1

    def __init__(self, length: int) -> None:
        self._length = length
        self.size = length + 2

    def decode(self, raw: bytes) -> str:
        most, used = raw[0], raw[1]
        if used > most or most > 254:
            raise ValueError(f"this is no STRING: it says {used} of {most} characters")
        if used > self._length:
            raise ValueError(f"it has {used} characters; the settings say string:{self._length}")
        return raw[2 : 2 + used].decode("latin-1")

    def encode(self, value: Value) -> bytes:
        text = _narrow(value, self._length)
        return bytes((len(text),)) + text

    def room(self, raw: bytes) -> int | None:
        return raw[0]


class WString(Codec):
    """WSTRING: the same in 16 bits, UTF-16."""

    head = 2

    def __init__(self, length: int) -> None:
        self._length = length
        self.size = 2 * length + 4

    def decode(self, raw: bytes) -> str:
        most, used = struct.unpack_from(">HH", raw)
        if used > most:
            raise ValueError(f"this is no WSTRING: it says {used} of {most} characters")
        if used > self._length:
            raise ValueError(f"it has {used} characters; the settings say wstring:{self._length}")
        return raw[4 : 4 + 2 * used].decode("utf-16-be")

    def encode(self, value: Value) -> bytes:
        if not isinstance(value, str):
            raise Rejected(f"must be text, not {value!r}")
        text = value.encode("utf-16-be", "surrogatepass")
        if len(text) > 2 * self._length:
            raise Rejected(f"must have at most {self._length} characters, not {len(text) // 2}")
        return struct.pack(">H", len(text) // 2) + text

    def room(self, raw: bytes) -> int | None:
        return int(struct.unpack_from(">H", raw)[0])


class Moment(Codec):
    """A time or a date (``moments.py``)."""

    def __init__(self, type: str) -> None:
        self.size, self._decode, self._encode = MOMENTS[type]

    def decode(self, raw: bytes) -> Value:
        return self._decode(raw)

    def encode(self, value: Value) -> bytes:
        return self._encode(value)


def parse_type(type: str) -> tuple[str, int | None]:
    """Name and length of a type. Raises ValueError with what it must be."""
    name, colon, length = type.partition(":")
    if name in TEXTS:
        low, high = TEXTS[name]
        high = min(high, LONGEST_TEXT)
        if not (length.isascii() and length.isdigit() and len(length) < 6 and low <= int(length) <= high):
            raise ValueError(f"{name} needs its length, {low} to {high} characters, as in {name}:20")
        return name, int(length)
    if colon or (name != "bool" and name not in INTEGERS and name not in FLOATS and name not in MOMENTS):
        raise ValueError("must be one of " + ", ".join(TYPES))
    return name, None


def make_codec(type: str, bit: int | None = None) -> Codec:
    """The codec of ``type``; ``bit`` for bool. Raises ValueError for a type that is none."""
    name, length = parse_type(type)
    if name == "bool":
        return Bool(bit or 0)
    if length is not None:
        if name == "chars":
            return Chars(length)
        return String(length) if name == "string" else WString(length)
    return Moment(name) if name in MOMENTS else Number(name)


def _narrow(value: Value, length: int) -> bytes:
    if not isinstance(value, str):
        raise Rejected(f"must be text, not {value!r}")
    try:
        text = value.encode("latin-1")
    except UnicodeEncodeError:
        raise Rejected("must be of Latin-1 characters; only wstring holds others") from None
    if len(text) > length:
        raise Rejected(f"must have at most {length} characters, not {len(text)}")
    return text
