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
from collections.abc import Callable, Container, Iterator
from contextlib import suppress
from functools import partial
from typing import TypeVar

from gateway.broker.port import Done
from gateway.clock import Clock
from gateway.errors import Refused
from gateway.store.asking import Later
from gateway.store.batch import Batch
from gateway.store.boots import Boots
from gateway.store.db import Database
from gateway.store.errors import StoreError
from gateway.store.queue_bounds import Bounds
from gateway.store.queue_changes import Applied, LoadedQueue, QueueChanges
from gateway.store.queue_shelf import BOOKKEEPING, DiskShelf, is_gone
from gateway.store.queue_table import QueueTable

T = TypeVar("T")


class QueueStore:
    """All shelves. Built without I/O; use it after ``load``, until the database closes.

    later  how a read that failed is tried again; by default the loop's timer
    """

    def __init__(self, database: Database, clock: Clock, later: Later | None = None) -> None:
        self.database = database
        self.clock = clock
        self.later = later or _call_later
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

    async def settle(self) -> None:
        """Wait for a commit of all that was decided up to here. Raises what ``Database.commit`` raises."""
        await self.database.commit(lambda connection: None, size=0, within=0)

    async def oldest_ages(self) -> dict[str, float | None]:
        """Seconds since the oldest message of each queue was stored, by address; None for one that is empty, or when
        no clock can tell. Raises what ``Database.read`` raises."""
        return self.by_address(await self.database.read(self.read_ages()))

    def read_ages(self) -> Callable[[sqlite3.Connection], dict[int, float | None]]:
        """The question behind ``oldest_ages``, for ``Database.ask``."""
        return partial(self.table.oldest_ages, queues=[loaded.number for loaded in self._by_address.values()])

    def by_address(self, found: dict[int, T]) -> dict[str, T]:
        """What was found by the number of a queue."""
        return {address: found[loaded.number] for address, loaded in self._by_address.items()}

    def left_over(self, wanted: Container[str]) -> dict[str, LoadedQueue]:
        """What lies on the disk of queues that are not in the settings, by address."""
        return {address: loaded for address, loaded in self._by_address.items() if address not in wanted}

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
                for offset in changes.removed.get(queue, ()):
                    shelf.has_left(offset)
        self._arrive(changes)
        for rows in changes.rows.values():
            yield from (partial(done, None) for _, done in rows if done is not None)
        yield from (partial(done, None) for done in changes.dones)
        for transfer, found in zip(changes.transfers, applied.transferred, strict=True):
            yield partial(transfer.done, None if found else is_gone())
        for purge, count in zip(changes.purges, applied.purged, strict=True):
            yield partial(purge.told, count, None)
        for queue, result in applied.queues.items():
            listener = self.shelves[queue].listener if queue in self.shelves else None
            if listener is None:
                self._shrink_left_over(queue, [one for gone, _ in result.gone for one in gone])
                continue
            if result.entries:
                yield partial(listener.appended, result.entries)
            leaving, removed = self.shelves[queue].leaving, changes.removed.get(queue, ())
            for gone, reason in result.gone:
                # What a machine has let go already is not told twice.
                told = [one for one in gone if one[0] not in leaving and one[0] not in removed]
                yield partial(listener.evicted, told, reason)
            if result.more:
                following = self.note()
                following.sweeps.add(queue)
                following.trims |= changes.trims & {queue}

    def _shrink_left_over(self, number: int, gone: list[tuple[int, int]]) -> None:
        """A queue without a machine has nobody else who counts."""
        for address, loaded in self._by_address.items():
            if loaded.number == number:
                depth, size = loaded.depth - len(gone), loaded.bytes - sum(size for _, size in gone)
                self._by_address[address] = loaded._replace(depth=depth, bytes=size)
                return

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
            following.purges = changes.purges + following.purges
            following.sweeps |= changes.sweeps
            following.dones = changes.dones + following.dones
            return
        lost = [partial(done, error) for done in changes.dones]
        self._call(iter(lost + [partial(purge.told, 0, error) for purge in changes.purges]))

    def _arrive(self, changes: QueueChanges) -> None:
        """Transfers have come to their end, good or bad."""
        for transfer in changes.transfers:
            shelf = self.shelves.get(transfer.queue)
            if shelf is not None and transfer.gone:
                shelf.has_left(transfer.offset)

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


def _call_later(seconds: float, call: Callable[[], None]) -> object:
    return asyncio.get_running_loop().call_later(seconds, call)
