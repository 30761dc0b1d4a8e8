"""Statistics over the last values: windows of time or of a number of values, sliding or one after the other.

``mean_over(v, "5m")`` is the mean of the values of the last five minutes at each evaluation. With ``tumbling`` windows
follow each other without overlap, and the result is that of the last one that is complete: None at first, then the same
until the next one is. Time is monotonic: a step of the wall clock neither empties a window nor fills it.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gateway.config.types import MILLISECONDS
from gateway.message import Value
from gateway.rules.cells import Cell, Room
from gateway.rules.language import RuleError
from gateway.rules.operators import NUMBERS, kind

if TYPE_CHECKING:
    from gateway.rules.frame import Frame

MAX_VALUES: Final = 10_000
"""Values in one window; the oldest leaves early when a window of time holds more."""

_SHAPE: Final = re.compile(r"(?:(\d{1,5}) values?|(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h|d))( tumbling)?")


class Extent(NamedTuple):
    """How far a window reaches: ``seconds``, or so many values (``most``); the other is 0."""

    seconds: float
    most: int
    tumbling: bool


def parse_extent(text: str) -> Extent:
    """``"5m"``, ``"20 values"``, each with `` tumbling`` behind it or not. Raises RuleError."""
    match = _SHAPE.fullmatch(text)
    if match is None:
        raise RuleError(f'{text!r} is no window; write "5m", "20 values", "5m tumbling" or "20 values tumbling"')
    most = int(match[1] or 0)
    seconds = float(match[2] or 0) * MILLISECONDS.get(match[3] or "s", 0) / 1000
    if match[1] and not 1 <= most <= MAX_VALUES:
        raise RuleError(f"a window holds 1 to {MAX_VALUES} values, not {most}")
    if match[2] and not 0.001 <= seconds <= 366 * 86_400:
        raise RuleError("a window is between 1ms and 366d long")
    return Extent(seconds, most, match[4] is not None)


Statistic = Callable[..., Value]
"""What a window is asked for: takes the window, and the arguments of the call behind the first. None when empty."""


class Window(Cell):
    """The values of one window, oldest first, and when each came."""

    __slots__ = (
        "_extent",
        "_statistic",
        "_room",
        "_times",
        "_values",
        "_total",
        "_removed",
        "_sorted",
        "_begin",
        "_last",
        "_more",
    )

    def __init__(self, extent: Extent, statistic: Statistic, room: Room) -> None:
        self._extent = extent
        self._statistic = statistic
        self._room = room
        self._times: deque[float] = deque()
        self._values: deque[float] = deque()
        self._total = 0.0
        self._removed = 0
        self._sorted: list[float] | None = None
        # Tumbling: when the window began, and the result of the one before it.
        self._begin: float | None = None
        self._last: Value = None
        self._more: tuple[Any, ...] = ()

    # -- what the statistics see

    @property
    def values(self) -> deque[float]:
        return self._values

    @property
    def times(self) -> deque[float]:
        return self._times

    @property
    def total(self) -> float:
        """The sum, without adding all up each time."""
        return self._total

    def ranked(self) -> Sequence[float]:
        """The values by size. Kept so from the first time that somebody asks."""
        if self._sorted is None:
            self._sorted = sorted(self._values)
        return self._sorted

    # -- life

    def step(self, frame: Frame, *values: Any) -> Value:
        now = frame.now
        self._more = values[1:]
        if self._extent.tumbling:
            self._tumble(now)
        else:
            self._expire(now)
        value = values[0]
        if value is not None and not frame.is_wake:
            if type(value) not in NUMBERS:
                raise RuleError(f"needs a number, not a {kind(value)}")
            self._add(float(value) if isinstance(value, bool) else value, now)
            if self._extent.tumbling:
                if self._begin is None:
                    self._begin = now
                if self._extent.most and len(self._values) >= self._extent.most:
                    self._close()
        return self._last if self._extent.tumbling else self._statistic(self, *self._more)

    def _add(self, value: float, now: float) -> None:
        if self._extent.most and not self._extent.tumbling and len(self._values) >= self._extent.most:
            self._remove()
        elif self._values and (self._room.left <= 0 or len(self._values) >= MAX_VALUES):
            self._remove()
            self._room.cut += 1
        self._times.append(now)
        self._values.append(value)
        self._total += value
        self._room.left -= 1
        if self._sorted is not None:
            insort(self._sorted, value)

    def _remove(self) -> None:
        self._times.popleft()
        value = self._values.popleft()
        self._total -= value
        self._removed += 1
        self._room.left += 1
        if self._removed > len(self._values):
            # What rounding has left behind does not add up over the years.
            self._total = math.fsum(self._values)
            self._removed = 0
        if self._sorted is not None:
            del self._sorted[bisect_left(self._sorted, value)]

    def _expire(self, now: float) -> None:
        seconds = self._extent.seconds
        if seconds:
            oldest = now - seconds
            while self._times and self._times[0] <= oldest:
                self._remove()

    def _tumble(self, now: float) -> None:
        seconds = self._extent.seconds
        if not seconds or self._begin is None or now < self._begin + seconds:
            return
        self._close()
        # The next window begins on the same beat, however long nothing came.
        self._begin += math.floor((now - self._begin) / seconds) * seconds

    def _close(self) -> None:
        self._last = self._statistic(self, *self._more)
        self.forget()

    def forget(self) -> None:
        self._room.left += len(self._values)
        self._times.clear()
        self._values.clear()
        self._total, self._removed, self._sorted = 0.0, 0, None

    def dump(self, now: float) -> Any:
        begin = None if self._begin is None else now - self._begin
        return [[now - time for time in self._times], list(self._values), begin, self._last]

    def load(self, data: Any, now: float) -> None:
        ages, values, begin, last = data
        for age, value in zip(ages, values, strict=True):
            self._add(float(value) if isinstance(value, bool) else value + 0, now - float(age))
        self._begin = None if begin is None else now - float(begin)
        self._last = last


def mean(window: Window) -> Value:
    return window.total / len(window.values) if window.values else None


def total(window: Window) -> Value:
    return window.total if window.values else None


def smallest(window: Window) -> Value:
    return min(window.values, default=None)


def largest(window: Window) -> Value:
    return max(window.values, default=None)


def count(window: Window) -> Value:
    return len(window.values)


def first(window: Window) -> Value:
    return window.values[0] if window.values else None


def change(window: Window) -> Value:
    return window.values[-1] - window.values[0] if window.values else None


def slope(window: Window) -> Value:
    """Change per second from the oldest to the newest value."""
    if len(window.values) < 2 or window.times[-1] <= window.times[0]:
        return None
    return (window.values[-1] - window.values[0]) / (window.times[-1] - window.times[0])


def deviation(window: Window) -> Value:
    """Standard deviation of all values in the window (divided by their number)."""
    if not window.values:
        return None
    middle = window.total / len(window.values)
    return math.sqrt(math.fsum((value - middle) ** 2 for value in window.values) / len(window.values))


def percentile(window: Window, part: Any) -> Value:
    """The value that ``part`` of a hundred values do not exceed, between neighbours in a straight line."""
    if part is None:
        return None
    if type(part) not in NUMBERS or not 0 <= part <= 100:
        raise RuleError(f"needs a part between 0 and 100, not {part!r}"[:80])
    ranked = window.ranked()
    if not ranked:
        return None
    place = (len(ranked) - 1) * part / 100
    low = math.floor(place)
    high = min(low + 1, len(ranked) - 1)
    return ranked[low] + (ranked[high] - ranked[low]) * (place - low)
