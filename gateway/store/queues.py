"""Queues and streams on the disk: one shelf for each, all in one database and one ``Batch``.

A shelf takes what its machine decides and adds it to the transaction that gathers. What a consumer settles before that
transaction is written costs no row of its own: a claim that comes and goes in between is never written at all.

When a commit fails, new messages are given back to their publishers; positions, claims and settlements go with the next
transaction, and whoever waits for one of them waits on. A dead letter that could not be stored is the machine's to try
again.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, Final

from gateway.broker.port import Done
from gateway.broker.queue_port import Entry, Got, Listener, NewEntry
from gateway.clock import Clock
from gateway.errors import GatewayError, Refused
from gateway.message import Properties
from gateway.store.batch import Batch
from gateway.store.boots import Boots
from gateway.store.db import ITEM_BYTES, Database
from gateway.store.errors import StoreError
from gateway.store.queue_bounds import Bounds
from gateway.store.queue_table import Applied, LoadedQueue, QueueChanges, QueueTable, Transfer

LAZY: Final = 0.25
"""Seconds that a message nobody waits for, and what is settled, may wait for company: a crash repeats deliveries."""

BOOKKEEPING: Final = 1.0
"""Seconds that positions and claims may wait."""

READ_BYTES: Final = 256 << 10


class QueueStore:
    """All shelves. Built without I/O; use it after ``load``, until the database closes."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.database = database
        self.clock = clock
        self.shelves: dict[int, DiskShelf] = {}
        self._by_address: dict[str, LoadedQueue] = {}
        self._next_group = 1
        self._written: set[tuple[int, int]] = set()
        """What transactions handed over have as held: it must be deleted, and not only be left out."""
        self._last: QueueChanges | None = None
        self._batch: Batch[QueueChanges, Applied] = Batch(database, self._make, self._apply, self._committed)

    async def load(self, boots: Boots, wanted: dict[str, Bounds]) -> dict[str, LoadedQueue]:
        """Take up where the last stop left: what is on the disk by address, ``wanted`` or not.

        Raises what ``Database.commit`` raises.
        """
        self.table = QueueTable(boots, self.clock)
        self._by_address = await self.database.commit(partial(self.table.load, wanted=wanted))
        for loaded in self._by_address.values():
            for group in loaded.groups:
                self._next_group = max(self._next_group, group.number + 1)
                self._written.update((group.number, held.offset) for held in group.held)
        return self._by_address

    def shelf(self, address: str) -> DiskShelf:
        """The shelf of a queue that ``load`` has found. Raises KeyError for another."""
        loaded = self._by_address[address]
        shelf = self.shelves.get(loaded.number)
        if shelf is None:
            log = self.table.bounds[loaded.number].log
            shelf = self.shelves[loaded.number] = DiskShelf(self, loaded.number, loaded.last, log)
        return shelf

    async def forget(self, address: str) -> None:
        """Remove a queue that has no messages and is not in the settings. Raises what ``Database.commit`` raises."""
        await self.database.commit(partial(self.table.forget, queue=self._by_address.pop(address).number))

    def new_group(self) -> int:
        """A number for a group."""
        self._next_group += 1
        return self._next_group - 1

    # The transaction that gathers

    def _make(self) -> QueueChanges:
        last = self._last
        if last is not None:
            gone = {(transfer.group, transfer.offset) for transfer in last.transfers}
            self._written.update(key for key, n in last.held.items() if n is not None and key not in gone)
        self._last = QueueChanges()
        return self._last

    def _apply(self, connection: sqlite3.Connection, changes: QueueChanges) -> Applied:
        return self.table.apply(connection, changes)

    def join(self, size: int, within: float | None) -> QueueChanges:
        """As ``Batch.join``."""
        return self._batch.join(size, within)

    def note(self, within: float = BOOKKEEPING, done: Done | None = None) -> QueueChanges:
        """The changes that gather now, for what is never refused; ``done`` follows their commit, which then does not
        wait ``within`` seconds. When the database is closed they are lost: the next run repeats what they did.
        """
        try:
            changes = self._batch.join(0, within if done is None else None)
        except StoreError as error:
            if done is not None:
                done(error)
            return QueueChanges()
        if done is not None:
            changes.dones.append(done)
        return changes

    def hold(self, group: int, offset: int, deliveries: int) -> None:
        """See ``queue_port.Shelf``."""
        changes, key = self.note(), (group, offset)
        if key not in self._written and key not in changes.held:
            changes.fresh.add(key)
        changes.held[key] = deliveries

    def let_go(self, changes: QueueChanges, group: int, offset: int) -> None:
        """A group holds a message no more."""
        key = (group, offset)
        if key in changes.fresh:
            changes.fresh.discard(key)
            changes.held.pop(key, None)
        else:
            changes.held[key] = None
            self._written.discard(key)

    def drop_held(self, changes: QueueChanges, group: int) -> None:
        """A group holds nothing any more."""
        for key in [key for key in changes.held if key[0] == group]:
            del changes.held[key]
            changes.fresh.discard(key)
        self._written = {key for key in self._written if key[0] != group}

    # Answers

    def _committed(self, changes: QueueChanges, applied: Applied | None, error: BaseException | None) -> None:
        if isinstance(error, sqlite3.Error):
            # A full or failing disk: whoever asked may try again, nothing is wrong with what was sent.
            error = Refused(f"the store cannot write: {error}", 0x97)
        if applied is None:
            self._carry_over(changes, error)
            self._call(iter([partial(done, error) for done in _askers(changes)]))
        else:
            self._call(self._tell(changes, applied))

    def _tell(self, changes: QueueChanges, applied: Applied) -> Iterator[Callable[[], None]]:
        """Whom to call, in order: publishers, then consumers."""
        for queue, result in applied.queues.items():
            shelf = self.shelves.get(queue)
            if shelf is not None:
                shelf.last = max(shelf.last, result.last)
                shelf.leaving -= changes.removed.get(queue, set())
        self._arrive(changes)
        for rows in changes.rows.values():
            yield from (partial(done, None) for _, done in rows if done is not None)
        yield from (partial(done, None) for done in changes.dones)
        for transfer, found in zip(changes.transfers, applied.transferred, strict=True):
            yield partial(transfer.done, None if found else Refused("the message is gone", 0x83))
        for queue, result in applied.queues.items():
            listener = self.shelves[queue].listener if queue in self.shelves else None
            if listener is None:
                continue
            if result.entries:
                yield partial(listener.appended, result.entries)
            leaving = self.shelves[queue].leaving
            for gone, reason in result.gone:
                # What a machine has let go already is not told twice.
                yield partial(listener.evicted, [one for one in gone if one[0] not in leaving], reason)
            if result.more:
                following = self.note()
                following.sweeps.add(queue)
                following.trims |= changes.trims & {queue}

    def _carry_over(self, changes: QueueChanges, error: BaseException | None) -> None:
        """The commit failed: what machines have decided goes with the next one."""
        self._arrive(changes)
        with suppress(StoreError):  # closed: the next start delivers again
            following = self._batch.join(0, BOOKKEEPING)
            following.held = {**changes.held, **following.held}
            following.cursors = {**changes.cursors, **following.cursors}
            for queue, offsets in changes.removed.items():
                following.removed.setdefault(queue, set()).update(offsets)
            following.opened = changes.opened + following.opened
            following.closed |= changes.closed
            following.sought |= changes.sought
            following.trims |= changes.trims
            following.purges = {**changes.purges, **following.purges}
            following.sweeps |= changes.sweeps
            following.dones = changes.dones + following.dones
            return
        self._call(iter([partial(done, error) for done in changes.dones]))

    def _arrive(self, changes: QueueChanges) -> None:
        """Transfers have come to their end, good or bad."""
        for transfer in changes.transfers:
            shelf = self.shelves.get(transfer.queue)
            if shelf is not None and transfer.gone:
                shelf.leaving.discard(transfer.offset)

    def _call(self, calls: Iterator[Callable[[], None]]) -> None:
        try:
            for call in calls:
                call()
        except Exception:
            # A bug in one waiter is shown by the loop; the others still get their answer.
            asyncio.get_running_loop().call_soon(self._call, calls)
            raise


