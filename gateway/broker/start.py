"""Where to begin to read: ``first``, ``last``, ``next``, an offset, or a time, as people and SUBSCRIBE say it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from gateway.broker.queue_port import STALE
from gateway.errors import Refused

MILLISECONDS_FROM: Final = 1e11
"""A time beyond this many seconds since 1970 is meant in milliseconds."""

ROUNDED: Final = 0.0005
"""Times are shown in whole milliseconds: who asks for the time of a message that he was shown must find it."""


def parse_start(start: str, last: int) -> tuple[int | None, float | None]:
    """Behind which offset, or from what wall clock time on, ``start`` says to read; ``last`` is the newest offset.

    Both are None for an empty ``start``. Raises Refused for one that means nothing.
    """
    if not start:
        return None, None
    words = {"first": 0, "next": last, "last": max(0, last - 1)}
    if start in words:
        return words[start], None
    try:
        if start.startswith("time="):
            return None, parse_time(start[5:]) - ROUNDED
        offset = int(start)
    except ValueError:
        offset = 0
    if offset < 1:
        raise Refused(f"offset must be first, last, next, a number or time=..., not {start!r}", STALE)
    return min(offset - 1, last), None


def parse_time(text: str) -> float:
    """Seconds since 1970 from a number of seconds or milliseconds, or from RFC 3339 text. Raises ValueError."""
    try:
        number = float(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not 0 <= number < 1e15:
        raise ValueError("is no time")
    return number / 1000 if number >= MILLISECONDS_FROM else number
