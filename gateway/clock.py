"""Two clocks, never mixed: ``time()`` for data, ``now()`` for waiting.

Pure parts take ``now`` as an argument; the shells own a ``Clock``. Tests pass ``FixedClock``.
"""

from __future__ import annotations

import time as _time
from typing import Final

_wall: Final = _time.time
_monotonic: Final = _time.monotonic
"""Bound once: these are asked for every wake-up, and compiled code finds a module's own constants at no cost."""


class Clock:
    """The clocks of this machine."""

    __slots__ = ()

    def time(self) -> float:
        """Wall clock: seconds since 1970. May step, may be wrong. For data only."""
        return _wall()

    def now(self) -> float:
        """Monotonic clock: seconds from an arbitrary start. Never steps. For waiting only."""
        return _monotonic()


class FixedClock(Clock):
    """A clock that moves only when told to."""

    __slots__ = ("_now", "_time")

    def __init__(self, time: float = 1_700_000_000.0, now: float = 1000.0) -> None:
        self._time = time
        self._now = now

    def time(self) -> float:
        return self._time

    def now(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Let both clocks run ``seconds`` on."""
        self._time += seconds
        self._now += seconds

    def step(self, seconds: float) -> None:
        """Set the wall clock forward or back, as a late NTP answer does; the monotonic clock stays."""
        self._time += seconds


def iso_time(seconds: float) -> str:
    """RFC 3339 in UTC with milliseconds, as ``2026-11-21T05:29:06.123Z``."""
    # Rounded, not cut: 1.123 is 1.12299999 in binary, and would lose a millisecond each time it is read and written.
    whole, millis = divmod(round(seconds * 1000), 1000)
    return _time.strftime("%Y-%m-%dT%H:%M:%S", _time.gmtime(whole)) + f".{millis:03d}Z"
