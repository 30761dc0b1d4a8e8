"""Ids of messages on disk, in the transaction of the message that each belongs to."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Final, NamedTuple

from gateway.broker.port import Done
from gateway.clock import Clock
from gateway.store.batch import Batch, call_all
from gateway.store.boots import Boots
from gateway.store.db import ITEM_BYTES, Database
from gateway.store.errors import StoreError
from gateway.store.sql import SQL

DELETE_WITHIN: Final = 1.0
"""Seconds that a deletion may wait: an id that is too old harms nobody."""


class StoredId(NamedTuple):
    """An id from before this start; ``since`` is when its message came, on the monotonic clock."""

    number: int
    client: str
    id: str
    since: float


class _NewId(NamedTuple):
    number: int
    boot: int
    up: float
    client: str
    id: str


class Changes:
    """What one transaction does; ``added`` are ids by number with their waiters."""

    __slots__ = ("added", "removed")

    def __init__(self) -> None:
        self.added: dict[int, tuple[_NewId, Done]] = {}
        self.removed: list[int] = []


class DedupStore:
    """The table ``dedup``; implements ``mqtt.dedup.IdShelf``. Made by ``load_dedup``."""

    def __init__(self, database: Database, boots: Boots) -> None:
        self._boots = boots
        self._batch: Batch[Changes, None] = Batch(database, Changes, _apply, self._committed)

    def add(self, number: int, client: str, id: str, done: Done) -> None:
        """See ``IdShelf.add``. Raises Refused (0x97) when the store is behind, StoreError when it is closed."""
        changes = self._batch.join(ITEM_BYTES + len(client) + len(id))
        changes.added[number] = _NewId(number, self._boots.number, self._boots.uptime(), client, id), done

    def remove(self, number: int) -> None:
        """See ``IdShelf.remove``."""
        gathering = self._batch.gathering
        if gathering is None or gathering.added.pop(number, None) is None:
            self._remove([number])

    def _remove(self, numbers: list[int]) -> None:
        with suppress(StoreError):  # closed: they will be found too old, or too many
            self._batch.join(0, DELETE_WITHIN).removed += numbers

    def _committed(self, changes: Changes, result: None, error: BaseException | None) -> None:
        if error is not None and changes.removed:
            self._remove(changes.removed)
        call_all(partial(done, error) for _, done in changes.added.values())


def _apply(connection: sqlite3.Connection, changes: Changes) -> None:
    connection.executemany(SQL["dedup_delete"], [(number,) for number in changes.removed])
    connection.executemany(SQL["dedup_insert"], [row for row, _ in changes.added.values()])


async def load_dedup(database: Database, boots: Boots, clock: Clock) -> tuple[DedupStore, Iterator[StoredId]]:
    """The table, and the ids in it, oldest first. Raises what ``Database.read`` raises.

    Where no clock can tell the age of one, it is taken to have come at this start: remembered for too long rather than
    not long enough.
    """
    now = clock.now()

    def work(connection: sqlite3.Connection) -> list[_NewId]:
        return [_NewId(*row) for row in connection.execute(SQL["dedup_all"]).fetchall()]

    def stored(one: _NewId) -> StoredId:
        age = boots.age(one.boot, one.up)
        return StoredId(one.number, one.client, one.id, now - (boots.uptime() if age is None else age))

    return DedupStore(database, boots), map(stored, await database.read(work))
