"""Delayed messages on disk: appended before they are acknowledged, deleted when they are delivered or cancelled.

All that one transaction does to them is one ``Changes``. What could not be deleted because a transaction failed goes
with the next one; until then a crash would bring it back.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from functools import partial
from typing import Any, Final

from gateway.broker.delayed_port import Entry
from gateway.broker.port import Done
from gateway.errors import Refused
from gateway.message import Message
from gateway.store.batch import Batch, call_all
from gateway.store.boots import Boots
from gateway.store.db import Database
from gateway.store.errors import StoreError
from gateway.store.props import decode_props, encode_props
from gateway.store.sql import SQL

LINGER: Final = 0.25
"""Seconds that a message nobody waits for (QoS 0) may wait for others: fewer, larger commits wear a card less."""

DELETE_WITHIN: Final = 0.05
"""Seconds that a deletion may wait: the shorter, the fewer messages come again after kill -9."""

RETRY_WITHIN: Final = 1.0
"""Seconds until a deletion that could not be committed is tried again, if nothing else is written before."""


class Changes:
    """What one transaction does; ``dones`` are the waiters of ``added``, one each."""

    __slots__ = ("added", "dones", "removed")

    def __init__(self) -> None:
        self.added: list[Entry] = []
        self.dones: list[Done] = []
        self.removed: list[int] = []


class DelayedStore:
    """The table ``delayed``; implements ``broker.delayed_port.Shelf``. Made by ``load_delayed``."""

    def __init__(self, database: Database, boots: Boots) -> None:
        self._database = database
        self._boots = boots
        self._batch: Batch[Changes, None] = Batch(database, Changes, _apply, self._committed)

    @property
    def boot(self) -> int:
        """Number of this start."""
        return self._boots.number

    def up(self) -> float:
        """Seconds since this start, on the clock that never steps."""
        return self._boots.uptime()

    def age(self, boot: int, up: float) -> float | None:
        """Seconds since ``up`` seconds after start ``boot``; None when no clock can tell."""
        return self._boots.age(boot, up)

    def add(self, entry: Entry, done: Done, hurry: bool) -> None:
        """See ``Shelf.add``. Raises Refused (0x97) when the store is behind, StoreError when it is closed."""
        changes = self._batch.join(entry.size, None if hurry else LINGER)
        changes.added.append(entry)
        changes.dones.append(done)

    def remove(self, id: int) -> None:
        """See ``Shelf.remove``."""
        self._remove([id], DELETE_WITHIN)

    async def settle(self) -> None:
        """Wait for a commit of all that was added and removed up to here. Raises what ``Database.commit`` raises."""
        await self._database.commit(lambda connection: None, size=0, within=0)

    def _remove(self, ids: list[int], within: float) -> None:
        with suppress(StoreError):  # closed: they will come again
            self._batch.join(0, within).removed += ids

    def _committed(self, changes: Changes, result: None, error: BaseException | None) -> None:
        if error is not None and changes.removed:
            self._remove(changes.removed, RETRY_WITHIN)
        if isinstance(error, sqlite3.Error):
            # A full or failing disk: the publisher may try again, nothing is wrong with what it sent.
            error = Refused(f"the store cannot write: {error}", 0x97)
        call_all(partial(done, error) for done in changes.dones)


def _apply(connection: sqlite3.Connection, changes: Changes) -> None:
    connection.executemany(SQL["delayed_insert"], map(_row, changes.added))
    connection.executemany(SQL["delayed_delete"], [(id,) for id in changes.removed])


def _row(entry: Entry) -> tuple[Any, ...]:
    message = entry.message
    return (
        entry.id,
        entry.boot,
        entry.up,
        entry.delay,
        entry.moment,
        entry.life,
        message.qos,
        message.retain,
        message.hops,
        message.time,
        message.source,
        message.topic,
        encode_props(message.props),
        message.payload,
    )


def _entry(row: tuple[Any, ...]) -> Entry:
    id, boot, up, delay, moment, life, qos, retain, hops, time, source, topic, props, payload = row
    message = Message(topic, payload, qos, bool(retain), time, None, source, hops, decode_props(props))
    return Entry(id, boot, up, delay, moment, life, message)


async def load_delayed(database: Database, boots: Boots) -> tuple[DelayedStore, list[Entry], int]:
    """The table, what waits in it, and the newest number ever given. Raises what ``Database.read`` raises."""

    def work(connection: sqlite3.Connection) -> tuple[list[Entry], int]:
        entries = [_entry(row) for row in connection.execute(SQL["delayed_all"]).fetchall()]
        (last,) = connection.execute(SQL["delayed_last"]).fetchone()
        return entries, last

    entries, last = await database.read(work)
    return DelayedStore(database, boots), entries, last
