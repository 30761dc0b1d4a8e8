"""A counter that starts again at 0 -> a total that only grows. Pure.

A counter of 16 bits goes from 65535 to 0, a meter with six wheels from 999999. And a device that was switched off
begins at 0 in the middle. Both look alike, so the step decides: counted on over the end it is a *wrap* while it is
less than half of the counter's span (and not faster than the point's ``rate``); else, when the new count is less
than half of the last one, it is a *reset*, and the total goes on from where it was. A count that is only a little
less than the last one is neither: counters do not count down. The total then waits, and when the device stays with it
for ``PATIENCE`` readings the count is believed and the total goes on from there.

The first total is the device's own count. Nothing is kept over a restart of the gateway: the total is then again
what the device says, without the wraps and resets that were seen before.
"""

from __future__ import annotations

from typing import Final

from gateway.connectors.base import Quality
from gateway.connectors.plausible import FINE

PATIENCE: Final = 3
"""Readings below the last count after which they are believed."""

RESET: Final = (Quality.UNCERTAIN, "the counter began again at 0: what it counted just before is not known")
BACKWARDS: Final = (Quality.UNCERTAIN, "the counter has gone backwards")


class Counter:
    """The total of one counter.

    span  the number after which it starts again: 65536 for 16 bits
    rate  greatest step in a second; None: not known
    """

    __slots__ = ("_back", "_base", "_last", "_rate", "_seen", "_span")

    def __init__(self, span: int, rate: float | None = None) -> None:
        self._span = span
        self._rate = rate
        self._base: float = 0
        self._last: float | None = None
        self._seen = 0.0
        self._back = 0

    def total(self, count: float, now: float) -> tuple[float, tuple[Quality, str]]:
        """The total, and how far it can be trusted. ``now``: monotonic seconds."""
        last = self._last
        told = FINE
        if last is not None and count < last:
            if self._is_wrap(last, count, now):
                self._base += self._span
            elif count * 2 <= last:
                self._base += last
                told = RESET
            else:
                self._back += 1
                if self._back < PATIENCE:
                    return self._base + last, BACKWARDS
                self._base += last - count
                told = BACKWARDS
        self._last, self._seen, self._back = count, now, 0
        return self._base + count, told

    def _is_wrap(self, last: float, count: float, now: float) -> bool:
        step = count + self._span - last
        most = self._span / 2
        if self._rate is not None:
            most = min(most, self._rate * max(now - self._seen, 0.0))
        return step <= most
