"""Operators as closures. One rule for all: a missing value is None, and None never raises.

None in arithmetic gives None; a comparison with None is False. Numbers go with numbers, texts with texts; anything
else is a RuleError. Integers stay within 64 bits and texts within 64 KiB, so that nothing an expression
computes can grow: ``9 ** 9 ** 9`` and ``"x" * 10 ** 9`` are errors, at once.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any, Final

from gateway.message import Value
from gateway.rules.frame import MAX_TEXT, Closure, Frame
from gateway.rules.language import RuleError

MAX_INT: Final = (1 << 64) - 1
"""The largest 64 bit register; smallest is its negative."""

NUMBERS: Final = frozenset({int, float, bool})


def kind(value: Value) -> str:
    """The type of a value in the words of the manual."""
    return _KINDS.get(type(value), type(value).__name__)


_KINDS = {
    str: "text",
    int: "number",
    float: "number",
    bool: "true/false",
    list: "list",
    dict: "table",
    type(None): "None",
}


def _power(a: Any, b: Any) -> Any:
    # The size of an integer power is known before it is computed.
    if isinstance(a, int) and isinstance(b, int) and b > 0 and (a.bit_length() - 1) * b > 64:
        raise OverflowError
    result = a**b
    if isinstance(result, complex):
        raise ValueError("has no real result")
    return result


def _shift_left(a: Any, b: Any) -> Any:
    if isinstance(b, int) and b > 64:
        raise OverflowError
    return a << b


ARITHMETIC: Final[dict[type[ast.operator], tuple[str, Callable[[Any, Any], Any]]]] = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.Div: ("/", operator.truediv),
    ast.FloorDiv: ("//", operator.floordiv),
    ast.Mod: ("%", operator.mod),
    ast.Pow: ("**", _power),
    ast.BitAnd: ("&", operator.and_),
    ast.BitOr: ("|", operator.or_),
    ast.BitXor: ("^", operator.xor),
    ast.LShift: ("<<", _shift_left),
    ast.RShift: (">>", operator.rshift),
}

ORDER: Final[dict[type[ast.cmpop], tuple[str, Callable[[Any, Any], Any]]]] = {
    ast.Lt: ("<", operator.lt),
    ast.LtE: ("<=", operator.le),
    ast.Gt: (">", operator.gt),
    ast.GtE: (">=", operator.ge),
}


SIGNS: Final[dict[type[ast.unaryop], tuple[str, Callable[[Any], Any]]]] = {
    ast.USub: ("-", operator.neg),
    ast.UAdd: ("+", operator.pos),
    ast.Invert: ("~", operator.invert),
}


def arithmetic(op: ast.operator, left: Closure, right: Closure, place: str) -> Closure | None:
    """``left op right``; None when the language has no such operator."""
    found = ARITHMETIC.get(type(op))
    if found is None:
        return None
    symbol, compute = found

    def run(frame: Frame) -> Value:
        a, b = left(frame), right(frame)
        if type(a) in NUMBERS and type(b) in NUMBERS:
            return bounded(compute, place, symbol, a, b)
        if a is None or b is None:
            return None
        if symbol == "+" and isinstance(a, str) and isinstance(b, str):
            return _join(frame, a, b, place)
        raise RuleError(f"{place}: {kind(a)} {symbol} {kind(b)} has no meaning{_HINTS.get(symbol, '')}")

    return run


_HINTS = {"+": "; use str(x) to join a number to a text, float(x) to add a text as a number"}


def bounded(compute: Callable[..., Any], place: str, symbol: str, *operands: Any) -> Any:
    """A computation with numbers, its result within bounds."""
    try:
        result = compute(*operands)
    except ZeroDivisionError:
        raise RuleError(f"{place}: division by zero") from None
    except OverflowError:
        raise RuleError(f"{place}: the result of {symbol} is too big") from None
    except (TypeError, ValueError) as error:
        reason = "needs whole numbers" if isinstance(error, TypeError) else str(error)
        raise RuleError(f"{place}: {symbol} {reason}") from None
    if type(result) is float or -MAX_INT <= result <= MAX_INT:
        return result
    raise RuleError(f"{place}: the result of {symbol} does not fit in 64 bits")


def _join(frame: Frame, a: str, b: str, place: str) -> str:
    size = len(a) + len(b)
    if size > MAX_TEXT:
        raise RuleError(f"{place}: the text would have {size} characters; at most {MAX_TEXT}")
    frame.charge(size >> 6)
    return a + b


def negation(op: ast.unaryop, operand: Closure, place: str) -> Closure:
    """``-x``, ``+x``, ``~x`` and ``not x``."""
    if isinstance(op, ast.Not):
        return lambda frame: not operand(frame)
    symbol, compute = SIGNS[type(op)]

    def run(frame: Frame) -> Value:
        value = operand(frame)
        if type(value) in NUMBERS:
            # True and False count as 1 and 0; Python warns of ~True.
            return bounded(compute, place, symbol, value if isinstance(value, float) else int(value))
        if value is None:
            return None
        raise RuleError(f"{place}: {symbol} needs a number, not {kind(value)}")

    return run


Test = Callable[[Frame, Value, Value], bool]
"""One comparison of two values that are there already."""


def comparison(op: ast.cmpop, place: str) -> Test:
    """The test behind one comparison operator."""
    if isinstance(op, ast.Is):
        return lambda frame, a, b: a is None
    if isinstance(op, ast.IsNot):
        return lambda frame, a, b: a is not None
    if isinstance(op, (ast.In, ast.NotIn)):
        wanted = isinstance(op, ast.In)

        def membership(frame: Frame, a: Value, b: Value) -> bool:
            return a is not None and b is not None and holds(frame, b, a, place) is wanted

        return membership
    if isinstance(op, (ast.Eq, ast.NotEq)):
        wanted = isinstance(op, ast.Eq)

        def equality(frame: Frame, a: Value, b: Value) -> bool:
            if a is None or b is None:
                return False
            if isinstance(a, (list, dict)) and isinstance(b, (list, dict)):
                frame.charge_value(a)
                frame.charge_value(b)
            return (a == b) is wanted

        return equality
    symbol, compute = ORDER[type(op)]

    def order(frame: Frame, a: Value, b: Value) -> bool:
        if type(a) in NUMBERS and type(b) in NUMBERS:
            return bool(compute(a, b))
        if a is None or b is None:
            return False
        if isinstance(a, str) and isinstance(b, str):
            return bool(compute(a, b))
        raise RuleError(f"{place}: {kind(a)} {symbol} {kind(b)} has no meaning")

    return order


def holds(frame: Frame, whole: Value, part: Value, place: str) -> bool:
    """Whether a text holds a text, a list an item, a table a key."""
    if isinstance(part, (list, dict)):
        raise RuleError(f"{place}: looks for a text or number, not a {kind(part)}")
    if isinstance(whole, str) and isinstance(part, str):
        frame.charge(len(whole) >> 6)
        return part in whole
    if isinstance(whole, (list, dict)):
        frame.charge(len(whole) >> 2)
        return part in whole
    raise RuleError(f"{place}: cannot look for {kind(part)} in {kind(whole)}")
