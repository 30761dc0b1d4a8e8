"""Bytes as people write them in settings, and questions with places to fill in. Pure.

Bytes are text, with ``\\r \\n \\t \\0 \\xHH \\\\`` for what cannot be typed, or hexadecimal digits behind ``hex:``::

    "READ {address}\\r\\n"        "hex: 05 {unit:02X} 0D"        "SET {address} {value:.1f}\\n"

``{unit}``, ``{address}``, ``{password}`` and ``{value}`` are filled in, in a form as of Python's format:
``{value:05.1f}``. A brace that is meant is written twice.
"""

from __future__ import annotations

import re
from string import Formatter
from typing import Any, Final

from gateway.errors import Rejected

SECRET: Final = "password"
"""The name of what is not shown."""

LONGEST: Final = 1024
"""Bytes of one question."""

_ESCAPES: Final = {"r": "\r", "n": "\n", "t": "\t", "0": "\0", "\\": "\\"}
_ESCAPE: Final = re.compile(r"\\(x[0-9A-Fa-f]{2}|.|$)", re.DOTALL)
_SPEC: Final = re.compile(r"([<>=^]|0)?[+ -]?#?0?[0-9]{0,2}(\.[0-9]{1,2})?[bcdeEfgGosxX]?")
_HEX: Final = "hex:"


def parse_bytes(text: str) -> bytes:
    """The bytes behind ``"\\r\\n"`` or ``"hex:0D0A"``. Raises ValueError with what it must be."""
    if text.startswith(_HEX):
        try:
            return bytes.fromhex(text.removeprefix(_HEX))
        except ValueError:
            raise ValueError('must have pairs of hexadecimal digits behind "hex:", such as "hex:0D0A"') from None
    return _ESCAPE.sub(_unescaped, text).encode("latin-1" if "\\x" in text else "utf-8")


def bytes_problem(text: str) -> str | None:
    """The check of a setting that is bytes."""
    try:
        return None if parse_bytes(text) else "must not be empty"
    except (ValueError, UnicodeError) as error:
        return str(error) if not isinstance(error, UnicodeError) else "must not mix \\xHH with letters beyond U+00FF"


def _unescaped(found: re.Match[str]) -> str:
    code = found[1]
    if code in _ESCAPES:
        return _ESCAPES[code]
    if len(code) == 3:
        return chr(int(code[1:], 16))
    raise ValueError(f"must have \\r \\n \\t \\0 \\xHH or \\\\ where it has \\{code}")


class Template:
    """A question or a command with places to fill in. Raises ValueError for text that is none.

    known   names that may stand in braces
    names   those that do
    is_hex  whether it is written in hexadecimal digits
    parts   (text, name behind it or None, its form), in their order
    """

    __slots__ = ("is_hex", "names", "parts", "_text")

    def __init__(self, text: str, known: tuple[str, ...]) -> None:
        self._text = text
        self.is_hex = text.startswith(_HEX)
        try:
            parts = list(Formatter().parse(text.removeprefix(_HEX)))
        except ValueError:
            raise ValueError("must close every brace; write {{ and }} for braces that are meant") from None
        for _, name, spec, conversion in parts:
            if name is not None and name not in known:
                raise ValueError(
                    f"must have {' or '.join(f'{{{word}}}' for word in known)} in braces, not {{{name}}}; "
                    "write {{ and }} for braces that are meant"
                )
            if conversion or not _SPEC.fullmatch(spec or ""):
                raise ValueError(f"must have a form such as 02X or .1f behind the name, not {spec or conversion}")
        self.names = frozenset(name for _, name, _, _ in parts if name is not None)
        self.parts = [(literal, name, spec or "") for literal, name, spec, _ in parts]
        if not self.names:
            self.fill()  # the bytes of it are wrong now or never
        elif not self.is_hex:
            for literal, _, _ in self.parts:
                parse_bytes(literal)

    def fill(self, **values: Any) -> bytes:
        """The bytes to send. Raises Rejected for a value that the form cannot hold, ValueError for bad bytes."""
        made: list[str] = []
        for literal, name, spec in self.parts:
            made.append(literal)
            if name is None:
                continue
            text = self._written(values[name], name, spec)
            if not self.is_hex:
                # A value must stay within its place: a line end inside would begin a command of its own.
                if any(ord(sign) < 32 or ord(sign) == 127 for sign in text):
                    raise Rejected(f"{name} must not hold control characters")
                text = text.replace("\\", "\\\\")
            made.append(text)
        try:
            data = parse_bytes(_HEX + "".join(made) if self.is_hex else "".join(made))
        except UnicodeError:
            raise Rejected("has letters beyond U+00FF beside \\xHH") from None
        except ValueError as error:
            if self.names:
                shown = {name: value for name, value in values.items() if name != SECRET and name in self.names}
                raise Rejected(f"{shown} make no whole bytes of {self._text!r}") from None
            raise error
        if len(data) > LONGEST:
            raise Rejected(f"is longer than {LONGEST} bytes when it is filled in")
        return data

    def secrets(self, **values: Any) -> list[bytes]:
        """The bytes on the wire that nobody may see: those of the password, or all where they are not bytes of their
        own."""
        found: list[bytes] = []
        for _, name, spec in self.parts:
            if name != SECRET:
                continue
            text = self._written(values[name], name, spec)
            try:
                found.append(bytes.fromhex(text) if self.is_hex else text.encode(self._coding()))
            except ValueError:
                found.append(self.fill(**values))
        return found

    def _coding(self) -> str:
        return "latin-1" if any("\\x" in literal for literal, _, _ in self.parts) else "utf-8"

    @staticmethod
    def _written(value: Any, name: str, spec: str) -> str:
        """A value in its form; true and false are 1 and 0. Raises Rejected."""
        if isinstance(value, bool):
            value = int(value)
        for form in (value, int(value) if isinstance(value, float) and value.is_integer() else value):
            try:
                return format(form, spec)
            except (ValueError, TypeError, OverflowError):
                pass  # a whole number that came as a float, in a form for whole numbers, is tried once more
        shown = "it" if name == SECRET else repr(value)
        raise Rejected(f"{shown} cannot be written in the form {{{name}:{spec}}}")


def template_problem(*known: str) -> Any:
    """The check of a setting that is a template."""

    def check(text: str) -> str | None:
        try:
            Template(text, known)
        except (ValueError, Rejected) as error:
            return str(error)
        return None if text else "must not be empty"

    return check
