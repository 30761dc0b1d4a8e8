"""What the functions of expressions need of their arguments, and how an error shows what stood there instead."""

from __future__ import annotations

from typing import Any

from gateway.message import Value, dump_json
from gateway.rules.frame import MAX_TEXT
from gateway.rules.language import RuleError
from gateway.rules.operators import MAX_INT, NUMBERS, kind


def text(value: Value) -> str:
    """A text, not longer than an expression may look at. Raises RuleError."""
    if not isinstance(value, str):
        raise RuleError(f"needs a text, not {shown(value)}; use str(x)")
    if len(value) > MAX_TEXT:
        raise RuleError(f"got a text of {len(value)} characters; at most {MAX_TEXT}")
    return value


def number(value: Value) -> Any:
    """A number; true and false count as 1 and 0. Raises RuleError."""
    if type(value) not in NUMBERS:
        raise RuleError(f"needs a number, not {shown(value)}; use float(x)")
    return value


def whole(value: Value, low: int, high: int) -> int:
    """A whole number within bounds. Raises RuleError."""
    if type(value) is not int or not low <= value <= high:
        raise RuleError(f"needs a whole number from {low} to {high}, not {shown(value)}")
    return value


def fits(value: float) -> Any:
    """A number that is finite and within 64 bits. Raises RuleError."""
    if not -MAX_INT <= number(value) <= MAX_INT:  # NaN and infinity too
        raise RuleError(f"{shown(value)} does not fit in 64 bits")
    return value


def shown(value: Value) -> str:
    """A value for an error text: what it is, and its begin."""
    if isinstance(value, (list, dict)):
        return f"a {kind(value)}"
    begin = repr(value[:40]) if isinstance(value, str) else text_of(value)[:40]
    return begin if isinstance(value, (bool, type(None))) else f"the {kind(value)} {begin}"


def text_of(value: Value) -> str:
    """A value as text, as JSON writes it; a text is itself. What ``str()`` and the holes of templates give."""
    if isinstance(value, str):
        return value
    return dump_json(value).decode()
