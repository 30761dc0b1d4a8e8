"""Store and forward: what matches an uplink's filters is kept here until that cloud has acknowledged it.

A message becomes a row, with its number, in the block that gathers (``intake.py``), and the uplinks may read it at
once. When every uplink that must have it has acknowledged it before the transaction goes to the disk, it is never
written, and its publisher is answered there and then: it is safe where it was going. Else it is written, and the
answer follows the commit. Rows leave when every uplink has acknowledged them, or when a bound says so
(``making_room.py``), counted.

All that the outbox does within one transaction is one ``Changes``, and thus one work of the database, however
many messages, acknowledgements and counts it holds.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from gateway.broker.port import Done, Subscriber
from gateway.clock import Clock
from gateway.errors import Refused
from gateway.message import Message
from gateway.metrics import Metrics
from gateway.outbound import TELEMETRY, OutboxReader
from gateway.store.accountant import Accountant
from gateway.store.accounts import Has, is_for
from gateway.store.answers import answer
from gateway.store.batch import Batch
from gateway.store.block import GRAIN, KIND_BITS, KIND_MASK, Block
from gateway.store.books import Books
from gateway.store.boots import Boots
from gateway.store.changes import Changes
from gateway.store.db import FULL_BYTES, FULL_ITEMS, Database
from gateway.store.errors import StoreError
from gateway.store.heirs import Heirs
from gateway.store.intake import AWAITED, Intake, Lane
from gateway.store.outbox_status import status_of
from gateway.store.outbox_table import LAZY, Applied, OutboxTable
from gateway.store.posts import Posts
from gateway.store.promptness import PATIENCE, Promptness
from gateway.store.reader import Reader
from gateway.store.reading import Reading
from gateway.store.ring import Ring
from gateway.store.rooms import Room
from gateway.store.roster import Roster
from gateway.store.routes import needs_of

LINGER: Final = 1.0
"""Seconds that a message nobody waits for (QoS 0) may wait for others: fewer, larger commits wear a card less."""

LEAVE_ROWS: Final = FULL_ITEMS // 4
LEAVE_BYTES: Final = FULL_BYTES // 4
"""So much may go over into the next transaction, which has room for more then."""

BOOKKEEPING: Final = 1.0
"""Seconds that cursors and counts may wait: losing them to kill -9 repeats rows, it does not lose any."""


class Outbox(Subscriber):
    """The outbox; a subscriber of the broker, with tuples of ``Route`` as options. Use it after ``load``, until the
    database closes; call ``finish`` before that.

    uplinks  names of the uplinks that will read
    rooms    bounds of each class, see ``rooms.py``
    linger   see LINGER
    ring_bytes  what acknowledged rows may take, see ``ring.py``
    elides   what is acknowledged before it is written is never written
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        uplinks: Collection[str],
        rooms: Sequence[Room],
        metrics: Metrics,
        *,
        linger: float = LINGER,
        ring_bytes: int = 0,
        elides: bool = True,
    ) -> None:
        self.rooms = rooms
        self._ring = Ring(ring_bytes, lambda: database.health.floor.low)
        self._elides = elides
        self._database = database
        self._clock = clock
        self._uplinks = tuple(uplinks)
        self._metrics = metrics
        self._linger = linger
        self._batch = Batch(database, self._make_changes, self._apply, self._committed, self._leave)
        self._intake = Intake(
            database, self._begin, self._announce, self._rouse, clock.time, lambda: clock.time() - clock.now(),
            lambda names: self.accounts.refuse(names, clock.time()),
        )  # fmt: skip
        self.reading = Reading(database, lambda: self._intake.block.last)
        self._roster = Roster(lambda name, position: Reader(name, self, self.reading, position, self.last))
        self._readers, self._bits, self._kept = self._roster.readers, self._roster.bits, self._roster.kept
        self._books = Books(lambda: self._join(LAZY).tallies, metrics)
        self._promptness = Promptness()
        self.posts = Posts(database, self._intake, lambda: self._bits, self._join)
        self.accounts = Accountant(lambda: self._batch.gathering, lambda: self._join(LAZY), self._books, metrics)

    async def load(self, boots: Boots) -> None:
        """Take up where the last stop left; ``boots`` is this start. Raises what ``Database.commit`` raises."""
        self._table = OutboxTable(boots, self.rooms, self._ring)
        self.reading.open(self._table)
        while await self._database.commit(partial(self._table.prepare, uplinks=self._uplinks), size=0, within=0):
            pass
        loaded = await self._database.commit(partial(self._table.load, uplinks=self._uplinks, time=self._clock.time()))
        self.accounts.drops = loaded.drops
        self._books.totals = loaded.tallies
        self._intake.block = Block(0, loaded.last + 1, boots.number, 0)
        self._roster.load(loaded.positions, loaded.rest, loaded.heirs)
        self.reading.learn(loaded.waiting)
        self.accounts.drops.keep_only(self._readers)
        self.bound(self.rooms)

    def change(
        self, uplinks: Collection[str], renamed: Mapping[str, str] = MappingProxyType({})
    ) -> asyncio.Future[None]:
        """Other uplinks from now on, see ``switch.py``; ``renamed`` gives the old name by the new one.

        Readers of uplinks that stay keep working; others must not be used any more. Topics must be asked for anew
        before anything else is delivered: ``Broker.forget``. The result is there when all is on the disk; await it
        before the next change. Raises StoreError when the database is closed.
        """
        changes = self._join(0)
        switch = self._roster.switch(uplinks, renamed, self.last)
        changes.must, changes.switch = True, switch
        self.accounts.drops.rename_all(switch.renamed)
        self.accounts.drops.keep_only(self._readers)
        return switch.done

    def bound(self, rooms: Sequence[Room]) -> None:
        """Other bounds of the classes."""
        self.rooms = self._table.rooms = rooms
        self.reading.tail.bound(rooms)
        self._intake.instant = [room.interval is not None for room in self.rooms]
        self._intake.lingers = [self._linger if room.interval is None else room.interval for room in self.rooms]
        self._intake.largest = [room.max_bytes for room in self.rooms]

    def finish(self) -> None:
        """The end is near: whatever there is goes into the next commit."""
        self._table.lazy = False
        with suppress(StoreError):
            self._join()

    # Messages in

    def merge(self, options: Sequence[Any], topic: str) -> Lane:
        """The way in for one topic. ``options``: for each matching filter the routes that it stands for; a topic
        without any is telemetry for every uplink."""
        routes = [routes for routes in options if routes]
        room, names = needs_of(routes) if routes else (TELEMETRY, tuple(self._readers))
        return Lane(self._intake, topic, room, [(self._bits[name], name) for name in names if name in self._bits])

    def deliver(self, message: Message, done: Done | None) -> bool:
        """Keep one message for every uplink; see ``Lane.deliver``."""
        return self.merge((), message.topic).deliver(message, done)

    def admit(self, messages: Sequence[Message]) -> Refused | None:
        """See ``Lane.admit``."""
        for message in messages:
            refused = self.merge((), message.topic).admit((message,))
            if refused is not None:
                return refused
        return None

    def book(self, name: str, n: int = 1) -> None:
        """Add to one of the books, in the same commit as whatever else this turn of the loop stores.

        Raises StoreError when the database is closed.
        """
        self._books.book(name, n)

    async def tallies(self) -> dict[str, int]:
        """The books: ``stored``, ``dropped:<reason>``, ``outbox_thinned`` and what was booked. The table has them as
        they were at most ``LAZY`` seconds ago."""
        books = dict(self._books.totals)
        books["stored"] = books.get("stored", 0) + self.reading.tail.pending
        return books

    @property
    def last(self) -> int:
        """The newest number that was given out."""
        return self._intake.block.last

    # The transaction that gathers

    def _make_changes(self) -> Changes:
        return Changes({})

    def _apply(self, connection: sqlite3.Connection, changes: Changes) -> Applied:
        before = self._table.maker.moved
        applied = self._table.apply(connection, changes)
        self._database.checkpoints.expect(self._table.maker.moved - before)
        return applied

    def _join(self, within: float = BOOKKEEPING) -> Changes:
        return self._batch.join(0, within, 0)

    def _begin(self, size: int, within: float, room: int) -> Block:
        changes = self._batch.join(size, self._within(within))
        first = self._intake.block.last + 1
        boots = self._table.boots
        block = changes.block = Block(self._database.transaction, first, boots.number, boots.up())
        self.reading.tail.append(block)
        now = self._clock.now()
        block.stamps.append((0, now))
        self._promptness.arrived(first, room, now)
        return block

    def _leave(self, changes: Changes, may_leave: bool) -> Callable[[], None] | None:
        """Rows that came so late that the cloud may yet have them in time go with the next transaction.

        Not when they are so many that they would fill it.
        """
        changes.floor = self.reading.tail.floor(self._table.boots.up())
        changes.positions = {name: reader.position for name, reader in self._readers.items()}
        changes.handed = self.reading.snapshot(changes.positions)
        block = changes.block
        if (
            not may_leave
            or changes.marks  # a ledger and what it said are written together
            or changes.switch is not None  # so are rows for uplinks of before
            or block is None
            or not 0 < block.kept <= LEAVE_ROWS
            or block.bytes > LEAVE_BYTES
            or not self._table.lazy
        ):
            return None
        patience = PATIENCE if self._promptness.is_prompt else 0.0
        rest = block.rest(self._clock.now(), patience, self._intake.lingers)
        if rest <= GRAIN:
            return None
        following = block.split(block.unsettled)
        # A position says nothing of rows that are not written with it.
        changes.positions = {name: at.upto(block.last) for name, at in changes.positions.items()}
        return partial(self._go_on, following, rest)

    def _go_on(self, block: Block, rest: float) -> None:
        self._batch.join(0, rest, block.kept).block = block
        block.transaction = self._database.transaction
        self.reading.tail.append(block)
        self._intake.resume(block, rest)

    def _announce(self, rows: int, size: int, within: float) -> None:
        self._batch.join(size, self._within(within), rows)

    def _within(self, within: float) -> float | None:
        if within == AWAITED and self._promptness.is_prompt:
            return PATIENCE
        return within if within >= 0 else None

    def _rouse(self) -> None:
        self._intake.block.stamp(self._clock.now())
        asyncio.get_running_loop().call_soon(self._wake_readers)

    def _wake_readers(self) -> None:
        self._intake.is_roused = False
        for reader in self._readers.values():
            if reader.on_rows is not None:
                reader.on_rows()

    def _committed(self, changes: Changes, applied: Applied | None, error: BaseException | None) -> None:
        block = changes.block
        waiters: list[Done] = []
        if applied is None:
            self._table.stale = True
            if isinstance(error, sqlite3.Error):
                # A full or failing disk: the publisher may try again, nothing is wrong with what it sent.
                error = Refused(f"the store cannot write: {error}", 0x97)
            waiters = self._carry_over(changes)
        else:
            if block is not None:
                self._books.note("stored", block.count)
                waiters = [done for done in block.dones if done is not None]
            if changes.switch is not None and not changes.switch.done.done():
                changes.switch.done.set_result(None)
            if applied.written:
                self._take_in(applied, changes)
            else:
                self._put_off(changes)
        if block is not None:
            self.reading.tail.written(block)
            if block.is_held:
                self._wake_readers()
        self.reading.forget(self._readers.values())
        answer(iter(waiters), error)

    def _take_in(self, applied: Applied, changes: Changes) -> None:
        self.reading.learn(applied.waiting)
        for name, position in changes.positions.items():
            if name in self._kept:
                self._kept[name] = position
        if applied.drops is not None:
            self.accounts.drops.merge(applied.drops)
        for reason, n in applied.lost.items():
            self._metrics.drop(reason, n)
            self._books.note(f"dropped:{reason}", n)
        if applied.thinned:
            self._metrics.count("outbox_thinned", applied.thinned)
            self._books.note("outbox_thinned", applied.thinned)
        if applied.more:
            with suppress(StoreError):  # closed: the next start goes on with it
                self._join().must = True

    def _put_off(self, changes: Changes) -> None:
        """Nothing had to be written: the counts wait for something that must, with the table."""
        if changes.tallies:
            with suppress(StoreError):  # closed: nothing can be kept any more
                self._join(LAZY)

    def _carry_over(self, changes: Changes) -> list[Done]:
        """The commit failed: counts and positions go with the next, rows to their publishers, who are returned."""
        changes.count()
        waiters = self._give_back(changes, changes.block) if changes.block is not None else []
        self._books.put_off(changes.tallies)
        with suppress(StoreError):  # closed: nothing can be kept any more
            following = self._join()
            following.must = True
            following.drops.merge(changes.drops)
            following.switch = changes.switch
        return waiters

    def _give_back(self, changes: Changes, block: Block) -> list[Done]:
        """Take the rows of a failed commit out; their waiters."""

        def has(name: str, room: int, seq: int) -> Has:
            return self.reading.state(self._readers.get(self.heirs.get(name) or ""), room, seq)

        return self.accounts.give_back(changes, block, self._bits, has)

    # Rows out

    def reader(self, uplink: str) -> OutboxReader:
        """The view of one uplink. Raises KeyError when the settings do not name it."""
        return self._readers[uplink]

    def keep(self, uplink: str, room: int, after: int, upto: int, is_acked: bool) -> None:
        """Rows between were acknowledged, or will be sent: store it with the next commit, if it says something of rows
        on the disk; for the readers."""
        kept = self._kept.get(uplink)
        if kept is None:
            return
        known = kept.acked[room] if is_acked else kept.sent[room]
        if not known.covers(after, min(upto, self.reading.stored_to[room])):
            with suppress(StoreError):  # closed: the rows will be sent again
                self._join().must = True

    def settle(self, room: int) -> None:
        """Answer what was acknowledged before it was written; for the readers."""
        readers = self._readers.values()
        followed = self._promptness.followed
        if followed is not None and followed[1] == room:
            seq = followed[0]
            if all(seq in reader.acked(room) for reader in readers):
                self._promptness.acknowledged(self._clock.now())
        self.reading.forget(readers)
        changes = self._batch.gathering
        block = changes.block if changes is not None else None
        if block is None or not block.rooms >> room & 1 or not self._elides:
            return
        before = block.first - 1
        reaches = [(self._bits[reader.name], reader.acked(room).reach(before)) for reader in readers]
        waiters: list[Done] = []
        for kind in block.kinds:
            if kind & KIND_MASK == room:
                need = kind >> KIND_BITS
                reached = min((reach for bit, reach in reaches if bit & need), default=before)
                if reached > before:
                    waiters += block.settle(kind, reached)
        answer(iter(waiters), None)

    def takes_over(self, uplink: str, names: tuple[str, ...]) -> bool:
        """See ``accounts.is_for``; for the readers."""
        return is_for(uplink, names, self.heirs)

    @property
    def heirs(self) -> Heirs:
        """Who gets the rows of which name."""
        return self._roster.heirs

    @property
    def uplinks(self) -> Collection[str]:
        """Names of those in the settings."""
        return self._readers.keys()

    def in_ring(self, room: int) -> int:
        """Rows of a class that every uplink has, and that are still there."""
        return self._table.ring.rows_of(room)

    def status(self) -> dict[str, Any]:
        """Rows that wait, their bytes on the disk, the age of the oldest there in seconds (None: unknown or none), and
        each uplink."""
        return status_of(self._readers, self.reading, self.accounts.drops, self._table.boots)
