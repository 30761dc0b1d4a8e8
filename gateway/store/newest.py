"""The newest rows of one topic: looked for backwards, among so many of the last rows.

On the disk are the rows that the cloud did not have when they were written, and those that the ring keeps; in memory
those that came just now. What the cloud had at once was never written, and is not found.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from gateway.outbound import Row
from gateway.store.db import Database
from gateway.store.outbox import Outbox
from gateway.store.outbox_table import look
from gateway.store.rooms import ROOMS

WINDOW: Final = 2000
"""Numbers that are looked through."""

MAX_BYTES: Final = 8 << 20


class NewestRows:
    """Looks into one outbox."""

    def __init__(self, outbox: Outbox, database: Database) -> None:
        self._outbox = outbox
        self._database = database

    def in_memory(self, topic: str, after: int) -> list[tuple[int, Row]]:
        """The rows of a topic behind the number ``after`` that are in memory, each with its class."""
        tail, last = self._outbox.reading.tail, self._outbox.last
        found = [
            (room, row)
            for room in range(len(ROOMS))
            for row in tail.read(room, after, last, WINDOW, MAX_BYTES).rows
            if row.topic == topic
        ]
        return sorted(found, key=lambda one: one[1].seq)

    async def of(self, topic: str, count: int) -> list[tuple[int, Row]]:
        """The newest rows of a topic among the last WINDOW, at most ``count``, the newest first."""
        after = max(0, self._outbox.last - WINDOW)
        read = partial(look, after=after, limit=WINDOW, max_bytes=MAX_BYTES)
        rows = {row.seq: (room, row) for room, row in await self._database.read(read) if row.topic == topic}
        rows |= {row.seq: (room, row) for room, row in self.in_memory(topic, after)}
        return [rows[seq] for seq in sorted(rows, reverse=True)[:count]]
