"""An outbox that is a list: what an uplink reads in tests."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Iterable

from gateway.outbound import CLASSES, Batch, Row
from gateway.ranges import NOTHING, Ranges


class ListReader:
    """The contract of ``OutboxReader`` over a list; ``room`` tells the class of a row, telemetry if it is not given."""

    def __init__(
        self,
        rows: Iterable[Row] = (),
        cursor: int = 0,
        possibly_sent: int = 0,
        room: Callable[[Row], int] = lambda row: 0,
    ) -> None:
        self.rows = list(rows)
        self.dropped: list[tuple[int, str]] = []
        self.room = room
        self.has_acked = [NOTHING.add(0, cursor)] * len(CLASSES)
        self._possibly_sent = NOTHING.add(0, possibly_sent)
        self._newest = cursor
        self._last = [0] * len(CLASSES)
        self._looked_at = 0
        self._wake: Callable[[], None] | None = None

    async def read(self, room: int, after: int, upto: int, limit: int, max_bytes: int) -> Batch:
        await asyncio.sleep(0)
        found: list[Row] = []
        size = 0
        for candidate in self.rows[bisect_right(self.rows, after, key=lambda row: row.seq) :]:
            if after < candidate.seq <= upto and self.room(candidate) == room:
                if len(found) == limit or (found and size >= max_bytes):
                    return Batch(found, found[-1].seq)
                found.append(candidate)
                size += len(candidate.payload)
        return Batch(found, max(after, min(upto, self.newest)))

    def has(self, room: int, after: int) -> bool:
        return self._lasts()[room] > after

    def acknowledge(self, room: int, after: int, upto: int) -> None:
        assert not self.has_acked[room].covers(after, upto), "not for nothing"
        self.has_acked[room] = self.has_acked[room].add(after, upto)

    def drop(self, row: Row, reason: str) -> None:
        self.dropped.append((row.seq, reason))

    def acked(self, room: int) -> Ranges:
        return self.has_acked[room]

    def possibly_sent(self, room: int) -> Ranges:
        return self._possibly_sent

    def depth(self, after: int, upto: int) -> int:
        return sum(after < row.seq <= upto and row.seq not in self.has_acked[self.room(row)] for row in self.rows)

    @property
    def newest(self) -> int:
        return max(self._newest, *self._lasts())

    def _lasts(self) -> list[int]:
        """The newest row of each class; looked for only when rows have come."""
        for row in self.rows[self._looked_at :]:
            self._last[self.room(row)] = row.seq
        self._looked_at = len(self.rows)
        return self._last

    @property
    def cursor(self) -> int:
        waiting = [
            acked.prefix for acked, last in zip(self.has_acked, self._lasts(), strict=True) if last > acked.prefix
        ]
        return min(waiting) if waiting else self.newest

    def wake(self, callback: Callable[[], None]) -> None:
        assert self._wake is None, "registered once"
        self._wake = callback

    def add(self, *rows: Row) -> None:
        self.rows += rows
        if self._wake is not None:
            self._wake()
