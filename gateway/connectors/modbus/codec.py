"""Registers <-> values, for every type and byte order. Pure.

A register is a 16 bit number. A ``Codec`` is made once for each point and turns its registers into the raw value
that they hold and back; scale, names and bits are the shared ``Shape``'s affair. The order of bytes needs no cases:
each of the four orders is a pair of byte orders, one for taking the registers apart and one for reading the bytes::

    bytes of the value    A B C D
    ABCD  as sent         registers big,    value big
    BADC  swapped bytes   registers little, value big
    CDAB  swapped words   registers little, value little
    DCBA  both            registers big,    value little

The same pairs hold for 2 and 8 bytes, and for text. Does not know addresses, tables or limits of a point.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

from gateway.errors import Rejected
from gateway.message import Value

Order: TypeAlias = Literal["ABCD", "BADC", "CDAB", "DCBA"]

ORDERS: Final[dict[str, tuple[str, str]]] = {
    # order: (byte order of the registers, byte order of the value), as struct writes them
    "ABCD": (">", ">"),
    "BADC": ("<", ">"),
    "CDAB": ("<", "<"),
    "DCBA": (">", "<"),
}

_FORMATS: Final = {
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "int64": "q",
    "uint64": "Q",
    "float32": "f",
    "float64": "d",
}

_DIGITS: Final = {"bcd16": 4, "bcd32": 8}
"""Decimal digits, four bits each, of which the highest is the first."""

TYPES: Final = ("bool", *_FORMATS, *_DIGITS)
"""Types without a length; the other is ``string:<bytes>``."""

LONGEST_STRING: Final = 240
"""Bytes of a string; 120 registers still fit into one request."""


def words_of(type: str) -> int:
    """Registers (or bits, for bool) that a value of this type takes. Raises ValueError with what it must be."""
    if type == "bool":
        return 1
    if type in _FORMATS:
        return struct.calcsize("<" + _FORMATS[type]) // 2
    if type in _DIGITS:
        return _DIGITS[type] // 4
    match = re.fullmatch(r"string:([0-9]{1,4})", type)
    if match is None or not 1 <= int(match[1]) <= LONGEST_STRING:
        raise ValueError(f"must be one of {', '.join(TYPES)} or string:<bytes> up to string:{LONGEST_STRING}")
    return (int(match[1]) + 1) // 2


class Codec:
    """Both directions for one point. ``width`` is the number of registers, or bits, that it takes."""

    __slots__ = ("width",)

    def __init__(self, width: int) -> None:
        self.width = width

    def decode(self, words: Sequence[int]) -> Value:
        """The value of ``width`` registers or bits. Raises ValueError for bits that are no value (NaN, no text)."""
        raise NotImplementedError

    def encode(self, value: Value) -> list[int]:
        """The registers or bits that say ``value``. Raises Rejected for what the type cannot hold."""
        raise NotImplementedError

    def agree(self, sent: Sequence[int], back: Sequence[int]) -> bool:
        """Whether what was read back is what was sent."""
        return list(sent) == list(back)


def ends_of(type: str) -> tuple[int, int] | None:
    """Least and greatest number of a type of whole numbers; None for every other type."""
    if type in _DIGITS:
        return 0, 10 ** _DIGITS[type] - 1
    if type not in _FORMATS or type.startswith("float"):
        return None
    steps = 1 << (words_of(type) * 16)
    low = 0 if type[0] == "u" else -steps // 2
    return low, low + steps - 1


def make_codec(type: str, order: Order = "ABCD") -> Codec:
    """The codec of a point. Raises ValueError for an unknown type."""
    width = words_of(type)
    if type == "bool":
        return _Bit(1)
    if type in ("float32", "float64"):
        return _Float(type, width, order)
    if type in _DIGITS:
        return _Decimal(type, width, order)
    if type in _FORMATS:
        return _Integer(type, width, order)
    return _Text(int(type.partition(":")[2]), width, order)


class _Bit(Codec):
    """A coil or discrete input."""

    __slots__ = ()

    def decode(self, words: Sequence[int]) -> Value:
        return bool(words[0])

    def encode(self, value: Value) -> list[int]:
        # True and 1 are equal; "1" is not a switch position.
        if isinstance(value, str) or value not in (0, 1):
            raise Rejected(f"must be true or false, not {value!r}")
        return [int(value)]


class _Number(Codec):
    """What integers and floats share: the way between registers and the number."""

    __slots__ = ("_type", "_registers", "_raw")

    def __init__(self, type: str, width: int, order: Order, format: str = "") -> None:
        super().__init__(width)
        for_registers, for_value = ORDERS[order]
        self._type = type
        self._registers = struct.Struct(f"{for_registers}{width}H")
        self._raw = struct.Struct(for_value + (format or _FORMATS[type]))

    def _read(self, words: Sequence[int]) -> float:
        number: float = self._raw.unpack(self._registers.pack(*words))[0]
        return number

    def _write(self, raw: float) -> list[int]:
        return list(self._registers.unpack(self._raw.pack(raw)))


class _Integer(_Number):
    """Whole numbers, with all their bits."""

    __slots__ = ("_ends",)

    def __init__(self, type: str, width: int, order: Order, format: str = "") -> None:
        super().__init__(type, width, order, format)
        self._ends = ends_of(type) or (0, 0)

    def decode(self, words: Sequence[int]) -> Value:
        return self._read(words)

    def encode(self, value: Value) -> list[int]:
        return self._write(self._checked(value))

    def _checked(self, value: Value) -> int:
        number = _number(value)
        if number != int(number):
            raise Rejected(f"must be a whole number, not {value!r}")
        low, high = self._ends
        if not low <= number <= high:
            raise Rejected(f"must be between {low} and {high} to fit {self._type}, not {value!r}")
        return int(number)


class _Decimal(_Integer):
    """Binary coded decimals: 0x1234 is 1234."""

    __slots__ = ()

    def __init__(self, type: str, width: int, order: Order) -> None:
        super().__init__(type, width, order, {1: "H", 2: "I"}[width])

    def decode(self, words: Sequence[int]) -> Value:
        digits = f"{self._read(words):x}"
        if not digits.isdecimal():
            raise ValueError(f"the registers hold 0x{digits}, which are no decimal digits")
        return int(digits)

    def encode(self, value: Value) -> list[int]:
        return self._write(int(str(self._checked(value)), 16))


class _Float(_Number):
    """Floating point, passed on bit for bit."""

    __slots__ = ()

    def decode(self, words: Sequence[int]) -> Value:
        raw = self._read(words)
        if not math.isfinite(raw):
            raise ValueError("the device says it is no number (NaN or infinite)")
        return raw

    def encode(self, value: Value) -> list[int]:
        number = _number(value)
        try:
            raw = float(number)
            if math.isfinite(raw):
                return self._write(raw)
        except OverflowError:
            pass
        raise Rejected(f"is too large for {self._type}: {value!r}")

    def agree(self, sent: Sequence[int], back: Sequence[int]) -> bool:
        # A device may keep it in another precision and round.
        return list(sent) == list(back) or math.isclose(self._read(sent), self._read(back), rel_tol=1e-5)


class _Text(Codec):
    """UTF-8 text, filled up with NUL."""

    __slots__ = ("_size", "_registers", "_is_reversed")

    def __init__(self, size: int, width: int, order: Order) -> None:
        super().__init__(width)
        for_registers, for_value = ORDERS[order]
        self._size = size
        self._registers = struct.Struct(f"{for_registers}{width}H")
        self._is_reversed = for_value == "<"

    def decode(self, words: Sequence[int]) -> Value:
        data = self._registers.pack(*words)
        if self._is_reversed:
            data = data[::-1]
        try:
            return data[: self._size].partition(b"\0")[0].decode().rstrip(" ")
        except UnicodeDecodeError:
            raise ValueError("the registers hold no text in UTF-8") from None

    def encode(self, value: Value) -> list[int]:
        if not isinstance(value, str):
            raise Rejected(f"must be text, not {value!r}")
        data = value.encode("utf-8", "surrogatepass")
        if len(data) > self._size or "\0" in value:
            raise Rejected(f"must be text of at most {self._size} bytes without NUL")
        data = data.ljust(2 * self.width, b"\0")
        return list(self._registers.unpack(data[::-1] if self._is_reversed else data))


def _number(value: Value) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Rejected(f"must be a number, not {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise Rejected("must be a finite number")
    return value
