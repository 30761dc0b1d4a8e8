"""Moving averages of a counter over 1, 5 and 15 minutes, in events a minute, as mosquitto computes them.

Each time the rate since the last look is mixed in with the weight ``1 - exp(-elapsed / minutes)``.
"""

from __future__ import annotations

from math import exp
from typing import Final

MINUTES: Final = (1, 5, 15)

LEAST_CHANGE: Final = 0.01
"""A smaller change is not worth a message (mosquitto's number)."""


class Load:
    """The three averages of one counter. ``total`` is its value now."""

    __slots__ = ("_last", "averages")

    def __init__(self, total: int) -> None:
        self._last = total
        self.averages = [0.0, 0.0, 0.0]

    def update(self, total: int, elapsed: float) -> list[bool]:
        """Mix in what came in ``elapsed`` seconds (> 0); for each average whether it changed enough to tell."""
        rate = (total - self._last) * 60 / elapsed
        self._last = total
        told = []
        for index, minutes in enumerate(MINUTES):
            old = self.averages[index]
            new = rate + exp(-elapsed / (60 * minutes)) * (old - rate)
            self.averages[index] = new
            told.append(abs(new - old) >= LEAST_CHANGE)
        return told
