"""Which payloads are JSON on one line, found out once for all that have the same shape.

Readings differ in their digits and in nothing else. So a payload is looked at with each digit written as 1, its
*shape*; what is JSON stays JSON whatever digit stands there, but for one rule (RFC 8259 section 6): a whole part of
more than one digit does not begin with 0. A shape that is known is a look-up, and a look at the places where a 0 would
be wrong.

Pure. One object for each packer: what it remembers is bounded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from operator import itemgetter
from typing import Final

MOST: Final = 1024
"""Shapes that are remembered; free text has a new one each time, and pushes out what is there."""

LONGEST: Final = 2048
"""Bytes of the longest payload whose shape is remembered."""

_ONES: Final = bytes.maketrans(b"023456789", b"1" * 9)
_ZERO: Final = ord("0")

_PARTS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|([0-9]+)(?:\.[0-9]*)?(?:[eE][-+]?[0-9]*)?', re.DOTALL)
"""Strings, which may hold any digits, and numbers: their whole part is the group."""


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


_strict: Final = json.JSONDecoder(parse_constant=_no_number).decode
"""Python reads NaN and infinities too, which no other reader of JSON has to."""

_NOT: Final = None
"""In the place of a shape that is no JSON on one line."""


class Shapes:
    """See the module's docstring."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[int, ...] | None] = {}

    def is_line(self, payload: bytes) -> bool:
        """Whether a payload is JSON, in UTF-8 and without a line feed or carriage return."""
        shape = payload.translate(_ONES)
        try:
            places = self._known[shape]
        except KeyError:
            places = self._learn(shape)
        if places is _NOT:
            return False
        return not places or _ZERO not in [payload[at] for at in places]

    def are_lines(self, payloads: Sequence[bytes]) -> bool:
        """Whether ``is_line`` holds for all, at a third of what asking one by one costs. May say no where it holds: ask
        for each then."""
        shapes = b"\n".join(payloads).translate(_ONES).split(b"\n")
        if len(shapes) != len(payloads):
            return False  # some have line feeds
        where: dict[bytes, tuple[int, ...]] = {}
        for shape in set(shapes):
            places = self._known.get(shape, _NOT)
            if places is _NOT:
                return False
            where[shape] = places
        if len(where) == 1:
            # Of devices of one kind; three times as fast.
            return not any(_ZERO in map(itemgetter(at), payloads) for at in where[shapes[0]])
        return _ZERO not in [
            payload[at] for payload, shape in zip(payloads, shapes, strict=True) for at in where[shape]
        ]

    def _learn(self, shape: bytes) -> tuple[int, ...] | None:
        places = _places(shape) if _is_json(shape) else _NOT
        if len(shape) <= LONGEST:
            if len(self._known) >= MOST:
                self._known.clear()
            self._known[shape] = places
        return places


def _is_json(shape: bytes) -> bool:
    if b"\n" in shape or b"\r" in shape:
        return False
    try:
        _strict(shape.decode())
    except (ValueError, RecursionError):
        return False
    return True


def _places(shape: bytes) -> tuple[int, ...]:
    """Where a whole part of more than one digit begins in what is JSON."""
    return tuple([found.start(1) for found in _PARTS.finditer(shape) if len(found[1] or b"") > 1])
