"""Parts of lists, texts and tables. Each raises RuleError, nothing else."""

from __future__ import annotations

from typing import Any, Final

from gateway.message import Value
from gateway.rules.frame import MAX_TEXT, Frame
from gateway.rules.language import RuleError
from gateway.rules.needs import shown, text, text_of, whole

FARTHEST: Final = 1 << 31
"""A position that is behind the end of everything."""


def join(frame: Frame, values: Value, separator: Value = "") -> str:
    """Items as ``str()`` writes them; a missing one leaves its place empty."""
    if not isinstance(values, list):
        raise RuleError(f"needs a list, not {shown(values)}")
    frame.charge_value(values)
    between = text(separator)
    parts = ["" if value is None else text_of(value) for value in values]
    size = sum(map(len, parts)) + len(between) * max(0, len(parts) - 1)
    if size > MAX_TEXT:
        raise RuleError(f"the text would have {size} characters; at most {MAX_TEXT}")
    return between.join(parts)


def first(values: Value, count: Value) -> Any:
    return _sequence(values)[: whole(count, 0, FARTHEST)]


def last(values: Value, count: Value) -> Any:
    wanted = whole(count, 0, FARTHEST)
    found = _sequence(values)
    return found[max(0, len(found) - wanted) :]


def part(values: Value, begin: Value, end: Value = FARTHEST) -> Any:
    return _sequence(values)[whole(begin, -FARTHEST, FARTHEST) : whole(end, -FARTHEST, FARTHEST)]


def keys(table: Value) -> Value:
    return list(_table(table))


def values(table: Value) -> Value:
    return list(_table(table).values())


def _table(value: Value) -> dict[str, Value]:
    if not isinstance(value, dict):
        raise RuleError(f"needs a table, not {shown(value)}")
    return value


def _sequence(value: Value) -> Any:
    return value if isinstance(value, list) else text(value)
