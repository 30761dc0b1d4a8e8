"""Two lanes to the cloud: what comes from now on is *live*, what was there when the connection began is the *backlog*.

Each lane is in order, class by class, the urgent ones first. The live lane goes first; the backlog has a share of the
window, and all but one of it while nothing is live. After a second outage a backlog is several stretches of the outbox
with acknowledged ones between. Of these there may be ``MOST_STRETCHES``; with more, what is live begins behind the last
one, so that no further one comes to be until some have become one.

Pure: no clock, no I/O.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from gateway.clock import Clock
from gateway.outbound import BY_URGENCY, CLASSES, LAST, Row
from gateway.ranges import Ranges, Span
from gateway.uplinks.mqtt.window import MAX_BYTES, Load, Run, Window
from gateway.uplinks.packing.filling import Filling

MOST_STRETCHES: Final = 8
"""Acknowledged stretches of a class that a connection may begin with and still send live rows first."""

IDLE: Final = 5.0
"""Seconds without a live row after which the backlog may have the whole window but one."""

RATE_SPAN: Final = 5.0
"""Seconds that a rate is counted over, at least."""


class Rate:
    """How many a second, from a count that is looked at now and then: over RATE_SPAN seconds at least."""

    __slots__ = ("_before", "_last")

    def __init__(self, now: float) -> None:
        self._before = self._last = (now, 0)

    def observe(self, count: int, now: float) -> None:
        """The count at this moment."""
        if now - self._last[0] >= RATE_SPAN:
            self._before, self._last = self._last, (now, count)

    def per_second(self, count: int, now: float) -> float:
        """The rate at this moment."""
        self.observe(count, now)
        since, before = self._before
        return (count - before) / max(now - since, 1.0)


class Allowance:
    """How many rows may go, when ``rate`` a second are allowed: a second's worth at once."""

    __slots__ = ("_left", "_rate", "_since")

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._left = max(1.0, rate)
        self._since = now

    def wait(self, now: float) -> float:
        """Seconds until the next row may go; 0 when it may go now."""
        self._left = min(max(1.0, self._rate), self._left + (now - self._since) * self._rate)
        self._since = now
        return 0.0 if self._left >= 1.0 else (1.0 - self._left) / self._rate

    def take(self, rows: int) -> None:
        """So many rows have gone; more than were allowed are owed."""
        self._left -= rows


class Lane:
    """Rows that go in order, class by class.

    is_backlog  the second lane
    runs        by class: what is to be read, the first one now
    queues      by class: rows of the first run that were read and are not in the window
    more        by class: whether there may be something to read
    fillings    by class: rows on their way into parcels; None: they go one by one
    load        what it has in the window
    rate        rows that were settled
    """

    __slots__ = ("fillings", "is_backlog", "load", "more", "queues", "rate", "runs")

    def __init__(self, spans: Iterable[list[Span]], is_backlog: bool, now: float) -> None:
        self.is_backlog = is_backlog
        self.fillings: list[Filling | None] = [None] * len(CLASSES)
        self.load = Load()
        self.rate = Rate(now)
        self.runs = [
            deque(Run(after, upto, room, self.load) for after, upto in gaps) for room, gaps in enumerate(spans)
        ]
        self.queues: list[deque[Row]] = [deque() for _ in CLASSES]
        self.more = [True] * len(CLASSES)

    def woken(self) -> None:
        """There may be more rows of any class."""
        for room, runs in enumerate(self.runs):
            self.more[room] = bool(runs)

    def next_room(self) -> int | None:
        """The class of the first row that waits in front of the window."""
        row_of = self._first
        return next((room for room in BY_URGENCY if row_of(room) is not None), None)

    def next_row(self) -> Row | None:
        """That row."""
        room = self.next_room()
        return None if room is None else self._first(room)

    def _first(self, room: int) -> Row | None:
        filling, queue = self.fillings[room], self.queues[room]
        row = filling.first if filling is not None else None
        return row if row is not None or not queue else queue[0]

    @property
    def is_gathering(self) -> bool:
        """All that waits in front of the window waits for others to share a parcel with."""
        held = [filling for filling in self.fillings if filling is not None and filling.first is not None]
        return bool(held) and not any(filling.ready for filling in held) and not any(self.queues)

    @property
    def is_at_rest(self) -> bool:
        """Nothing of it is under way, waits, or is to be read."""
        return not self.load.parcels and self.next_row() is None and not any(self.more)


