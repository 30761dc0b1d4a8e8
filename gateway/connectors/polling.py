"""When to poll: even ticks, each device at its own place in the period, several rates, and never a burst.

Devices with the same period would all ask in the same millisecond; the name of each gives it a phase. A poll that
could not start before the next one was due is skipped and counted, not made up for.

Pure: takes ``now`` (monotonic seconds), does not sleep and does not know what a poll is.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, floor
from typing import Final
from zlib import crc32

TOGETHER: Final = 0.002
"""Seconds within which two ticks are one: points of several rates are asked for together when their ticks meet."""


class Schedule:
    """The ticks of one rate. The first poll is due at once, the others on the device's ticks.

    period  seconds between two ticks
    next    when the next poll is due
    due     polls that should have begun by now
    done    polls that began and brought all their answers
    late    polls that were skipped because an earlier one took too long
    """

    __slots__ = ("period", "next", "due", "done", "late", "_phase", "_tick")

    def __init__(self, period: float, name: str, now: float, phase: float | None = None) -> None:
        self.period = period
        self.due = self.done = self.late = 0
        self._phase = _place(name) * period if phase is None else phase % period
        self.restart(now)

    def restart(self, now: float) -> None:
        """Make a poll due at once, as after a connection was made. The counts go on."""
        self.next = now
        # The tick after the first poll is at least half a period away from it.
        self._tick = ceil((now - self._phase) / self.period + 0.5) - 1

    def wait(self, now: float) -> float:
        """Seconds until the next poll is due; 0 when it is."""
        return max(0.0, self.next - now)

    def begin(self, now: float) -> None:
        """A poll begins. Counts those that were skipped, and sets ``next`` to the first tick that is not."""
        skipped = max(0, floor((now - self.next) / self.period))
        self._tick += skipped + 1
        self.next = self._phase + self._tick * self.period
        if self.next <= now:
            # The division was rounded down over a tick.
            skipped += 1
            self._tick += 1
            self.next = self._phase + self._tick * self.period
        self.due += skipped + 1
        self.late += skipped

    def finish(self) -> None:
        """The poll that began has brought all its answers."""
        self.done += 1


class Rates:
    """Several rates of one device: a ``Schedule`` for each, and the points that are read by it.

    The ticks of a slow rate are ticks of the fastest one where its period is a multiple of that: what is due
    together is asked for together. Devices are spread over the period of their fastest rate, and the slow polls of
    several devices over its ticks.

    name   name of the device, which gives it its phase
    polls  seconds between two polls, by point
    phase  seconds; None: from the name
    """

    def __init__(self, name: str, polls: Mapping[str, float], now: float, phase: float | None = None) -> None:
        self._points: dict[float, list[str]] = {}
        for point, poll in polls.items():
            self._points.setdefault(poll, []).append(point)
        fastest = min(self._points, default=1.0)
        base = _place(name) * fastest if phase is None else phase
        self._schedules = {}
        for period in sorted(self._points):
            step = 0 if phase is not None else floor(_place(f"{name} {period}") * floor(period / fastest))
            self._schedules[period] = Schedule(period, name, now, base + step * fastest)
        self._begun: list[Schedule] = []

    def restart(self, now: float) -> None:
        """Make a poll of everything due at once, as after a connection was made. The counts go on."""
        for schedule in self._schedules.values():
            schedule.restart(now)

    def wait(self, now: float) -> float:
        """Seconds until the next poll is due; 0 when it is. Without points: an hour."""
        return min((schedule.wait(now) for schedule in self._schedules.values()), default=3600.0)

    def begin(self, now: float) -> tuple[str, ...]:
        """A poll begins: the names of the points that are due, those of the fastest rate first."""
        self._begun = [each for each in self._schedules.values() if each.next <= now + TOGETHER]
        for schedule in self._begun:
            schedule.begin(max(now, schedule.next))
        return tuple(point for schedule in self._begun for point in self._points[schedule.period])

    def finish(self) -> None:
        """The poll that began has brought all its answers."""
        for schedule in self._begun:
            schedule.finish()
        self._begun = []

    @property
    def due(self) -> int:
        """Polls of all rates that should have begun by now."""
        return sum(schedule.due for schedule in self._schedules.values())

    @property
    def done(self) -> int:
        """Polls that brought all their answers."""
        return sum(schedule.done for schedule in self._schedules.values())

    @property
    def late(self) -> int:
        """Polls that were skipped because an earlier one took too long."""
        return sum(schedule.late for schedule in self._schedules.values())

    def status(self) -> dict[str, int]:
        """What ``due``, ``done`` and ``late`` say."""
        return {"due": self.due, "done": self.done, "late": self.late}


def _place(name: str) -> float:
    """A place in a period, 0 to 1. The same after every restart, and on every machine: hash() is neither."""
    return crc32(name.encode("utf-8", "surrogatepass")) / 2**32
