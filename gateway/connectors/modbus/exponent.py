"""A whole number and the power of ten that it is to be multiplied with, in another register. Pure.

SunSpec devices say their values so (SunSpec Information Model Specification, section "Scale factors"): ``W = 2301``
and ``W_SF = -1`` is 230.1 W, and the device may change both. They belong together, so they are read together: the
point takes all registers from the first to the last of both, and its value is never made of two answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.connectors.modbus.codec import Codec
from gateway.errors import Rejected
from gateway.message import Value

GREATEST: Final = 10
"""Exponents are between -10 and 10; others, as the -32768 of a device that has none, mean nothing."""


class Powered(Codec):
    """The codec of such a point, over all its registers.

    number    codec of the whole number
    at        where its first register is among those of the point
    exponent  where the exponent is
    absent    numbers by which the device says that it has no value, before the exponent
    """

    __slots__ = ("_absent", "at", "_number", "exponent")

    def __init__(self, number: Codec, at: int, exponent: int, absent: Sequence[float] = ()) -> None:
        super().__init__(max(at + number.width, exponent + 1))
        self._number = number
        self.at = at
        self.exponent = exponent
        self._absent = frozenset(absent)

    def decode(self, words: Sequence[int]) -> Value:
        number = self._number.decode(words[self.at : self.at + self._number.width])
        if number in self._absent:
            raise ValueError(f"the device says {number}: it has no value")
        exponent = self._power(words)
        # Divided, and not multiplied by 0.1: 2301 / 10 is the float that is nearest to 230.1.
        return number * 10**exponent if exponent >= 0 else number / 10**-exponent

    def encode(self, value: Value) -> list[int]:
        raise Rejected("its exponent stands in the device, and it cannot be written")

    def number(self, value: float, exponent: int) -> list[int]:
        """The registers of the number that makes ``value`` with this exponent. For simulators. Raises Rejected for one
        that does not fit."""
        return self._number.encode(round(value / 10**exponent if exponent >= 0 else value * 10**-exponent))

    def _power(self, words: Sequence[int]) -> int:
        exponent = words[self.exponent]
        exponent -= (exponent & 0x8000) << 1
        if abs(exponent) > GREATEST:
            raise ValueError(f"the device says that its exponent is {exponent}")
        return exponent
