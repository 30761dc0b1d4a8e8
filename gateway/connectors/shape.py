"""Raw value of a device <-> value of a point: bits, names and scale, both ways. Pure.

::

    device   bits   names    scale      value of the point
    0x0501   8..11                      5
    1               "run"               "run"
    713                      0.1        71.3

A ``Shape`` is made once for each point. Text, lists and tables pass unchanged where no bits, names or scale are
declared. What the way back cannot do raises Rejected, in the words and in the unit of the point.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping
from fractions import Fraction
from typing import Final, NamedTuple

from gateway.errors import Rejected
from gateway.message import Value

MOST_BITS: Final = 64
"""Bits of the widest whole number that a device holds."""

_MOST_DECIMALS: Final = 12


class Whole(NamedTuple):
    """The whole numbers that a device's own type can hold, both ends included; ``type`` is its name."""

    low: int
    high: int
    type: str


class Part(NamedTuple):
    """What to write into a part of a number that the device holds: the bits of ``mask`` become those of ``bits``."""

    mask: int
    bits: int


class Bits(NamedTuple):
    """Neighbouring bits of a whole number, counted from 0, the lowest; both ends included."""

    first: int
    last: int

    @property
    def is_single(self) -> bool:
        """One bit: a value that is true or false."""
        return self.first == self.last

    @property
    def greatest(self) -> int:
        """The greatest number that these bits can say."""
        return (1 << (self.last - self.first + 1)) - 1

    def take(self, raw: int) -> int:
        """The number in these bits; of a negative number its two's complement."""
        return (raw >> self.first) & self.greatest


def parse_bits(given: int | str) -> Bits:
    """``3`` or ``"8..11"``. Raises ValueError with what it must be."""
    match = re.fullmatch(r"([0-9]{1,2})(?:\.\.([0-9]{1,2}))?", str(given).replace(" ", ""))
    if match is not None:
        bits = Bits(int(match[1]), int(match[2] or match[1]))
        if bits.first <= bits.last < MOST_BITS:
            return bits
    raise ValueError(f'must be a bit such as 3, or several such as "8..11", counted from 0 to {MOST_BITS - 1}')


def parse_names(given: Mapping[str, str]) -> dict[int, str]:
    """Numbers, as TOML spells keys, to names. Raises ValueError with what is wrong."""
    names: dict[int, str] = {}
    for key, name in given.items():
        if not re.fullmatch(r"-?[0-9]{1,18}", key):
            raise ValueError(f'must have whole numbers as keys, as in {{ 0 = "off", 1 = "run" }}, not "{key}"')
        if int(key) in names:
            raise ValueError(f"must name each number once; {int(key)} has two names")
        if name in names.values():
            raise ValueError(f'must give each name to one number: "{name}" could not be written')
        names[int(key)] = name
    if not names:
        raise ValueError("must name at least one number")
    return names


