"""How many bytes an uplink may cost in a day, a week or a month, what it will have cost at the end, and how to save.

The periods are those of the calendar, in UTC: a day, a week from Monday, a month. The forecast is what was used so
far and the rate of the last day, carried on to the end of the period. It is looked at ``STEPS`` times in a period; when
it is more than the budget, saving goes up by one level, and the rate is measured anew:

    0  everything goes as it comes
    1  rows are gathered for longer, and more of them share a publish
    2  telemetry is thinned to the last value of each topic and minute
    3  only alarms, commands and their results go

It goes down by one when the rate that was last seen on the level below would fit, or when that was so long ago that it
says nothing any more. Whatever the forecast: beyond ``RESERVED`` of the budget only level 3 is left, because alarms
shall go to the end. Nothing is ever refused for the budget's sake.

A clock that is not set says nothing of the calendar: what is used then counts for the newest period that is known.

Pure: takes the time, knows no clock.
"""

from __future__ import annotations

import re
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from gateway.config.types import SIZE_PATTERN, WrongValue, read_size

LEVELS: Final = 3

STEPS: Final = 200
"""A month in parts of three and a half hours, a day in parts of seven minutes: long enough for the quiet and the busy
moments of a plant, short enough to do something about it."""

WHOLE: Final = 86_400.0
"""Seconds that the rate is taken over: plants have days and nights. An eighth of a shorter period."""

HASTY: Final = 1.7
"""Until a whole day was seen on a level, the forecast must be so many budgets to go higher."""

STALE: Final = 20
"""Parts after which it is tried whether a lower level fits by now."""

COMFORT: Final = 0.95
"""Share of the budget that the forecast of a lower level must stay within: up and down must not follow each other."""

RESERVED: Final = 0.92
"""Share of the budget beyond which the rest is for alarms, commands and results."""

ALARM: Final = 0.8
"""Share of the budget that raises the alarm."""

EARLIEST: Final = 1_600_000_000.0
"""Wall clock times before this one come from a clock that was never set."""

BEHIND: Final = 86_400.0
"""Seconds that the clock may be behind what it has shown before; more, and it is not believed ..."""

BELIEVED: Final = 3600.0
"""... before the gateway has been up for so many seconds: until then it could have been set."""


class Allowance(NamedTuple):
    """``budget = "200MB/month"``."""

    bytes: int
    period: str


def parse(text: str) -> Allowance:
    """Raises ValueError with what it must be."""
    size, slash, period = text.partition("/")
    if not slash or period not in ("day", "week", "month") or not re.fullmatch(SIZE_PATTERN, size):
        raise ValueError('must be a size and a period, such as "200MB/month", "50MiB/week" or "5MB/day"')
    try:
        allowed = read_size(size)
    except WrongValue as wrong:
        raise ValueError(str(wrong)) from None
    if allowed < 100_000:
        raise ValueError("must be at least 100 kB: a connection alone costs some kilobytes")
    return Allowance(allowed, period)


def check(text: str) -> str | None:
    """Check of ``budget``."""
    try:
        parse(text)
    except ValueError as error:
        return str(error)
    return None


