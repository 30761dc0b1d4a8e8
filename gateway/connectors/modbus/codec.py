"""Registers <-> values, for every type and byte order. Pure.

A register is a 16 bit number. A ``Codec`` is made once for each point and turns its registers into a scaled value
and back. The order of bytes needs no cases: each of the four orders is a pair of byte orders, one for taking the
registers apart and one for reading the bytes::

    bytes of the value    A B C D
    ABCD  as sent         registers big,    value big
    BADC  swapped bytes   registers little, value big
    CDAB  swapped words   registers little, value little
    DCBA  both            registers big,    value little

The same pairs hold for 2 and 8 bytes. Does not know addresses, tables or limits of a point.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence
from fractions import Fraction
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

TYPES: Final = ("bool", *_FORMATS)
"""Types without a length; the other is ``string:<bytes>``."""

LONGEST_STRING: Final = 240
"""Bytes of a string; 120 registers still fit into one request."""

_MOST_DECIMALS: Final = 12


def words_of(type: str) -> int:
    """Registers (or bits, for bool) that a value of this type takes. Raises ValueError with what it must be."""
    if type == "bool":
        return 1
    if type in _FORMATS:
        return struct.calcsize("<" + _FORMATS[type]) // 2
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


def make_codec(type: str, order: Order = "ABCD", scale: float = 1.0, offset: float = 0.0) -> Codec:
    """The codec of a point. Raises ValueError for an unknown type."""
    width = words_of(type)
    if type == "bool":
        return _Bit(1)
    if type in ("float32", "float64"):
        return _Float(type, width, order, scale, offset)
    if type in _FORMATS:
        return _Integer(type, width, order, scale, offset)
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
    """What integers and floats share: the way between registers and the raw number."""

    __slots__ = ("_type", "_registers", "_raw", "_scale", "_offset")

    def __init__(self, type: str, width: int, order: Order, scale: float, offset: float) -> None:
        super().__init__(width)
        for_registers, for_value = ORDERS[order]
        self._type = type
        self._registers = struct.Struct(f"{for_registers}{width}H")
        self._raw = struct.Struct(for_value + _FORMATS[type])
        # A whole scale keeps integers whole, and all 64 bits of them.
        self._scale: float = int(scale) if float(scale).is_integer() else scale
        self._offset: float = int(offset) if float(offset).is_integer() else offset

    def _read(self, words: Sequence[int]) -> float:
        number: float = self._raw.unpack(self._registers.pack(*words))[0]
        return number

    def _write(self, raw: float) -> list[int]:
        return list(self._registers.unpack(self._raw.pack(raw)))


class _Integer(_Number):
    """Integers; scaled ones are rounded to the decimals that scale and offset have."""

    __slots__ = ("_low", "_high", "_decimals")

    def __init__(self, type: str, width: int, order: Order, scale: float, offset: float) -> None:
        super().__init__(type, width, order, scale, offset)
        steps = 1 << (width * 16)
        self._low = 0 if type[0] == "u" else -steps // 2
        self._high = self._low + steps - 1
        self._decimals = _decimals(self._scale, self._offset)

    def decode(self, words: Sequence[int]) -> Value:
        value = self._read(words) * self._scale + self._offset
        # 713 * 0.1 is 71.30000000000001 in binary; the device said 71.3.
        return value if self._decimals is None else round(value, self._decimals)

    def encode(self, value: Value) -> list[int]:
        number = _number(value)
        # Fractions: the way back must not lose the low bits of a 64 bit number.
        raw = (Fraction(number) - Fraction(str(self._offset))) / Fraction(str(self._scale))
        if self._decimals is None and abs(self._scale) == 1 and raw.denominator != 1:
            raise Rejected(f"must be a whole number, not {value!r}")
        nearest = round(raw)
        if not self._low <= nearest <= self._high:
            ends = sorted(end * self._scale + self._offset for end in (self._low, self._high))
            raise Rejected(f"must be between {ends[0]:.15g} and {ends[1]:.15g} to fit {self._type}, not {value!r}")
        return self._write(nearest)


class _Float(_Number):
    """Floating point; unscaled values are passed on bit for bit."""

    __slots__ = ("_is_plain",)

    def __init__(self, type: str, width: int, order: Order, scale: float, offset: float) -> None:
        super().__init__(type, width, order, scale, offset)
        self._is_plain = (scale, offset) == (1, 0)

    def decode(self, words: Sequence[int]) -> Value:
        raw = self._read(words)
        if not math.isfinite(raw):
            raise ValueError("the device says it is no number (NaN or infinite)")
        return raw if self._is_plain else raw * self._scale + self._offset

    def encode(self, value: Value) -> list[int]:
        number = _number(value)
        try:
            raw = float(number) if self._is_plain else (number - self._offset) / self._scale
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


def _decimals(scale: float, offset: float) -> int | None:
    """Decimals that an integer times ``scale`` plus ``offset`` can have; None when rounding would change nothing."""
    if isinstance(scale, int) and isinstance(offset, int):
        return None
    exact = [Fraction(str(number)) for number in (scale, offset)]
    for decimals in range(_MOST_DECIMALS + 1):
        if all((number * 10**decimals).denominator == 1 for number in exact):
            return decimals
    return None