class Shape:
    """Both directions of one point.

    scale, offset  value = raw * scale + offset; a whole raw number gives no more decimals than these two have
    bits           part of the raw number that is the value; None: all of it
    names          names of numbers; None: the number is the value
    whole          what the device's type can hold; None: anything, and not only whole numbers
    """

    __slots__ = ("bits", "names", "_decimals", "_is_plain", "_numbers", "_offset", "_scale", "_whole")

    def __init__(
        self,
        scale: float = 1.0,
        offset: float = 0.0,
        bits: Bits | None = None,
        names: Mapping[int, str] | None = None,
        whole: Whole | None = None,
    ) -> None:
        self.bits = bits
        self.names = names
        self._numbers = {name: number for number, name in names.items()} if names else {}
        self._whole = whole if bits is None else Whole(0, bits.greatest, f"{bits.last - bits.first + 1} bits")
        self._is_plain = (scale, offset) == (1, 0)
        # A whole scale keeps integers whole, and all 64 bits of them.
        self._scale: float = int(scale) if float(scale).is_integer() else scale
        self._offset: float = int(offset) if float(offset).is_integer() else offset
        self._decimals = _decimals(self._scale, self._offset)

    def part(self, raw: Value) -> Value:
        """The part of the raw value that ``bits`` says. Raises ValueError where there are no bits."""
        if self.bits is None:
            return raw
        if not isinstance(raw, int):
            raise ValueError(f"the device says {raw!r}, which has no bits")
        number = self.bits.take(raw)
        return bool(number) if self.bits.is_single else number

    def value(self, part: Value) -> Value:
        """The value of what ``part`` gave: its name where it has one, else scaled.

        Raises ValueError for a float that is no number. A number without a name among names stays as it is.
        """
        if isinstance(part, float) and not math.isfinite(part):
            raise ValueError("the device says it is no number (NaN or infinite)")
        if self.names is not None:
            return self.names.get(_as_key(part), part)
        if self._is_plain or isinstance(part, bool) or not isinstance(part, int | float):
            return part
        value = part * self._scale + self._offset
        # 713 * 0.1 is 71.30000000000001 in binary; the device said 71.3.
        return round(value, self._decimals) if isinstance(part, int) and self._decimals is not None else value

    def raw(self, value: Value) -> Value:
        """What the device must hold, so that the point has ``value``. Raises Rejected.

        For a point of some bits it is their number, to be put in its place (``placed``).
        """
        if self.names is not None:
            return self._number_of(value)
        if self.bits is not None and self.bits.is_single:
            return _switch(value)
        if self._whole is not None:
            return self._nearest(value, self._whole)
        if self._is_plain:
            return value
        number = _number(value)
        raw = self._exact(number)
        try:
            return int(raw) if raw.denominator == 1 and isinstance(number, int) else float(raw)
        except OverflowError:
            raise Rejected(f"is too large: {value!r}") from None

    def placed(self, number: Value) -> Part:
        """Where the bits of a part go. Raises TypeError for a point that is no part."""
        if self.bits is None:
            raise TypeError("the point is the whole number")
        return Part(self.bits.greatest << self.bits.first, int(number) << self.bits.first)

    def _number_of(self, value: Value) -> int:
        assert self.names is not None
        if isinstance(value, str) and value in self._numbers:
            return self._numbers[value]
        if not isinstance(value, str):
            key = _as_key(value)
            if key in self.names:
                return key
        known = ", ".join(f'"{name}"' for name in self._numbers)
        raise Rejected(f"must be one of {known}, not {value!r}")

    def _nearest(self, value: Value, whole: Whole) -> int:
        raw = self._exact(_number(value))
        if self._decimals is None and abs(self._scale) == 1 and raw.denominator != 1:
            raise Rejected(f"must be a whole number, not {value!r}")
        nearest = round(raw)
        if not whole.low <= nearest <= whole.high:
            ends = sorted(end * self._scale + self._offset for end in (whole.low, whole.high))
            raise Rejected(f"must be between {ends[0]:.15g} and {ends[1]:.15g} to fit {whole.type}, not {value!r}")
        return nearest

    def _exact(self, number: float) -> Fraction:
        # Fractions: the way back must not lose the low bits of a 64 bit number.
        return (Fraction(number) - Fraction(str(self._offset))) / Fraction(str(self._scale))


def _as_key(value: Value) -> int:
    """A number that names may know; -1 << 63 and lower, which no key says, for everything else."""
    is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return int(value) if is_whole else -1 << MOST_BITS


def _switch(value: Value) -> bool:
    # True and 1 are equal; "1" is not a switch position.
    if isinstance(value, str) or value not in (0, 1):
        raise Rejected(f"must be true or false, not {value!r}")
    return bool(value)


def _number(value: Value) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Rejected(f"must be a number, not {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise Rejected("must be a finite number")
    return value


def shortest_single(value: float) -> float:
    """The shortest number that is the same single precision float: 71.3, not 71.30000305175781."""
    if math.isfinite(value):
        for digits in (6, 7, 8):
            short = float(f"{value:.{digits}g}")
            try:
                if struct.pack(">f", short) == struct.pack(">f", value):
                    return short
            except OverflowError:
                continue
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