def _askers(changes: QueueChanges) -> list[Done]:
    """Who is told that nothing was stored."""
    found = [done for rows in changes.rows.values() for _, done in rows if done is not None]
    return found + [transfer.done for transfer in changes.transfers]


class DiskShelf:
    """One queue of a ``QueueStore``. See ``queue_port.Shelf``.

    leaving  messages that go with a transaction that is not committed yet: a read may still find them
    """

    __slots__ = ("_is_log", "_store", "last", "leaving", "listener", "number")

    def __init__(self, store: QueueStore, number: int, last: int, is_log: bool) -> None:
        self._store = store
        self._is_log = is_log
        self.number = number
        self.last = last
        self.leaving: set[int] = set()
        self.listener: Listener | None = None

    def append(self, new: NewEntry, done: Done | None, lazily: bool) -> None:
        _check_text(new.topic, new.key)
        changes = self._store.join(max(new.size, ITEM_BYTES), LAZY if lazily else None)
        changes.rows.setdefault(self.number, []).append((new, done))

    # Reading

    def read(self, after: int, limit: int, got: Got) -> None:
        self._ask(
            partial(self._store.table.read, queue=self.number, after=after, limit=limit, max_bytes=READ_BYTES), got
        )

    def fetch(self, offsets: list[int], got: Got) -> None:
        self._ask(partial(self._store.table.fetch, queue=self.number, offsets=offsets), got)

    def _ask(self, work: Callable[[sqlite3.Connection], list[Entry]], got: Got) -> None:
        def answer(found: Any, error: BaseException | None) -> None:
            if error is None:
                leaving = self.leaving
                got([entry for entry in found if entry.offset not in leaving] if leaving else found)
            elif not isinstance(error, StoreError):
                raise error

        with suppress(StoreError):  # closed: nobody waits any more
            self._store.database.ask(work, answer)

    def find(self, time: float, got: Callable[[int], None]) -> None:
        def answer(found: Any, error: BaseException | None) -> None:
            if error is not None:
                raise error
            got(found)

        work = partial(self._store.table.find, queue=self.number, last=self.last, time=time)
        with suppress(StoreError):
            self._store.database.ask(work, answer)

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
        self.leaving.add(offset)

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
        self._transfer(Transfer(self.number, offset, 0, True, to.number, None, done))

    def _transfer(self, transfer: Transfer) -> None:
        try:
            changes = self._store.join(ITEM_BYTES, None)
        except GatewayError as problem:
            transfer.done(problem)
            return
        changes.transfers.append(transfer)
        if transfer.gone:
            self.leaving.add(transfer.offset)

    def sweep(self) -> None:
        self._store.note().sweeps.add(self.number)

    def purge(self, limit: int, done: Done) -> None:
        self._store.note(0.0, done).purges[self.number] = limit


def _check_text(topic: str, key: str | None) -> None:
    """SQLite stores UTF-8; what a rule made may hold what is not, and must not spoil the transaction."""
    if topic.isascii() and (key is None or key.isascii()):
        return
    try:
        f"{topic}{key}".encode()
    except UnicodeEncodeError as error:
        raise Refused(f"{topic!r} is not UTF-8: {error}", 0x90) from None
