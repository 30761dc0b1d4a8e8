"""The ring: rows that every uplink has acknowledged stay on the disk while there is room, to be sent once more.

They go first when room is needed, the oldest first, and uncounted: they have arrived. A row that was acknowledged
before it was written was never here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Final

from gateway.ranges import Ranges
from gateway.store.making_room import NEAR, RoomMaker, Segment
from gateway.store.rooms import ROOMS, Room, key_of
from gateway.store.sql import SQL
from gateway.store.ways import Ways

TRIM_SEGMENTS: Final = 50
"""Acknowledged segments gather until so many go in one range delete: a delete for each doubles what is written."""

STEP: Final = 2000
"""Segments of a class deleted by one transaction at most."""

SLACK: Final = 16
"""The ring may be larger than it should by one part in so many, for the same reason."""


class Ring:
    """What is acknowledged, by class. ``max_bytes``: how much of it may stay; nothing does while ``is_low`` says that
    the disk is full. Used by the database's thread."""

    def __init__(self, max_bytes: int, is_low: Callable[[], bool] = lambda: False) -> None:
        self.max_bytes = max_bytes
        self._is_low = is_low
        self.forget()

    def forget(self) -> None:
        """What was counted does not hold: a transaction has failed."""
        self._edges = [key_of(room, 0) for room in range(len(ROOMS))]
        self._sizes = [0] * len(ROOMS)
        self._counts = [0] * len(ROOMS)

    @property
    def bytes(self) -> int:
        """Of all classes."""
        return sum(self._sizes)

    @property
    def rows(self) -> int:
        """Of all classes."""
        return sum(self._counts)

    def rows_of(self, room: int) -> int:
        """Of one class."""
        return self._counts[room]

    def turn(
        self, connection: sqlite3.Connection, maker: RoomMaker, rooms: Sequence[Room], ways: Ways, idle: bool
    ) -> bool:
        """Take in what has been acknowledged by all, and delete what there is no room for.

        Stretches behind a backlog count when that has gone, and go before it when room is needed. ``idle``: nothing
        else is written, so that little may be deleted too. Returns whether more must go.
        """
        more, is_low = False, self._is_low()
        limit = 0 if is_low else self.max_bytes
        for number, room in enumerate(rooms):
            done = ways.done(number)
            self._take_in(connection, number, done.prefix)
            near = int(NEAR * room.max_bytes) if room.thins else room.max_bytes
            pressing = min(self._sizes[number], maker.bytes_of(number) - near)
            if pressing > 0:
                more = self._shrink(connection, maker, number, pressing) or more
            if not limit or maker.bytes_of(number) > near:
                more = _clear(connection, maker, number, done, idle) or more
        excess = self.bytes - limit
        for number in sorted(range(len(rooms)), key=lambda one: self._sizes[one], reverse=True):
            if excess <= limit // SLACK:
                break
            before = self._sizes[number]
            at_least = 1 if idle or is_low or self.max_bytes else TRIM_SEGMENTS
            more = self._shrink(connection, maker, number, excess, at_least) or more
            excess -= before - self._sizes[number]
        return more

    def deleted(self, number: int, segments: Sequence[Segment]) -> None:
        """These are gone, for whatever reason."""
        for segment in segments:
            if segment.id <= self._edges[number]:
                self._sizes[number] -= segment.size
                self._counts[number] -= segment.n

    def _take_in(self, connection: sqlite3.Connection, number: int, acked: int) -> None:
        place = {"after": self._edges[number], "end": key_of(number, acked)}
        size, n, key = connection.execute(SQL["segment_sums"], place).fetchone()
        if key is not None:
            self._edges[number] = key
            self._sizes[number] += size
            self._counts[number] += n

    def _shrink(
        self, connection: sqlite3.Connection, maker: RoomMaker, number: int, size: int, at_least: int = 1
    ) -> bool:
        """Delete about ``size`` bytes of a class, if it is ``at_least`` so many segments."""
        going: list[Segment] = []
        for segment in maker.oldest(connection, number, STEP):
            if size <= 0 or segment.id > self._edges[number]:
                break
            going.append(segment)
            size -= segment.size
        if len(going) < at_least:
            return False
        maker.delete(connection, number, going)
        return len(going) == STEP and size > 0


def _clear(connection: sqlite3.Connection, maker: RoomMaker, number: int, done: Ranges, idle: bool) -> bool:
    """Delete the stretches behind the first, if they are long enough or nothing else happens."""
    more = False
    for after, upto in done:
        if after < done.prefix:
            continue
        found = maker.oldest(connection, number, STEP, key_of(number, after), upto)
        old = [segment for segment in found if segment.first > after]
        if old and (idle or len(old) >= TRIM_SEGMENTS):
            maker.delete(connection, number, old)
            more = more or len(found) == STEP
    return more
