"""What the functions of expressions compute; ``functions.py`` is the table that names them.

Each checks its own arguments and bounds its own result, and raises RuleError, nothing else, when there is none.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from gateway.clock import iso_time
from gateway.message import Value, dump_json
from gateway.rules.frame import MAX_TEXT, Frame
from gateway.rules.language import RuleError
from gateway.rules.operators import MAX_INT, NUMBERS, kind
from gateway.rules.pattern import Pattern

MAX_MATCH: Final = 1024
"""Characters of a text that a pattern is tried on."""

MAX_PATH: Final = 16
"""Levels of a JSON path."""


def _text(value: Value) -> str:
    if not isinstance(value, str):
        raise RuleError(f"needs a text, not {_shown(value)}; use str(x)")
    if len(value) > MAX_TEXT:
        raise RuleError(f"got a text of {len(value)} characters; at most {MAX_TEXT}")
    return value


def _number(value: Value) -> Any:
    if type(value) not in NUMBERS:
        raise RuleError(f"needs a number, not {_shown(value)}; use float(x)")
    return value


def _whole(value: Value, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise RuleError(f"needs a whole number from {low} to {high}, not {_shown(value)}")
    return value


def _shown(value: Value) -> str:
    """A value for an error text: what it is, and its begin."""
    if isinstance(value, (list, dict)):
        return f"a {kind(value)}"
    shown = repr(value[:40]) if isinstance(value, str) else text_of(value)[:40]
    return shown if isinstance(value, (bool, type(None))) else f"the {kind(value)} {shown}"


def text_of(value: Value) -> str:
    """A value as text, as JSON writes it; a text is itself. What ``str()`` and the holes of templates give."""
    if isinstance(value, str):
        return value
    return dump_json(value).decode()


# JSON


def make_path(text: str) -> tuple[str, ...]:
    """``"data.items.0.t"`` to its levels; the empty path is the whole."""
    levels = tuple(text.split(".")) if text else ()
    if len(levels) > MAX_PATH:
        raise RuleError(f"path has {len(levels)} levels; at most {MAX_PATH}")
    return levels


def walk(value: Value, path: tuple[str, ...]) -> Value:
    """Follow a path; None where there is nothing."""
    for level in path:
        if isinstance(value, dict):
            value = value.get(level)
        elif isinstance(value, list) and level.isdecimal() and len(level) < 9:
            position = int(level)
            value = value[position] if position < len(value) else None
        else:
            return None
    return value


def json_at(value: Value, path: tuple[str, ...] = ()) -> Value:
    if isinstance(value, str):
        try:
            value = json.loads(_text(value))
        except (ValueError, RecursionError):
            return None
    return walk(value, path)


def json_set(value: Value, path: tuple[str, ...], item: Value) -> Value:
    if not path:
        return item
    here, rest = path[0], path[1:]
    if value is None:
        value = {}
    if isinstance(value, dict):
        return {**value, here: json_set(value.get(here), rest, item)}
    if isinstance(value, list) and here.isdecimal() and len(here) < 9 and int(here) < len(value):
        copy = list(value)
        copy[int(here)] = json_set(copy[int(here)], rest, item)
        return copy
    raise RuleError(f"cannot set {here!r} in {_shown(value)}")


# Casts


def to_float(value: Value) -> float:
    try:
        result = float(value) if type(value) in NUMBERS else float(_plain(value))
    except (ValueError, OverflowError):
        raise RuleError(f"{_shown(value)} is no number") from None
    if result - result != 0:
        raise RuleError(f"{_shown(value)} is no finite number")
    return result


def to_int(value: Value) -> int:
    try:
        result = int(value) if type(value) in NUMBERS else int(_plain(value))
    except (ValueError, OverflowError):
        raise RuleError(f"{_shown(value)} is no whole number") from None
    if not -MAX_INT <= result <= MAX_INT:
        raise RuleError(f"{_shown(value)} does not fit in 64 bits")
    return result


def _plain(value: Value) -> str:
    text = _text(value)
    if "_" in text:  # Python's digit groups; no device means them
        raise ValueError
    return text


_WORDS = {
    **dict.fromkeys(("true", "on", "yes", "1"), True),
    **dict.fromkeys(("false", "off", "no", "0", ""), False),
}


def to_bool(value: Value) -> bool:
    if type(value) in NUMBERS:
        return bool(value)
    try:
        return _WORDS[_text(value).strip().lower()]
    except KeyError:
        raise RuleError(f"{_shown(value)} is neither true nor false") from None


def to_timestamp(value: Value) -> str:
    """A time as RFC 3339 text, from such text or from seconds since 1970."""
    if type(value) in NUMBERS:
        return iso(value)
    try:
        moment = datetime.fromisoformat(_text(value))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise RuleError(f"{_shown(value)} is no time with its offset from UTC")
    return iso(moment.timestamp())


def to_text(frame: Frame, value: Value) -> str:
    frame.charge_value(value)
    return text_of(value)


# Texts


def length(value: Value) -> int:
    if isinstance(value, (str, list, dict)):
        return len(value)
    raise RuleError(f"needs a text, list or table, not {_shown(value)}")


def split(value: Value, separator: Value = None) -> Value:
    if separator == "":
        raise RuleError("the separator must not be empty")
    return list(_text(value).split(None if separator is None else _text(separator)))


def replace(value: Value, old: Value, new: Value) -> str:
    text, old, new = _text(value), _text(old), _text(new)
    if not old:
        raise RuleError("the text to replace must not be empty")
    # Counted first: the result could be 64 Ki times 64 Ki.
    size = len(text) + text.count(old) * (len(new) - len(old))
    if size > MAX_TEXT:
        raise RuleError(f"the result would have {size} characters; at most {MAX_TEXT}")
    return text.replace(old, new)


def match(frame: Frame, value: Value, pattern: Pattern) -> bool:
    text = _text(value)
    if len(text) > MAX_MATCH:
        raise RuleError(f"got a text of {len(text)} characters; a pattern is tried on {MAX_MATCH} at most")
    frame.charge(len(text) * pattern.cost)
    return pattern(text)


def trim(value: Value) -> str:
    return _text(value).strip()


def upper(value: Value) -> str:
    return _text(value).upper()


def lower(value: Value) -> str:
    return _text(value).lower()


def startswith(value: Value, part: Value) -> bool:
    return _text(value).startswith(_text(part))


def endswith(value: Value, part: Value) -> bool:
    return _text(value).endswith(_text(part))


# Numbers


def pick(best: Callable[..., Any]) -> Callable[..., Value]:
    def pick(frame: Frame, *values: Value) -> Value:
        if len(values) == 1:
            if not isinstance(values[0], list):
                raise RuleError(f"needs numbers or a list of numbers, not {_shown(values[0])}")
            values = tuple(values[0])
            frame.charge(len(values))
            if not values or None in values:
                return None
        return best(_number(value) for value in values)

    return pick


def absolute(value: Value) -> Any:
    return abs(_number(value))


def round_to(value: Value, digits: Value = None) -> Value:
    if digits is not None:
        return round(_number(value), _whole(digits, 0, 15))
    if not -MAX_INT <= _number(value) <= MAX_INT:  # NaN and infinity too
        raise RuleError(f"{_shown(value)} does not fit in 64 bits")
    return round(value)


def clamp(value: Value, low: Value, high: Value) -> Value:
    return max(_number(low), min(_number(value), _number(high)))


def iso(seconds: Value) -> str:
    if not 0 <= _number(seconds) < 253_402_300_800:
        raise RuleError(f"{_shown(seconds)} is no time from 1970 to 9999, in seconds")
    return iso_time(seconds)


# The world


def get(frame: Frame, name: Value) -> Value:
    return frame.get(_text(name))
