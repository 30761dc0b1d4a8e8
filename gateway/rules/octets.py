"""Bytes in expressions. JSON has no word for bytes, so an expression holds them as hex text: two digits for each byte.

``hex()`` is the payload that came, ``unpack`` reads numbers out of it (or out of other hex text), ``pack`` makes hex
text that ``publish = { bytes = ... }`` sends as bytes. Each raises RuleError, nothing else.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from typing import Final

from gateway.message import Value
from gateway.rules.frame import MAX_TEXT, Frame
from gateway.rules.language import RuleError
from gateway.rules.needs import shown, text

MAX_BYTES: Final = MAX_TEXT // 2
"""Bytes that hex text can hold."""

MAX_LAYOUT: Final = 4096
"""Bytes that one format can describe."""

_FORMAT: Final = re.compile(r"([<>]?)((?:\s*[0-9]{0,4}[xbB?hHiIlLqQefds])+)\s*")


class Layout:
    """A format of Python's ``struct``: ``<`` or ``>`` (which is what it is without one), then what follows what.

    No padding is put in, sizes are the same on every machine. ``count``: values that it reads.
    """

    __slots__ = ("text", "count", "_struct")

    def __init__(self, format: str) -> None:
        """Raises RuleError."""
        self.text = format
        found = _FORMAT.fullmatch(format)
        if found is None or len(format) > 256:
            raise RuleError(
                f"{format[:80]!r} is no format; write > (big end first) or <, then letters with counts: b B 8 bits, "
                "h H 16, i I 32, q Q 64 (capitals without a sign), e f d fractions, ? true or false, 8s text, x nothing"
            )
        self._struct = struct.Struct((found[1] or ">") + found[2])
        if self._struct.size > MAX_LAYOUT:
            raise RuleError(f"{format!r} describes {self._struct.size} bytes; at most {MAX_LAYOUT}")
        self.count = len(self._struct.unpack(bytes(self._struct.size)))

    def read(self, data: bytes) -> tuple[Value, ...] | None:
        """The values that ``data`` begins with; None when it is too short."""
        if len(data) < self._struct.size:
            return None
        return tuple([plain(value) for value in self._struct.unpack_from(data)])

    def write(self, values: tuple[Value, ...]) -> bytes:
        """The bytes of these values. Raises RuleError."""
        if len(values) != self.count:
            raise RuleError(f"{self.text!r} takes {self.count} values, not {len(values)}")
        made = [value.encode("utf-8", "replace") if isinstance(value, str) else value for value in values]
        try:
            return self._struct.pack(*made)
        except (struct.error, OverflowError, TypeError) as error:
            raise RuleError(f"cannot be packed as {self.text!r}: {error}") from None


def plain(value: object) -> Value:
    """What ``struct`` reads as JSON has it: text up to its closing zeros, no NaN."""
    if isinstance(value, bytes):
        try:
            return value.rstrip(b"\0").decode()
        except UnicodeDecodeError:
            return None
    if isinstance(value, float):
        return value if value - value == 0 else None
    assert isinstance(value, int)
    return value


def read_hex(value: Value) -> bytes:
    """Hex text to bytes; white space and colons between bytes are let through. Raises RuleError."""
    try:
        return bytes.fromhex(text(value).replace(":", " "))
    except ValueError:
        raise RuleError(f"{shown(value)} is no hex text") from None


def _payload(frame: Frame) -> bytes:
    data = frame.message.payload
    if len(data) > MAX_BYTES:
        raise RuleError(f"payload has {len(data)} bytes; an expression can use {MAX_BYTES}")
    frame.charge(len(data) >> 5)
    return data


def unpack(frame: Frame, layout: Layout, index: Value, data: Value = None) -> Value:
    if type(index) is not int or not 0 <= index < layout.count:
        raise RuleError(f"{layout.text!r} gives {layout.count} values, counted from 0; there is none at {shown(index)}")
    # All values are read: a layout is bounded, and this keeps its check in one place.
    frame.charge(layout.count)
    values = layout.read(read_hex(data) if data is not None else frame.message.payload)
    return None if values is None else values[index]


def pack(frame: Frame, layout: Layout, *values: Value) -> str:
    frame.charge(layout.count)
    return layout.write(values).hex()


def to_hex(frame: Frame, value: Value = None) -> str:
    if value is None:  # a missing argument is none at all: the call was not made then
        return _payload(frame).hex()
    made = text(value).encode("utf-8", "replace").hex()
    if len(made) > MAX_TEXT:
        raise RuleError(f"the result would have {len(made)} characters; at most {MAX_TEXT}")
    return made


def from_hex(value: Value) -> Value:
    return plain(read_hex(value))


def to_base64(frame: Frame, value: Value = None) -> str:
    data = _payload(frame) if value is None else read_hex(value)
    return base64.b64encode(data).decode()


def from_base64(value: Value) -> str:
    """RFC 4648, sections 4 and 5: both alphabets, with or without its closing signs."""
    written = text(value).strip().translate({ord("-"): "+", ord("_"): "/"}).rstrip("=")
    if len(written) > MAX_TEXT // 2:
        raise RuleError(f"got a text of {len(written)} characters; at most {MAX_TEXT // 2}")
    try:
        return base64.b64decode(written + "=" * (-len(written) % 4), validate=True).hex()
    except (binascii.Error, ValueError):
        raise RuleError(f"{shown(value)} is no base64") from None
