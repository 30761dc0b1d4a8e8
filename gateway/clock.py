"""Two clocks, never mixed: ``time()`` for data, ``now()`` for waiting.

Pure parts take ``now`` as an argument; the shells own a ``Clock``. Tests pass ``FixedClock``.
"""

from __future__ import annotations

import time as _time
from typing import Final

_wall: Final = _time.time
_monotonic: Final = _time.monotonic
"""Bound once: these are asked for every wake-up, and compiled code finds a module's own constants at no cost."""

EARLIEST: Final = 1_704_067_200.0
"""2024-01-01: a wall clock before this was never set."""

READS: Final = 5
AT_ONCE: Final = 0.001
"""Both clocks are read until it took no longer than so many seconds: whoever is interrupted in between would see a
step."""

UNLIMITED: Final = float("inf")


class Clock:
    """The clocks of this machine."""

    __slots__ = ()

    def time(self) -> float:
        """Wall clock: seconds since 1970. May step, may be wrong. For data only."""
        return _wall()

    def now(self) -> float:
        """Monotonic clock: seconds from an arbitrary start. Never steps. For waiting only."""
        return _monotonic()

    def time_at(self, now: float) -> float:
        """Wall clock of the moment at which ``now`` was just read: one reading of the machine for both."""
        return self.time()

    def surely(self, now: float) -> float:
        """The latest wall clock time that may be believed where something is due by how long the gateway was off; here
        there is no bound."""
        return UNLIMITED


class SteadyClock(Clock):
    """The clock of the gateway: its wall clock is the monotonic one plus an ``offset`` that only its owner moves.

    So a step of the machine's clock is an event between two turns of the loop, and what was said before and after it
    is known apart. On Linux the two clocks are disciplined alike: they differ by steps only.

    offset  wall clock less monotonic clock, seconds
    least   the smallest such that may be believed, -inf while none may; see ``surely``
    """

    __slots__ = ("_machine", "least", "offset")

    def __init__(self, machine: Clock) -> None:
        self._machine = machine
        self.offset = machine.time() - machine.now()
        self.least = UNLIMITED

    def time(self) -> float:
        return self._machine.now() + self.offset

    def now(self) -> float:
        return self._machine.now()

    def time_at(self, now: float) -> float:
        return now + self.offset

    def surely(self, now: float) -> float:
        return now + self.least

    def read(self) -> tuple[float, float]:
        """(monotonic, wall) as the machine has them, of one moment as nearly as it can be had."""
        found = (0.0, 0.0)
        narrowest = UNLIMITED
        for _ in range(READS):
            before = self._machine.now()
            wall = self._machine.time()
            after = self._machine.now()
            if after - before < narrowest:
                narrowest = after - before
                found = (before + after) / 2, wall
            if narrowest < AT_ONCE:
                break
        return found


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
