"""Rows out of the outbox: from memory where they are there, else from the table, one class at a time.

Everything before the oldest row in memory is committed, so that a reader that has come so far goes on in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from gateway.outbound import Batch
from gateway.store.block import Block
from gateway.store.db import Database
from gateway.store.outbox_table import OutboxTable, Waiting
from gateway.store.position import Position
from gateway.store.reader import Reader
from gateway.store.rooms import ROOMS
from gateway.store.tail import Tail
from gateway.store.ways import Handed, forget_acknowledged, hand


class Reading:
    """See the module's docstring. ``newest``: tells the number of the newest row.

    handed   what was given out of memory, by uplink
    waiting  what the last commit said of the table
    """

    __slots__ = ("_database", "_newest", "_table", "handed", "stored_to", "tail", "waiting")

    def __init__(self, database: Database, newest: Callable[[], int]) -> None:
        self._database = database
        self._newest = newest
        self._table: OutboxTable | None = None
        self.tail = Tail()
        self.handed: Handed = {}
        self.stored_to = [0] * len(ROOMS)  # the newest number of each class in the table
        self.waiting = Waiting()

    @property
    def newest(self) -> int:
        """Number of the newest row."""
        return self._newest()

    def open(self, table: OutboxTable) -> None:
        """There is a table to read from."""
        self._table = table

    def learn(self, waiting: Waiting) -> None:
        """A commit has brought this."""
        self.waiting = waiting
        self.stored_to = [max(pair) for pair in zip(self.stored_to, waiting.newest, strict=True)]

    def has(self, room: int, after: int) -> bool:
        """As ``OutboxReader.has``."""
        return self.stored_to[room] > after or self.tail.has(room, after)

    async def read(self, uplink: str, room: int, after: int, upto: int, limit: int, max_bytes: int) -> Batch:
        """As ``OutboxReader.read``; for the readers."""
        table = self._table
        upto = min(upto, self._newest())
        while after < upto:
            first = self.tail.first
            if first is not None and after + 1 >= min(first, self.stored_to[room] + 1):
                batch = self.tail.read(room, after, upto, limit, max_bytes)
                if batch.rows:
                    hand(self.handed, uplink, room, after, batch.rows[-1].seq)
                return batch
            if table is None or (first is None and after >= self.stored_to[room]):
                return Batch([], upto)
            # All rows before ``first`` are committed; what is there of them comes before what is in memory.
            to = upto if first is None else min(upto, first - 1)
            select = partial(
                table.read, uplink=uplink, room=room, after=after, upto=to, limit=limit, max_bytes=max_bytes
            )
            batch = await self._database.read(select)
            if batch.rows or batch.reached >= upto:
                return batch
            after = batch.reached
        return Batch([], after)

    def snapshot(self, positions: dict[str, Position]) -> Handed:
        """What is on its way out of memory, for the thread of the database."""
        forget_acknowledged(self.handed, positions)
        return dict(self.handed)

    def is_taken(self, readers: Iterable[Reader], room: int, seq: int) -> bool:
        """Whether each of the readers has got a row of a block that is in memory."""
        for reader in readers:
            given = self.handed.get(reader.name)
            if seq not in reader.acked(room) and (given is None or seq not in given[room]):
                return False
        return True

    def forget(self, readers: Iterable[Reader]) -> None:
        """Forget what is in memory and nobody needs any more."""
        readers = tuple(readers)

        def is_done(block: Block) -> bool:
            before = block.first - 1
            return all(reader.acked(room).covers(before, last) for room, last in block.ends() for reader in readers)

        self.tail.forget(is_done)

    # What waits

    def newest_of(self, room: int) -> int:
        """No row of the class has a greater number."""
        return self._newest() if self.tail.has(room, 0) else self.stored_to[room]

    def depth(self, position: Position, after: int, upto: int) -> int:
        """As ``OutboxReader.depth``."""
        found = 0
        there = self.tail.kept
        for room, acked in enumerate(position.acked):
            end = min(upto, self.newest_of(room))
            open_rows = end - after - acked.count(after, end)
            found += max(0, min(open_rows, self.waiting.rows[room] + there))
        return min(found, sum(self.waiting.rows) + there)

    def cursor(self, position: Position) -> int:
        """As ``OutboxReader.cursor``."""
        open_rooms = [acked.prefix for room, acked in enumerate(position.acked) if self.newest_of(room) > acked.prefix]
        return min(open_rooms) if open_rooms else position.last
