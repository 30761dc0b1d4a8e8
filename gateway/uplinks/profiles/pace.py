"""So many messages a second and no more. Time is passed in (monotonic clock)."""

from __future__ import annotations

from typing import Final

BURST: Final = 0.1
"""Part of a second's worth that may leave at once; the rest comes evenly, so that no second sees more than the rate."""

_NOTHING: Final = 1e-6
"""Seconds that no timer can wait for: what is left of a wait after rounding."""


class Pace:
    """``rate`` messages in any second; 0: no limit."""

    __slots__ = ("_at", "_burst", "_gap")

    def __init__(self, rate: int) -> None:
        self._burst = max(1.0, rate * BURST)
        self._gap = 1.0 / (rate - self._burst) if rate > self._burst else float(rate > 0)
        # When the next one would leave if all left evenly.
        self._at = float("-inf")

    @property
    def is_free(self) -> bool:
        """There is no limit."""
        return not self._gap

    def wait(self, now: float) -> float:
        """Seconds until one more may leave; 0: at once."""
        wait = self._at - now - (self._burst - 1) * self._gap
        return wait if self._gap and wait > _NOTHING else 0.0

    def sent(self, now: float) -> None:
        """One has left."""
        if self._gap:
            self._at = max(self._at, now) + self._gap