def begin_of(period: str, time: float) -> float:
    """The wall clock time at which the period around ``time`` has begun."""
    day = datetime.fromtimestamp(time, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "week":
        day -= timedelta(days=day.weekday())
    elif period == "month":
        day = day.replace(day=1)
    return day.timestamp()


def end_of(period: str, begin: float) -> float:
    """When the period that has begun at ``begin`` ends."""
    days = {"day": 1, "week": 7, "month": 31}[period]
    later = begin + days * 86_400.0
    return begin_of(period, later) if period == "month" else later


class Usage(NamedTuple):
    """What is kept over restarts: bytes in one period, the newest wall time seen, the level."""

    begin: float
    bytes: int
    seen: float
    level: int


class Budget:
    """See the module's docstring.

    known   what was kept of the periods, in any order
    uptime  seconds since the gateway has started; says when an odd clock is believed
    """

    __slots__ = ("allowance", "begin", "level", "seen", "_mark", "_of", "_part", "_parts", "_rates")

    def __init__(self, allowance: Allowance, known: list[Usage], time: float, uptime: float = 0.0) -> None:
        self.allowance = allowance
        self._of = {usage.begin: usage.bytes for usage in known}
        newest = max(known, key=lambda usage: usage.seen, default=None)
        self.seen = newest.seen if newest is not None else 0.0
        self.level = newest.level if newest is not None else 0
        self.begin = max(self._of, default=0.0)
        if newest is not None:
            self.begin = newest.begin
        self._mark: float | None = None
        self._part = 0
        self._parts: deque[float] = deque(maxlen=max(1, round(min(WHOLE / self._span(self.begin), STEPS / 8))))
        self._rates: dict[int, tuple[float, int]] = {}
        self._turn(time, uptime)

    @property
    def used(self) -> int:
        """Bytes in the period."""
        return self._of.get(self.begin, 0)

    @property
    def share(self) -> float:
        """Of the budget; more than 1 when it is used up."""
        return self.used / self.allowance.bytes

    @property
    def usage(self) -> Usage:
        """What to keep."""
        return Usage(self.begin, self.used, self.seen, self.level)

    @property
    def is_dated(self) -> bool:
        """Whether a period is known: the clock was right at least once."""
        return self.begin > 0

    def add(self, count: int, time: float, now: float, uptime: float) -> None:
        """``count`` bytes were used since the last call. ``time``: wall clock; ``now``: monotonic; ``uptime``: seconds
        since the start. Call it now and then also when there were none."""
        self._turn(time, uptime)
        self._of[self.begin] = self.used + count
        self._look(count, time, now)

    def forecast(self, time: float) -> int | None:
        """Bytes at the end of the period if it goes on like this; None before there is a rate to tell it by."""
        known = self._rates.get(self.level)
        if known is None or not self.is_dated:
            return None
        return self.used + int(known[0] * self._left(time))

    def _left(self, time: float) -> float:
        return max(0.0, end_of(self.allowance.period, self.begin) - max(time, self.begin))

    def _turn(self, time: float, uptime: float) -> None:
        """Into the period of the clock, if it can be believed."""
        if time < EARLIEST or (time < self.seen - BEHIND and uptime < BELIEVED):
            return
        self.seen = time
        begin = begin_of(self.allowance.period, time)
        if begin == self.begin:
            return
        undated = self._of.pop(0.0, 0)
        self.begin = begin
        self._of[begin] = self._of.get(begin, 0) + undated
        for old in sorted(self._of)[:-3]:
            del self._of[old]

    def _look(self, count: int, time: float, now: float) -> None:
        """Once in a part of the period: the rate, and whether the level is right."""
        if not self.is_dated:
            return
        if self._mark is None:
            self._mark = now
        self._part += count
        # What the last level was seen to cost is kept back for the rest of the period, if it is more than the reserve.
        kept = 1.1 * self._rates[LEVELS][0] * self._left(time) if LEVELS in self._rates else 0.0
        if self.used >= min(self.allowance.bytes * RESERVED, self.allowance.bytes - kept):
            self._go(LEVELS, now)
            return
        if now - self._mark < self._span(self.begin):
            return
        self._parts.append(self._part / (now - self._mark))
        self._mark, self._part = now, 0
        rates = {level: (rate, age + 1) for level, (rate, age) in self._rates.items() if age < STALE or level == LEVELS}
        rates[self.level] = sum(self._parts) / len(self._parts), 0
        self._rates = rates
        left = self._left(time)
        haste = 1.0 if len(self._parts) == self._parts.maxlen else HASTY
        if self.used + rates[self.level][0] * left > self.allowance.bytes * haste:
            self._go(min(self.level + 1, LEVELS), now)
        elif self.level and self._fits(self.level - 1, left):
            self._go(self.level - 1, now)

    def _span(self, begin: float) -> float:
        """Seconds of one part of the period."""
        return (end_of(self.allowance.period, begin) - begin) / STEPS

    def _fits(self, level: int, left: float) -> bool:
        known = self._rates.get(level)
        return known is None or self.used + known[0] * left <= self.allowance.bytes * COMFORT

    def _go(self, level: int, now: float) -> None:
        if level != self.level:
            self.level = level
            self._mark, self._part = now, 0
            self._parts.clear()
