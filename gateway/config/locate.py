"""On which line does a key stand? TOML parsers do not say, so a small scanner reads the text once more.

It keeps no values, only ``key path -> line``, and it trusts that the parser has accepted the text: on any other
text it ends and does not raise, but its answers mean nothing. One loop over tokens; the open arrays and inline
tables are a stack of its own, so that deep nesting costs no recursion.
"""

from __future__ import annotations

import re
from typing import Final

import tomli

from gateway.config.keys import KeyPath

_TOKEN: Final = re.compile(
    r"""
      (?P<string> \"{3} (?: \\. | [^\\] )*? \"{3,5}   # up to two quotes may stand before the closing three
                | '{3} .*? '{3,5}
                | " (?: \\. | [^"\\\n] )* "
                | ' [^'\n]* ' )
    | (?P<comment> \# [^\n]* )
    | (?P<word> [A-Za-z0-9_+:-]+ )                    # bare keys; numbers, dates and booleans
    | (?P<mark> [\[\]{}=,\n] )
    """,
    re.VERBOSE | re.DOTALL,
)


MAX_DEPTH: Final = 32
"""Names in a key path. What lies deeper counts as its ancestor at this depth: settings are not that deep, and each
level of a hostile document would cost a path as long as all levels above it."""


class Locator:
    """The lines of one TOML document."""

    def __init__(self, text: str) -> None:
        self._lines = _Scanner().scan(text)

    def line(self, path: KeyPath) -> int | None:
        """The line, from 1, of a key, table or array element; else that of its nearest known parent.

        A table stands where its header stands, or where it is first named when it has none. None when not even
        the first name is known.
        """
        for end in range(len(path), 0, -1):
            line = self._lines.get(path[:end])
            if line is not None:
                return line
        return None


class _Open:
    """An array or inline table that is not closed yet. ``index`` counts the elements; None for a table."""

    __slots__ = ("index", "path")

    def __init__(self, path: KeyPath, index: int | None) -> None:
        self.path = path
        self.index = index


class _Scanner:
    def __init__(self) -> None:
        self.lines: dict[KeyPath, int] = {}
        self._line = 1
        self._table: KeyPath = ()
        self._elements: dict[KeyPath, int] = {}  # arrays of tables: how many so far
        self._open: list[_Open] = []
        self._keys: list[str] = []  # parts of the key being read
        self._key_next = True  # a key stands next; else a value, or the end of one
        self._brackets = 0  # of the header being read
        self._path: KeyPath = ()  # of the key whose value stands next

    def scan(self, text: str) -> dict[KeyPath, int]:
        last = 0
        for match in _TOKEN.finditer(text):
            self._line += text.count("\n", last, match.start())
            last = match.start()
            if match.lastgroup == "mark":
                self._mark(match.group())
            elif match.lastgroup != "comment":
                if self._key_next:
                    self._keys.append(_unquote(match.group()))
                else:
                    self._value_path()
        return self.lines

    def _mark(self, mark: str) -> None:
        if mark == "\n":
            if not self._open:
                self._expect_key()
        elif mark in "]}" and self._open:
            self._open.pop()
            self._key_next = False
        elif self._key_next:
            self._mark_in_key(mark)
        elif mark in "[{":
            self._open.append(_Open(self._value_path(), 0 if mark == "[" else None))
            if mark == "{":
                self._expect_key()
        elif mark == "," and self._open:
            top = self._open[-1]
            if top.index is None:
                self._expect_key()
            else:
                top.index += 1

    def _mark_in_key(self, mark: str) -> None:
        if mark == "=":
            base = self._open[-1].path if self._open else self._table
            for key in self._keys:
                base = _below(base, key)
                self.lines.setdefault(base, self._line)
            self._path = base
            self._key_next = False
        elif mark == "[":
            self._brackets += 1
        elif mark == "]" and self._brackets:
            self._header(is_array=self._brackets == 2)
            self._expect_key()

    def _header(self, is_array: bool) -> None:
        """``[a.b]`` opens a table, ``[[a.b]]`` the next element of an array; names in between mean the last element."""
        path: KeyPath = ()
        for position, key in enumerate(self._keys, 1):
            path = _below(path, key)
            is_last = position == len(self._keys)
            self.lines.setdefault(path, self._line)
            if is_last and is_array:
                self._elements[path] = self._elements.get(path, 0) + 1
            if path in self._elements:
                path = _below(path, self._elements[path] - 1)
            if is_last:
                self.lines[path] = self._line
        self._table = path

    def _value_path(self) -> KeyPath:
        """The path of the value that begins here, noted when it is an array element."""
        if not self._open or (index := self._open[-1].index) is None:
            return self._path
        path = _below(self._open[-1].path, index)
        self.lines.setdefault(path, self._line)
        return path

    def _expect_key(self) -> None:
        self._key_next = True
        self._keys = []
        self._brackets = 0


def _below(path: KeyPath, part: str | int) -> KeyPath:
    return (*path, part) if len(path) < MAX_DEPTH else path


def _unquote(token: str) -> str:
    if token[0] not in "\"'":
        return token
    if "\\" not in token or token[0] == "'":
        return token[1:-1]
    try:
        key: str = tomli.loads(f"key = {token}")["key"]
    except tomli.TOMLDecodeError:
        return token
    return key
