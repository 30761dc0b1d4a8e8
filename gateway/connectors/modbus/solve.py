"""What fits the number on a display: registers of an unknown map, and every way to read them. Pure.

A meter shows 230.1 and its manual is lost. Read its registers once (an ``Image``), and ``solve`` lists each address,
type, order and scale under which they say 230.1, the least likely to be chance first. Three things tell better from
worse:

- a long number fits by chance more seldom than a short one, and small numbers stand in registers more often than
  large ones; ``chance`` is an estimate of how often this fit would come up where nothing is to be found
- a device reads all its values alike: a type and order that also explain the other numbers on the display come first
- what fitted before and does not fit now was chance: ``narrow``
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final

from gateway.connectors.modbus.codec import Order, make_codec, words_of

Image = Mapping[str, Mapping[int, int]]
"""What the registers held: table, address, content."""

TYPES: Final = ("uint16", "int16", "float32", "uint32", "int32", "float64", "uint64", "int64")
"""What is tried, the more usual first."""

ORDERS: Final[tuple[Order, ...]] = ("ABCD", "CDAB", "BADC", "DCBA")
"""The more usual first. In a single register CDAB is ABCD and DCBA is BADC; they are not tried twice."""

SCALES: Final = (1.0, 0.1, 0.01, 0.001, 10.0, 100.0, 1000.0, 0.0001)
"""The more usual first; the large ones are for a display in kilo of what the registers hold."""

FLOAT_SCALES: Final = (1.0, 0.001, 1000.0)
"""Floating point is scaled only between a unit and its kilo."""

_LONGEST: Final = 18
"""Digits of a shown number; more than any display has."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A number as a display shows it. What it stands for, rounded or cut off, has a size from ``low`` to below
    ``high``."""

    text: str
    value: float
    low: float
    high: float

    def may_be(self, value: float) -> bool:
        """Whether the display would show this number so."""
        return value * self.value > 0 and self.low <= abs(value) < self.high


@dataclass(frozen=True, slots=True)
class Fit:
    """One way to read registers that gives a shown number.

    value   what it gives
    chance  how often a fit like this one is to be expected where nothing is to be found; small is good
    """

    shown: str
    table: str
    address: int
    type: str
    order: Order
    scale: float
    value: float
    chance: float

    @property
    def place(self) -> tuple[str, int, str, Order, float]:
        """All that a point's settings need."""
        return self.table, self.address, self.type, self.order, self.scale


def parse_shown(text: str) -> Shown:
    """The number on a display, such as ``230.1`` or ``-5``. Raises ValueError with what it must be."""
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        number = Decimal("nan")
    exponent = number.as_tuple().exponent
    if not number.is_finite() or not isinstance(exponent, int) or exponent > 0:
        raise ValueError(f"must be a number as the display shows it, such as 230.1, not {text!r}")
    if len(number.as_tuple().digits) > _LONGEST:
        raise ValueError(f"must have at most {_LONGEST} digits")
    if number == 0:
        raise ValueError("must not be 0: too many registers hold that; wait until the display shows something else")
    value, step = float(number), 10.0**exponent
    # Displays round, and some cut off: the true value lies half a step below to a step above what is shown.
    return Shown(text.strip(), value, abs(value) - 0.5 * step, abs(value) + step)


def solve(image: Image, shown: Sequence[Shown]) -> list[list[Fit]]:
    """For each shown number what fits it, the best first."""
    found = [list(_fits(image, number)) for number in shown]
    best: list[dict[tuple[str, str, Order], float]] = []
    for fits in found:
        family: dict[tuple[str, str, Order], float] = {}
        for fit in fits:
            key = (fit.table, fit.type, fit.order)
            family[key] = min(family.get(key, 1.0), fit.chance)
        best.append(family)

    def rank(fit: Fit, own: int) -> tuple[float, int, int, int, int]:
        key = (fit.table, fit.type, fit.order)
        together = math.prod(family.get(key, 1.0) for index, family in enumerate(best) if index != own)
        # Fits of one chance: the more usual reading first.
        usual = (_scales(fit.type).index(fit.scale), TYPES.index(fit.type), ORDERS.index(fit.order))
        return (fit.chance * together, *usual, fit.address)

    return [sorted(fits, key=lambda fit, own=own: rank(fit, own)) for own, fits in enumerate(found)]  # type: ignore[misc]


def narrow(fits: Iterable[Fit], before: Iterable[tuple[str, int, str, str, float]]) -> list[Fit]:
    """Those that fitted another number at another time too: ``before`` are the places of all that fitted then."""
    known = set(before)
    return [fit for fit in fits if fit.place in known]


def _scales(type: str) -> tuple[float, ...]:
    return FLOAT_SCALES if type.startswith("float") else SCALES


def _fits(image: Image, shown: Shown) -> Iterator[Fit]:
    for type in TYPES:
        width = words_of(type)
        for order in ORDERS if width > 1 else ("ABCD", "BADC"):
            codec = make_codec(type, order)
            for table, registers in image.items():
                for address in registers:
                    words = [registers.get(address + offset) for offset in range(width)]
                    if None in words:
                        continue
                    try:
                        raw = codec.decode([word for word in words if word is not None])
                    except ValueError:
                        continue
                    assert isinstance(raw, int | float)
                    for scale in _scales(type):
                        if shown.may_be(raw * scale):
                            chance = _chance(type, raw, scale, shown)
                            value = round(raw * scale, 12)
                            yield Fit(shown.text, table, address, type, order, scale, value, chance)


def _chance(type: str, raw: float, scale: float, shown: Shown) -> float:
    """The part of all registers that would fit by accident.

    Small numbers are more frequent than large ones: the density of content is taken as falling with its size, over
    the range of the type (2 ** bits for integers, 2 ** 254 for floats).
    """
    room = (shown.high - shown.low) / scale
    if type.startswith("float"):
        return room / abs(raw) / (254 * math.log(2) * 2)
    # A small number in a wide type is the same number in one register, behind others that are 0.
    bits = 16 * max(1, math.ceil(int(abs(raw)).bit_length() / 16))
    return max(room, 1.0) / (abs(raw) + 1) / (bits * math.log(2))
