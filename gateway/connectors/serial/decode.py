"""What a frame says: fields by name or number. Pure.

=========  ===========================================  =====================================
as         fields                                       a field is called
=========  ===========================================  =====================================
text       the whole frame                              (nothing)
csv        what stands between separators               its number from 0, or its name
pairs      ``T=21.5;H=40``                              its key
json       a JSON text                                  the path to it: ``data.t.1``
pattern    the groups of a regular expression           its number from 1, or its name
struct     binary values, as Python's struct            its number from 0, or its name
=========  ===========================================  =====================================
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

from gateway.connectors.serial.pattern import Pattern
from gateway.message import Value

Type = Literal["auto", "number", "text", "bool", "hex"]
Field = str | int | None

Fields = Mapping[str, Value]
"""What a frame says, by name; a field that has only a number is called by its digits."""

Decoder = Callable[[bytes], Fields]
"""Raises ValueError, with the reason, for a frame that says nothing in this form."""

WHOLE: Final = ""
"""Name of the field that is called when none is named."""

_FORMAT: Final = re.compile(r"[<>](?:[0-9]{0,3}[xcbB?hHiIlLqQefds])+")
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]{1,64}\.?[0-9]{0,64}|\.[0-9]{1,64})(?:[eE][+-]?[0-9]{1,3})?")
_TRUE: Final = ("1", "true", "on", "yes")
_FALSE: Final = ("0", "false", "off", "no")


def text_of(data: bytes) -> str:
    """Bytes as text: UTF-8, else Latin-1, which takes any bytes."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def decode_text(frame: bytes) -> Fields:
    """The frame is the field."""
    return {WHOLE: text_of(frame).strip()}


def csv_decoder(separator: str, names: Sequence[str]) -> Decoder:
    """Fields between ``separator``; quotes have no meaning."""

    def decode(frame: bytes) -> Fields:
        return _numbered([part.strip() for part in text_of(frame).split(separator)], names)

    return decode


def pairs_decoder(separator: str, equals: str) -> Decoder:
    """``key equals value`` between ``separator``; parts without ``equals`` are passed over."""

    def decode(frame: bytes) -> Fields:
        fields: dict[str, Value] = {}
        for part in text_of(frame).split(separator if separator.strip() else None):
            key, sign, value = part.partition(equals)
            if sign:
                fields[key.strip()] = value.strip()
        if not fields:
            raise ValueError(f"no pairs joined by {equals!r}")
        return fields

    return decode


def decode_json(frame: bytes) -> Fields:
    """A JSON text; its tables and lists by their path."""
    try:
        whole = json.loads(text_of(frame), parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise ValueError("no JSON") from None
    fields: dict[str, Value] = {}
    todo: list[tuple[str, Any]] = [(WHOLE, whole)]
    while todo:
        path, value = todo.pop()
        if isinstance(value, dict | list):
            entries = value.items() if isinstance(value, dict) else enumerate(value)
            todo += [(f"{path}.{key}" if path else str(key), item) for key, item in entries]
        else:
            fields[path] = value
    return fields


def pattern_decoder(pattern: Pattern) -> Decoder:
    """The groups of the first match."""
    names = {number: name for name, number in pattern.names.items()}

    def decode(frame: bytes) -> Fields:
        found = pattern.search(frame)
        if found is None:
            raise ValueError("does not match the pattern")
        texts = [None if group is None else text_of(group) for group in found]
        fields: dict[str, Value] = {str(number): text for number, text in enumerate(texts)}
        fields.update((name, texts[number]) for number, name in names.items())
        fields[WHOLE] = texts[1] if len(texts) > 1 else texts[0]
        return fields

    return decode


def format_problem(text: str) -> str | None:
    """The check of a ``format`` setting."""
    if not _FORMAT.fullmatch(text):
        return (
            'must begin with the order of bytes, "<" lowest first or ">" highest first, and go on as Python\'s struct: '
            'b B h H i I q Q whole numbers, f d numbers, ? a bool, 8s text, x a byte passed over; such as "<BhHf"'
        )
    return None


def struct_decoder(format: str, names: Sequence[str], at: int) -> Decoder:
    """Binary values from byte ``at`` on; what comes behind them is passed over."""
    layout = struct.Struct(format)

    def decode(frame: bytes) -> Fields:
        if len(frame) < at + layout.size:
            raise ValueError(f"{len(frame)} bytes where {at + layout.size} are needed")
        found: list[Value] = []
        for value in layout.unpack_from(frame, at):
            found.append(text_of(value).rstrip("\0 ") if isinstance(value, bytes) else value)
        return _numbered(found, names)

    return decode


def field_of(fields: Fields, field: Field) -> Value:
    """One field. Raises KeyError with what is there instead."""
    name = WHOLE if field is None else str(field)
    if name in fields:
        return fields[name]
    known = ", ".join(sorted(fields)[:12])
    raise KeyError(f"no field {name}" + (f" among {known}" if known.strip() else ""))


def convert(value: Value, type: Type) -> Value:
    """A field as the type of its point. Raises ValueError, with what stands there."""
    if value is None:
        raise ValueError("the field is empty")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("not a number")
    if type == "text":
        return value if isinstance(value, str) else json.dumps(value)
    if type == "bool":
        return _bool(value)
    if not isinstance(value, str):
        if type == "number" and not isinstance(value, int | float):
            raise ValueError(f"no number, but {_shown(value)}")
        return value
    text = value.strip()
    if type == "hex":
        return _hex(text)
    if type == "number" and "," in text and "." not in text:
        text = text.replace(",", ".", 1)  # as half of the world writes it
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    if type == "number":
        raise ValueError(f"no number, but {_shown(value)}")
    return value


def _numbered(values: Sequence[Value], names: Sequence[str]) -> Fields:
    fields: dict[str, Value] = {str(number): value for number, value in enumerate(values)}
    fields.update(zip(names, values, strict=False))
    fields[WHOLE] = values[0]
    return fields


def _bool(value: Value) -> bool:
    if isinstance(value, bool | int | float):
        return bool(value)
    word = value.strip().lower() if isinstance(value, str) else ""
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise ValueError(f"neither on nor off, but {_shown(value)}")


def _hex(text: str) -> int:
    if not re.fullmatch(r"(?:0[xX])?[0-9A-Fa-f]{1,16}", text):
        raise ValueError(f"no hexadecimal number, but {_shown(text)}")
    return int(text, 16)


def _shown(value: Value) -> str:
    return repr(value if len(str(value)) <= 40 else str(value)[:40] + "...")


def _no_number(text: str) -> Value:
    raise ValueError(text)
