"""Arithmetic beyond the operators, and the bits of a register. Each raises RuleError, nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from gateway.message import Value
from gateway.rules.language import RuleError
from gateway.rules.needs import fits, number, shown, whole
from gateway.rules.operators import MAX_INT

HIGHEST_BIT: Final = 63


def floor(value: Value) -> int:
    return int(math.floor(fits(value)))


def ceil(value: Value) -> int:
    return int(math.ceil(fits(value)))


def _real(compute: Callable[..., float]) -> Callable[..., Value]:
    def run(*values: Value) -> Value:
        try:
            result = compute(*[number(value) for value in values])
        except (ValueError, ZeroDivisionError):
            raise RuleError(f"has no result for {' and '.join(map(shown, values))}") from None
        except OverflowError:
            raise RuleError(f"the result for {shown(values[0])} is too big") from None
        return result if result - result == 0 else None

    return run


square_root: Final = _real(math.sqrt)
logarithm: Final = _real(math.log)
exponential: Final = _real(math.exp)


def sign(value: Value) -> int:
    found = number(value)
    return int(found > 0) - int(found < 0)


def total(values: Value) -> Any:
    if not isinstance(values, list):
        raise RuleError(f"needs a list of numbers, not {shown(values)}")
    if None in values:
        return None
    return fits(sum(number(value) for value in values))


def bit(value: Value, position: Value) -> bool:
    """A negative number has the bits of its two's complement."""
    return bool(whole(value, -MAX_INT, MAX_INT) >> whole(position, 0, HIGHEST_BIT) & 1)


def bits(value: Value, low: Value, high: Value) -> int:
    first, last = whole(low, 0, HIGHEST_BIT), whole(high, 0, HIGHEST_BIT)
    if first > last:
        raise RuleError(f"the lower bit comes first: {last}, {first}")
    return whole(value, -MAX_INT, MAX_INT) >> first & (1 << last - first + 1) - 1
