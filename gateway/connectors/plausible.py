"""Can this reading be true? Range, speed and flat line of one point. Pure.

::

    outside the range          bad: no such value exists, the sensor is broken or the bytes are wrong
    faster than the rate       uncertain: compared with the last reading that was not too fast, so that one wild
                               value does not spoil the next one; a true step is good once there was time for it
    unchanged for flat_for     uncertain: the sensor may be frozen

Only numbers are looked at. The texts are the same for each reading with the same trouble: a change of text is news.
"""

from __future__ import annotations

from typing import NamedTuple

from gateway.connectors.base import Quality
from gateway.connectors.deadband import is_number
from gateway.message import Value

FINE: tuple[Quality, str] = (Quality.GOOD, "")


class Bounds(NamedTuple):
    """Both ends included."""

    low: float
    high: float


class Plausible:
    """Judges the readings of one point, one after the other.

    bounds    least and greatest value that can be true
    rate      greatest change in a second
    flat_for  seconds after which a number that stays exactly the same is doubted
    """

    __slots__ = ("_bounds", "_flat_for", "_rate", "_same", "_seen", "_since", "_trusted")

    def __init__(self, bounds: Bounds | None = None, rate: float | None = None, flat_for: float | None = None) -> None:
        self._bounds = bounds
        self._rate = rate
        self._flat_for = flat_for
        self._trusted: float | None = None  # the last number that was not too fast, seen at ...
        self._seen = 0.0
        self._same: float | None = None  # the number that it is since ...
        self._since = 0.0

    def judge(self, value: Value, now: float) -> tuple[Quality, str]:
        """Quality of a reading, and why it is not good. ``now``: monotonic seconds."""
        if not is_number(value):
            return FINE
        if self._bounds is not None and not self._bounds.low <= value <= self._bounds.high:
            return Quality.BAD, f"outside {self._bounds.low:g} to {self._bounds.high:g}"
        if value != self._same:
            self._same, self._since = value, now
        if self._is_too_fast(value, now):
            return Quality.UNCERTAIN, f"changes by more than {self._rate:g} in a second"
        self._trusted, self._seen = value, now
        if self._flat_for is not None and now - self._since >= self._flat_for:
            return Quality.UNCERTAIN, f"has not changed for {self._flat_for:g} s"
        return FINE

    def _is_too_fast(self, value: float, now: float) -> bool:
        if self._rate is None or self._trusted is None:
            return False
        return abs(value - self._trusted) > self._rate * max(now - self._seen, 0.0) * (1 + 1e-9)
