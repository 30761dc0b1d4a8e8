"""One queue or stream on the disk, as its machine sees it: what it decides goes into the transaction that gathers."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from gateway.broker.port import Done
from gateway.broker.queue_port import STALE, Entry, Got, Listener, NewEntry, Purged, check_text
from gateway.errors import GatewayError, Refused
from gateway.message import Properties
from gateway.store.asking import ask_until_answered
from gateway.store.db import ITEM_BYTES
from gateway.store.errors import StoreError
from gateway.store.queue_changes import Purge, QueueChanges, Transfer

if TYPE_CHECKING:
    from gateway.store.queues import QueueStore

LAZY: Final = 0.25
"""Seconds that a message nobody waits for, and what is settled, may wait for company: a crash repeats deliveries."""

BOOKKEEPING: Final = 1.0
"""Seconds that positions and claims may wait."""

READ_BYTES: Final = 256 << 10


class DiskShelf:
    """One queue of a ``QueueStore``. See ``queue_port.Shelf``.

    leaving  messages that go with a transaction that is not committed yet, and for how many reasons: a read may still
             find them
    """

    __slots__ = ("_is_log", "_store", "last", "leaving", "listener", "number")

    def __init__(self, store: QueueStore, number: int, last: int, is_log: bool) -> None:
        self._store = store
        self._is_log = is_log
        self.number = number
        self.last = last
        self.leaving: dict[int, int] = {}
        self.listener: Listener | None = None

    def append(self, new: NewEntry, done: Done | None, lazily: bool) -> None:
        check_text(new.topic, new.key)
        changes = self._store.join(max(new.size, ITEM_BYTES), LAZY if lazily else None)
        changes.rows.setdefault(self.number, []).append((new, done))

    def leave(self, offset: int) -> None:
        """A message goes with the transaction that gathers."""
        self.leaving[offset] = self.leaving.get(offset, 0) + 1

    def has_left(self, offset: int) -> None:
        """That transaction has come to its end. A dead letter may go twice: replayed, and settled before it was."""
        left = self.leaving.pop(offset, 1) - 1
        if left:
            self.leaving[offset] = left

    # Reading

    def read(self, after: int, limit: int, got: Got) -> None:
        self._ask(
            partial(self._store.table.read, queue=self.number, after=after, limit=limit, max_bytes=READ_BYTES), got
        )

    def fetch(self, offsets: list[int], got: Got) -> None:
        self._ask(partial(self._store.table.fetch, queue=self.number, offsets=offsets), got)

    def _ask(self, work: Callable[[sqlite3.Connection], list[Entry]], got: Got) -> None:
        def take(found: list[Entry]) -> None:
            got(self._staying(found))

        ask_until_answered(self._store.database, self._store.later, work, take)

    def _staying(self, found: list[Entry]) -> list[Entry]:
        leaving = self.leaving
        return [entry for entry in found if entry.offset not in leaving] if leaving else found

    async def look(self, after: int, limit: int) -> list[Entry]:
        """As ``read``, for whoever can be told that it failed. Raises what ``Database.read`` raises."""
        table = self._store.table
        work = partial(table.read, queue=self.number, after=after, limit=limit, max_bytes=READ_BYTES)
        return self._staying(await self._store.database.read(work))

    def find(self, time: float, got: Callable[[int], None]) -> None:
        work = partial(self._store.table.find, queue=self.number, last=self.last, time=time)
        ask_until_answered(self._store.database, self._store.later, work, got)

    # Groups

    def open_group(self, name: str, pattern: str, cursor: int) -> int:
        group = self._store.new_group()
        self._store.note().opened.append((group, self.number, name, pattern, cursor))
        return group

    def close_group(self, group: int) -> None:
        changes = self._store.note()
        self._store.drop_held(changes, group)
        changes.closed.add(group)
        self._trim(changes)

    def place(self, group: int, cursor: int, done: Done | None) -> None:
        self._store.note(BOOKKEEPING, done).cursors[group] = cursor

    def hold(self, group: int, offset: int, deliveries: int) -> None:
        self._store.hold(group, offset, deliveries)

    def settle(self, group: int, offset: int, gone: bool, done: Done | None) -> None:
        changes = self._store.note(LAZY, done)
        self._store.let_go(changes, group, offset)
        if gone:
            self._remove(changes, offset)

    def remove(self, offset: int) -> None:
        self._remove(self._store.note(), offset)

    def _remove(self, changes: QueueChanges, offset: int) -> None:
        changes.removed.setdefault(self.number, set()).add(offset)
        self.leave(offset)

    def seek(self, group: int, cursor: int) -> None:
        changes = self._store.note(0.0)
        self._store.drop_held(changes, group)
        changes.sought.add(group)
        changes.cursors[group] = cursor
        self._trim(changes)

    def _trim(self, changes: QueueChanges) -> None:
        if not self._is_log:
            changes.trims.add(self.number)

    # Messages that go elsewhere

    def bury(self, group: int, offset: int, gone: bool, to: DiskShelf, props: Properties, done: Done) -> None:
        self._transfer(Transfer(self.number, offset, group, gone, to.number, props, done))

    def take_back(self, offset: int, to: DiskShelf, done: Done) -> None:
        if offset in self.leaving:
            done(is_gone())
            return
        self._transfer(Transfer(self.number, offset, 0, True, to.number, None, done))

    def _transfer(self, transfer: Transfer) -> None:
        try:
            changes = self._store.join(ITEM_BYTES, None)
        except GatewayError as problem:
            transfer.done(problem)
            return
        changes.transfers.append(transfer)
        if transfer.gone:
            self.leave(transfer.offset)

    def sweep(self) -> None:
        self._store.note().sweeps.add(self.number)

    def purge(self, up_to: int, limit: int, told: Purged) -> None:
        try:
            changes = self._store.join(0, 0.0)
        except StoreError as error:
            told(0, error)
            return
        changes.purges.append(Purge(self.number, up_to, limit, told))


def is_gone() -> Refused:
    """The answer to whoever asks for a message that is not there any more."""
    return Refused("the message is gone", STALE)
