"""The starts of the gateway: their numbers, and how old something stored in one of them is.

A board without a battery starts in 1970 and jumps when a time server answers. So what is stored carries its
start's number and the seconds since then on the clock that never steps. In the current start the age is exact;
for an earlier one it comes from the wall clock, if that can be believed: a start with a clock that was not set
is taken to be as old as the next one that had the time, which is never too old.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final

from gateway.clock import EARLIEST, Clock
from gateway.store.sql import SQL

if TYPE_CHECKING:
    from gateway.store.db import Database

__all__ = ["EARLIEST", "KEEP", "Boots", "begin_boot"]

KEEP: Final = 1000
"""Starts remembered. A row of one that is forgotten is as old as the oldest remembered."""


class Boots:
    """This start's ``number``, and ages in seconds. Made by ``begin_boot``; used from both threads, never changed."""

    __slots__ = ("number", "_clock", "_now", "_started")

    def __init__(self, clock: Clock, number: int, now: float, started: dict[int, float]) -> None:
        self.number = number
        self._clock = clock
        self._now = now
        self._started = started

    @property
    def start(self) -> float:
        """This start on the monotonic clock."""
        return self._now

    def up(self) -> int:
        """Whole seconds since this start."""
        return int(self._clock.now() - self._now)

    def uptime(self) -> float:
        """Seconds since this start."""
        return self._clock.now() - self._now

    def age(self, boot: int, up: float) -> float | None:
        """Seconds since ``up`` seconds after start ``boot``; None when no clock can tell."""
        now = self._clock.now()
        since = self.since(boot, up, now, self._clock.time())
        return None if since is None else now - since

    def since(self, boot: int, up: float, now: float, time: float) -> float | None:
        """When ``up`` seconds after start ``boot`` was on the monotonic clock, perhaps before it began; None when no
        clock can tell. With one reading of both clocks, what was later in a start is later here too.

        A wall clock that was stepped forward in this start makes nothing older, see ``Clock.surely``.
        """
        if boot == self.number:
            return self._now + up
        time = min(time, self._clock.surely(now))
        started = self._started.get(boot, 0.0)
        at = started + up if started >= EARLIEST else self.next_known(boot)
        if time < EARLIEST or at is None:
            return None
        return now - max(0.0, time - at)

    def next_known(self, boot: int) -> float | None:
        """When the first start behind ``boot`` was of which that is known, on the wall clock."""
        later = (started for number, started in self._started.items() if number > boot and started >= EARLIEST)
        return next(later, None)


async def begin_boot(database: Database, clock: Clock, started: float | None = None) -> Boots:
    """Number this start. ``started``: the wall clock, if it says something else than ``clock``; 0 when nobody knows.

    Raises what ``Database.commit`` raises.
    """
    now = clock.now()
    if started is None:
        started = clock.time()

    def work(connection: sqlite3.Connection) -> tuple[int, dict[int, float]]:
        number = connection.execute(SQL["boot_insert"], {"started": started}).lastrowid
        assert number is not None
        connection.execute(SQL["boot_prune"], {"newest": number, "keep": KEEP})
        return number, dict(connection.execute(SQL["boot_all"]).fetchall())

    number, all_started = await database.commit(work)
    return Boots(clock, number, now, all_started)
