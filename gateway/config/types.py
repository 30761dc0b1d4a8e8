"""One TOML value -> one Python value, for every type that needs no file and holds no other value.

Each reader takes what the TOML parser made and returns the setting, or raises ``WrongValue`` with what was
expected, what was found and a hint. ``expected`` names a type for a person.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypeVar, get_args, get_origin

from gateway.config.declare import Duration, File, Folder, Secret, Size
from gateway.config.keys import quote

Number = TypeVar("Number", int, float)

MILLISECONDS: Final[Mapping[str, int]] = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

BYTES: Final[Mapping[str, int]] = {
    "B": 1,
    **{f"{prefix}iB": 1024**power for power, prefix in enumerate("KMGT", 1)},
    **{f"{prefix}B": 1000**power for power, prefix in enumerate("kMGT", 1)},
}

DURATION_PATTERN: Final = r"^[0-9]{1,15}(\.[0-9]{1,9})?(ms|s|m|h|d)$"
SIZE_PATTERN: Final = r"^[0-9]{1,15}(B|KiB|MiB|GiB|TiB|kB|MB|GB|TB)$"

_LONGEST_SHOWN: Final = 60
"""Characters of a wrong value that an error repeats."""

_EXPECTED: Final[Mapping[Any, str]] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Duration: 'a duration such as "250ms", "5s", "10m", "1h" or "7d"',
    Size: 'a size such as "64KiB" or "256MiB"',
    File: "the path of a file",
    Folder: "the path of a folder",
    Secret: 'text, { file = "path" } or { credential = "name" }',
}


class WrongValue(Exception):
    """A value that its setting cannot take; the text says why, in words for the person who wrote it."""


def show(value: Any) -> str:
    """A TOML value in a few words on one line: ``text "abc"``, ``number 5``, ``a list``."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return "text " + literal(value)
    if isinstance(value, int | float):
        return "number " + literal(value)
    if isinstance(value, list):
        return "a list"
    return "a table" if isinstance(value, dict) else "a date or time"


def literal(value: Any) -> str:
    """A scalar as TOML writes it, shortened when long; other values in words."""
    if isinstance(value, str):
        return quote(value if len(value) <= _LONGEST_SHOWN else value[: _LONGEST_SHOWN - 3] + "...")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return show(value)
    if isinstance(value, int):
        # Python refuses to print integers of thousands of digits, which TOML can spell in hexadecimal.
        return str(value) if value.bit_length() <= 64 else "of more than 64 bits"
    return repr(value)


def suggest(word: str, known: Sequence[str]) -> str:
    """``; did you mean "unit"?``, or nothing when no known word is like it."""
    close = difflib.get_close_matches(word, known, n=1)
    return f'; did you mean "{close[0]}"?' if close else ""


def expected(kind: Any) -> str:
    """What a setting of this type is called in an error, with its article."""
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(literal(choice) for choice in get_args(kind))
    return _EXPECTED.get(kind, "a list" if get_origin(kind) is tuple else "a table")


def wrong_type(kind: Any, value: Any, hint: str = "") -> WrongValue:
    """The error for a value of another type. A secret is never repeated, not even one of the wrong type."""
    found = show(value).split(" ")[0] if kind is Secret and not isinstance(value, dict | list) else show(value)
    return WrongValue(f"expected {expected(kind)}, found {found}" + (f"; {hint}" if hint else ""))


def read_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    is_word = isinstance(value, str) and value.lower() in ("true", "false")
    raise wrong_type(bool, value, "write it without quotes" if is_word else "")


def read_int(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        is_number = isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]+", value)
        raise wrong_type(int, value, "write it without quotes" if is_number else "")
    if value.bit_length() > 63:
        raise WrongValue("must fit into 64 bits")
    return value


def read_float(value: Any) -> float:
    if isinstance(value, int) and not isinstance(value, bool):
        return float(read_int(value))
    if not isinstance(value, float):
        is_number = isinstance(value, str) and re.fullmatch(r"[+-]?[0-9.]+", value)
        raise wrong_type(float, value, "write it without quotes" if is_number else "")
    if not math.isfinite(value):
        raise WrongValue(f"must be a finite number, not {value!r}")
    return value


def read_str(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise wrong_type(str, value, "put it in quotes" if not isinstance(value, dict | list) else "")


def read_duration(value: Any) -> float:
    """Seconds, never negative. A plain number counts as seconds."""
    if isinstance(value, str):
        if not re.fullmatch(DURATION_PATTERN, value):
            raise wrong_type(Duration, value)
        number, unit = _split(value)
        return float(number) * MILLISECONDS[unit] / 1000
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong_type(Duration, value)
    return _not_negative(read_float(value))


def read_size(value: Any) -> int:
    """Bytes, never negative. A plain number counts as bytes."""
    if isinstance(value, str):
        if not re.fullmatch(SIZE_PATTERN, value):
            raise wrong_type(Size, value)
        number, unit = _split(value)
        return read_int(int(number) * BYTES[unit])
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong_type(Size, value)
    return _not_negative(read_int(value))


def read_literal(kind: Any, value: Any) -> Any:
    """One of the choices of a ``Literal``. ``1`` is not ``true`` here, although Python finds them equal."""
    for choice in get_args(kind):
        if type(choice) is type(value) and choice == value:
            return choice
    raise WrongValue(f"must be {expected(kind)}, not {literal(value)}")


SCALARS: Final[Mapping[Any, Callable[[Any], Any]]] = {
    Any: lambda value: value,
    bool: read_bool,
    int: read_int,
    float: read_float,
    str: read_str,
    Duration: read_duration,
    Size: read_size,
}
"""Type of a setting -> how to read it."""


def _split(text: str) -> tuple[str, str]:
    unit = text.lstrip("0123456789.")
    return text[: len(text) - len(unit)], unit


def _not_negative(value: Number) -> Number:
    if value < 0:
        raise WrongValue(f"must not be negative, but is {literal(value)}")
    return value
