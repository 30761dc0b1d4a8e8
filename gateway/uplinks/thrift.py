"""What an uplink does to save bytes when its budget asks for it (``budget.py``). It touches telemetry only.

    1  telemetry goes in bursts, one in ``GATHER`` seconds: headers of TCP and TLS, and answers, are shared by many
    2  of each topic and minute only the last row goes, when the minute is over; in bursts too. Rows that expire are
       not held for it
    3  no telemetry goes; it stays in the outbox, which thins it when it fills

Where rows are packed into batches, a batch may wait ``WAIT_FACTORS[level]`` times as long.

What a row is judged by is the rows of its topic behind it, so that a row is only let go when a later one of its minute
is there to be sent instead: a crash in between loses nothing.

Pure: takes the time, knows no clock.
"""

from __future__ import annotations

from typing import Final

from gateway.outbound import Row

GATHER: Final = 10.0
"""Seconds between two bursts."""

BURST: Final = 1.0
"""Seconds that a burst lasts: what has gathered, and what comes meanwhile."""

MINUTE: Final = 60.0

WAIT_FACTORS: Final = (1, 5, 20, 20)
"""By level: how many times as long a batch may wait for more rows."""

AHEAD_ROWS: Final = 8192
"""Rows of telemetry to read ahead on level 2: only what has been read can take the place of an earlier row."""


class Thrift:
    """See the module's docstring. Set ``level`` when it changes."""

    __slots__ = ("level", "_last", "_open_until", "_opens_at")

    def __init__(self) -> None:
        self.level = 0
        self._last: dict[tuple[str, float], int] = {}
        self._opens_at = 0.0
        self._open_until = 0.0

    @property
    def thins(self) -> bool:
        """Whether to read far ahead, and to ``note`` each row."""
        return self.level == 2

    def note(self, row: Row) -> None:
        """A row of telemetry was read that is for this uplink."""
        if row.expires is None:
            key = row.topic, _minute(row)
            self._last[key] = max(row.seq, self._last.get(key, 0))

    def forget(self) -> None:
        """What was noted will be read again."""
        self._last.clear()

    def wait(self, row: Row, time: float, now: float, bursts: bool = True) -> float | None:
        """Seconds until the next row of telemetry may go, 0 for at once; None when it is not needed: a later one of its
        topic and minute is behind it. ``time`` is the wall clock, ``now`` the monotonic one. Without ``bursts``: rows
        are packed into batches, which wait instead.
        """
        if self.level >= 3:
            return MINUTE
        begin = _minute(row)
        if self.level == 2 and row.expires is None:
            last = self._last.get((row.topic, begin), row.seq)
            if last != row.seq:
                return None
            # After a step of the clock the minute of a row may be far ahead: it is not waited for.
            if begin <= time < begin + MINUTE:
                return begin + MINUTE - time
        if bursts and self.level and now >= self._open_until:
            if now < self._opens_at:
                return self._opens_at - now
            self._open_until, self._opens_at = now + BURST, now + GATHER
        return 0.0

    def gone(self, row: Row) -> None:
        """The row has left the queue, one way or the other."""
        key = row.topic, _minute(row)
        if self._last.get(key) == row.seq:
            del self._last[key]


def _minute(row: Row) -> float:
    return row.time // MINUTE * MINUTE
