"""When to poll: even ticks, each device at its own place in the period, and never a burst.

Devices with the same period would all ask in the same millisecond; the name of each gives it a phase. A poll that
could not start before the next one was due is skipped and counted, not made up for.

Pure: takes ``now`` (monotonic seconds), does not sleep and does not know what a poll is.
"""

from __future__ import annotations

from math import ceil, floor
from zlib import crc32


class Schedule:
    """The ticks of one device. The first poll is due at once, the others on the device's ticks.

    period  seconds between two ticks
    next    when the next poll is due
    due     polls that should have begun by now
    done    polls that began and brought all their answers
    late    polls that were skipped because an earlier one took too long
    """

    __slots__ = ("period", "next", "due", "done", "late", "_phase", "_tick")

    def __init__(self, period: float, name: str, now: float) -> None:
        self.period = period
        self.due = self.done = self.late = 0
        # The same place after every restart, and on every machine: hash() is neither.
        self._phase = crc32(name.encode()) / 2**32 * period
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
