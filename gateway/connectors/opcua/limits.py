"""How much a server takes in one request, and how work is cut to that. Pure.

A server says it in its OperationLimits (Part 5, 6.3.11); 0 means no limit, and many servers do not have them. Some
have them and refuse less: then a request is cut in halves until it is taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

T = TypeVar("T")

DEFAULT: Final = 500
"""Of anything in one request, when the server does not say. S7-1500 allow 1000, small stacks 100 and more."""

MOST: Final = 1000
"""We never ask for more at once: an answer of thousands of values stops everybody else for its decoding."""

TOO_MUCH: Final = frozenset(
    {
        0x80100000,  # BadTooManyOperations
        0x80080000,  # BadEncodingLimitsExceeded
        0x80B80000,  # BadRequestTooLarge
        0x80B90000,  # BadResponseTooLarge
    }
)
"""Statuses that say: ask for less (Part 6, annex A.2)."""


class Limits(NamedTuple):
    """Most operations in one request."""

    read: int = DEFAULT
    write: int = DEFAULT
    browse: int = DEFAULT
    translate: int = DEFAULT
    items: int = DEFAULT


def limits_from(said: Mapping[str, object]) -> Limits:
    """Limits from what the server said for each field; what is missing, 0 or no number is ours."""
    found: dict[str, int] = {}
    for name in Limits._fields:
        value = said.get(name)
        is_number = isinstance(value, int) and not isinstance(value, bool) and value > 0
        found[name] = min(int(str(value)), MOST) if is_number else DEFAULT
    return Limits(**found)


def cut(things: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    """The things in pieces of at most ``most``."""
    for at in range(0, len(things), most):
        yield things[at : at + most]
