"""How long to leave a unit alone that does not answer. Pure.

Every question to a mute unit costs the bus a whole time-out in which nobody else is heard. Two rules bound that:

- After two time-outs in a row the unit is *open*: it gets one short probe at a time, further and further apart.
  A probe begins at a quarter of the normal time-out and grows back to it, so that a unit that is only slow is
  found again.
- Among several units, a time-out that cost d seconds is followed by at least 4 d seconds without a question, so
  that a unit that does not answer takes at most a fifth of the bus, whatever its time-out is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

PATIENCE: Final = 2
"""Time-outs in a row that open the breaker. One may be a lost packet."""

FIRST_WAIT: Final = 1.0
LONGEST_WAIT: Final = 60.0
"""Seconds between two probes; doubling from the first to the longest."""

SHARE: Final = 4.0
"""Seconds left to the other units for each second lost on a mute one."""

PROBE: Final = 0.25
"""Length of the first probe, in normal time-outs. Each failed probe doubles it."""

_SPREAD: Final = 0.25
"""Part of a wait that jitter adds: units that went away together do not come back in the same moment."""

_ENOUGH: Final = 16
"""Doublings after which both bounds are long reached."""


class Breaker:
    """One unit's breaker. Times are monotonic seconds; ``random`` gives 0 to 1."""

    __slots__ = ("misses", "not_before", "_random")

    def __init__(self, random: Callable[[], float]) -> None:
        self.misses = 0
        self.not_before = 0.0
        self._random = random

    @property
    def is_open(self) -> bool:
        """Whether the unit is held to be away."""
        return self.misses >= PATIENCE

    def may_ask(self, now: float) -> bool:
        """Whether the unit may be asked now."""
        return now >= self.not_before

    def time_limit(self, normal: float) -> float:
        """Seconds to wait for the next answer; ``normal`` for a unit that answers."""
        if not self.is_open:
            return normal
        return min(normal, normal * PROBE * 2.0 ** min(self.misses - PATIENCE, _ENOUGH))

    def answered(self) -> None:
        """The unit has answered, with a value or with an exception of its own."""
        self.misses = 0
        self.not_before = 0.0

    def timed_out(self, now: float, cost: float, is_alone: bool) -> None:
        """No answer, and ``cost`` seconds lost. ``is_alone``: no other unit needs the bus."""
        self.misses += 1
        wait = 0.0 if is_alone else SHARE * cost
        if self.is_open:
            backoff = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(self.misses - PATIENCE, _ENOUGH))
            wait = max(wait, backoff) * (1 + _SPREAD * self._random())
        self.not_before = now + wait