def split(
    acked: Callable[[int], Ranges], window: Window, newest: int, in_order: bool, now: float
) -> tuple[Lane, Lane | None]:
    """The lanes of a connection that begins: live and backlog, or one that is both when rows go ``in_order``.

    ``acked``: what the cloud has of a class. What is in the window is sent again and in no lane.
    """
    taken = [acked(room) for room in range(len(CLASSES))]
    for run in window.runs():
        taken[run.room] = taken[run.room].add(run.cursor, run.order[-1].last)
    if in_order:
        return Lane([there.gaps(0, LAST) for there in taken], False, now), None
    begins = [newest if len(there.spans) <= MOST_STRETCHES else there.last for there in taken]
    live = Lane([there.gaps(after, LAST) for there, after in zip(taken, begins, strict=True)], False, now)
    backlog = Lane([there.gaps(0, upto) for there, upto in zip(taken, begins, strict=True)], True, now)
    return live, backlog


class Share:
    """What of the line the backlog may have. ``share``: a part of the window, while there is something live.
    ``rate``: rows a second; None: as many as there is room for."""

    __slots__ = ("_allowance", "_live_at", "_share")

    def __init__(self, share: float, rate: float | None, now: float) -> None:
        self._share = share
        self._live_at = float("-inf")  # nothing has come
        self._allowance = None if rate is None else Allowance(rate, now)

    def live(self, now: float) -> None:
        """A live row has come."""
        self._live_at = now

    def has_room(self, lane: Lane, limit: int, size: int, now: float) -> bool:
        """Whether the backlog may have one more parcel of ``size`` bytes in a window of ``limit`` parcels."""
        load = lane.load
        if not load.parcels:
            return True
        share = self._part(limit, now)
        return load.parcels < limit * share and load.bytes + size <= MAX_BYTES * share

    def free(self, lane: Lane, limit: int, now: float) -> int:
        """How many more parcels the backlog may have in a window of ``limit``, if they are small; 0: ask for each."""
        if self._allowance is not None:
            return 0
        return math.ceil(limit * self._part(limit, now)) - lane.load.parcels

    def _part(self, limit: int, now: float) -> float:
        if now - self._live_at < IDLE:
            return self._share
        # All but one: the first live row after a while goes at once.
        return max(self._share, (limit - 1) / limit)

    def wait(self, now: float) -> float:
        """Seconds until a row may go; 0 when one may go now."""
        return 0.0 if self._allowance is None else self._allowance.wait(now)

    def take(self, rows: int, now: float) -> float:
        """Let so many rows go; if they must wait, the seconds until they may be asked for again."""
        allowance = self._allowance
        if allowance is None:
            return 0.0
        rest = allowance.wait(now)
        if not rest:
            allowance.take(rows)
        return rest


def why_at_rest(lane: Lane, window: Window, share: Share, now: float) -> str:
    """Why nothing of a lane goes on a line that is up, or ``moving``."""
    if lane.is_at_rest:
        return "caught_up"
    if lane.is_gathering:
        return "gathering"
    row = lane.next_row()
    if row is not None:
        if not window.has_room(row.seq, len(row.payload)):
            return "window_full"
        if lane.is_backlog and not share.has_room(lane, window.limit, len(row.payload), now):
            return "share_full"
        if lane.is_backlog and share.wait(now):
            return "rate"
    return "moving"


def status_of(lane: Lane, window: Window, clock: Clock) -> dict[str, float | None]:
    """The age in seconds of the oldest row that waits or is under way, and rows a second."""
    slot = window.oldest(lane.load)
    row = slot.parcel.rows[0] if slot is not None and slot.parcel is not None else lane.next_row()
    return {
        "oldest_age": None if row is None else max(0.0, round(clock.time() - row.time, 3)),
        "rate": round(lane.rate.per_second(lane.load.settled, clock.now()), 1),
    }
