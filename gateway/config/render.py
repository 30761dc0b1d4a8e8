"""Settings back to text: a value as TOML, a range in the units of its type."""

from __future__ import annotations

import dataclasses
from typing import Any

from gateway.config.declare import Duration, Range, Secret, Size, plain
from gateway.config.keys import quote
from gateway.config.shape import element, keys
from gateway.config.types import BYTES, MILLISECONDS


def toml(kind: Any, value: Any) -> str:
    """A value of a setting of the type ``kind`` as TOML on one line, in the unit a person would choose."""
    if kind is Secret:
        return '""'
    if kind == Duration:
        return quote(duration_text(value))
    if kind == Size:
        return quote(size_text(value))
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, int | float):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _table({key.name: toml(key.type, getattr(value, key.field)) for key in keys(type(value))})
    if isinstance(value, dict):
        return _table({name: toml(element(kind), entry) for name, entry in value.items()})
    return "[" + ", ".join(toml(element(kind), entry) for entry in value) + "]"


def duration_text(seconds: float) -> str:
    """``90`` -> ``"90s"``, ``3600`` -> ``"1h"``: the largest unit that needs no fraction."""
    milliseconds = round(seconds * 1000, 6)
    for unit, length in sorted(MILLISECONDS.items(), key=lambda item: -item[1]):
        if milliseconds and milliseconds % length == 0:
            return f"{int(milliseconds // length)}{unit}"
    return f"{plain(milliseconds)}ms" if milliseconds else "0s"


def size_text(size: int) -> str:
    """``1048576`` -> ``"1MiB"``: the largest unit that needs no fraction."""
    for unit, length in sorted(BYTES.items(), key=lambda item: -item[1]):
        if size and size % length == 0:
            return f"{size // length}{unit}"
    return "0B"


def range_text(kind: Any, limits: Range) -> str:
    """``between 0s and 1s``."""
    if kind == Duration:
        return f"between {duration_text(limits.low)} and {duration_text(limits.high)}"
    if kind == Size:
        return f"between {size_text(int(limits.low))} and {size_text(int(limits.high))}"
    return f"between {plain(limits.low)} and {plain(limits.high)}"


def _table(entries: dict[str, str]) -> str:
    return "{ " + ", ".join(f"{name} = {text}" for name, text in entries.items()) + " }" if entries else "{}"
