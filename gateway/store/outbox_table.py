"""The outbox as tables: appends, cursors, books, and what is read back.

Everything here runs on the database's thread, inside a transaction that somebody else begins and commits. One
``Changes`` holds all that one transaction does to the outbox, so rows, cursors, drops and books are always of
one moment, also after kill -9. Each step does bounded work: what is left over is done in the next transaction.

A transaction in which nothing must be written writes nothing: what its rows were is settled already, and the books
wait up to ``LAZY`` seconds for company. It knows no waiters, no loop, and no uplink beyond its name.
"""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple, cast

from gateway.outbound import Row
from gateway.store.accounts import (
    BOOKED,
    DELIVERED,
    PREFIX,
    PRODUCED,
    RECOUNT,
    THINNED,
    account,
    add,
    count_block,
    entry,
)
from gateway.store.block import Block
from gateway.store.boots import Boots
from gateway.store.drops import Drops, load_drops
from gateway.store.errors import StoreError
from gateway.store.making_room import DAMAGED, Lost, RoomMaker
from gateway.store.marks import first_mark, mark_of
from gateway.store.old_rows import convert
from gateway.store.recount import count_missing, rebase
from gateway.store.ring import Ring
from gateway.store.rooms import LAST, ROOMS, Room, key_range
from gateway.store.segment import MAX_ROWS, Packed, pack_columns, unpack
from gateway.store.sql import SQL
from gateway.store.tail import take

LAZY: Final = 60.0
"""Seconds that books of rows which were never written may wait: kill -9 forgets counts, no row."""

NOBODY: Final = ""
"""In the place of an uplink's name: where all were when the last one was removed from the settings."""


class Changes:
    """What one transaction does to the outbox.

    block    the rows; None when there are none
    must     there is something beside rows that must be written
    cursors  (acked, sent) by uplink
    tallies  added to the books
    floor    rows from here on are in memory, and are not dropped or thinned
    marks    by uplink, what its last ledger said
    """

    __slots__ = ("_is_counted", "block", "cursors", "drops", "floor", "marks", "must", "tallies")

    def __init__(self, cursors: dict[str, tuple[int, int]], tallies: dict[str, int]) -> None:
        self.block: Block | None = None
        self.must = False
        self.cursors = cursors
        self.floor = LAST
        self.drops = Drops()
        self.tallies = tallies
        self.marks: dict[str, str] = {}
        self._is_counted = False

    def count(self) -> None:
        """Count the rows into the books, once."""
        if self.block is None or self._is_counted:
            return
        self._is_counted = True
        add(self.tallies, "stored", self.block.count)
        count_block(self.block, self.tallies, self.drops)
        self.must = self.must or bool(self.drops.by)


class Waiting(NamedTuple):
    """What the table holds: bytes, rows, and when the oldest that some uplink needs was stored (``Boots.age``)."""

    bytes: int = 0
    rows: int = 0
    boot: int = 0
    up: int = 0


class Applied(NamedTuple):
    """What a transaction did.

    written  False when there was nothing that must be: rows, books and positions are still to be kept
    last     the newest number in the table
    lost     rows by reason that somebody will never get, and ``drops`` the same by uplink
    thinned  rows that became part of others
    more     there is more to delete
    """

    written: bool
    last: int = 0
    lost: Mapping[str, int] = MappingProxyType({})
    drops: Drops | None = None
    thinned: int = 0
    waiting: Waiting = Waiting()
    more: bool = False


class Loaded(NamedTuple):
    """The outbox at start. ``last``: the newest number that was given out, as far as it is known."""

    cursors: dict[str, tuple[int, int]]
    last: int
    drops: Drops
    tallies: dict[str, int]
    waiting: Waiting


class OutboxTable:
    """The tables ``outbox*`` and ``tally``, and the bounds of what they hold. ``rooms``: see ``making_room``.

    handed  rows up to here have been given to an uplink: what it has not acknowledged of them is on its way, and is
            not dropped; set from both threads, only upwards
    lazy    False: whatever there is must be written, the end is near
    stale   set by the loop when a commit has failed: what is remembered of the tables does not hold
    ring    what stays although it is acknowledged
    """

    def __init__(self, boots: Boots, rooms: Sequence[Room], ring_bytes: int = 0) -> None:
        self.boots = boots
        self.maker = RoomMaker(boots, rooms)
        self.ring = Ring(ring_bytes)
        self.maker.on_delete = self.ring.deleted
        self.handed: dict[str, int] = {}
        self.lazy = True
        self.stale = True
        self._written_at = boots.up()
        self._last = 0
        self._booked = 0
        self._postponed: dict[str, int] = {}  # books of transactions in which nothing had to be written

    @property
    def rooms(self) -> Sequence[Room]:
        """Bounds of the classes; may be changed."""
        return self.maker.rooms

    @rooms.setter
    def rooms(self, rooms: Sequence[Room]) -> None:
        self.maker.rooms = rooms

    def apply(self, connection: sqlite3.Connection, changes: Changes) -> Applied:
        """Do everything in ``changes``, then make room."""
        block = changes.block
        kept = block.kept if block is not None else 0
        up = self.boots.up()
        changes.count()
        if not kept and not changes.must and self.lazy and up - self._written_at < LAZY - 1:
            self._postpone(changes)
            return Applied(False)
        if self.stale:
            self._refresh(connection)
        for name, n in self._postponed.items():
            add(changes.tallies, name, n)  # from here on they share its fate
        self._postponed = {}
        if block is not None and kept:
            self._append(connection, block)
        for uplink, (acked, sent) in changes.cursors.items():
            connection.execute(SQL["cursor_update"], {"uplink": uplink, "acked": acked, "sent": sent})
        found = connection.execute(SQL["cursor_all"]).fetchall()
        cursors = {uplink: acked for uplink, acked, _ in found if uplink != NOBODY}
        changes.drops.save(connection)
        lost = self.maker.make_room(connection, cursors, self.handed, changes.floor)
        lost.drops.save(connection)
        more = self.ring.turn(connection, self.maker, self.rooms, min(cursors.values(), default=0), idle=not kept)
        self._book(connection, changes, lost)
        for uplink, text in changes.marks.items():
            connection.execute(SQL["mark_set"], {"uplink": uplink, "state": text})
        self._count_damaged(connection, cursors, lost)
        self._written_at = up
        return Applied(
            True, self._last, lost.reasons, lost.drops, lost.thinned, self._waiting(connection, cursors),
            more or lost.more,
        )  # fmt: skip

    def load(self, connection: sqlite3.Connection, uplinks: Collection[str], time: float = 0.0) -> Loaded:
        """Bring the cursors in line with the settings; ``time`` is the wall clock.

        A new uplink starts where the slowest one was, or at the oldest row if there was none: an uplink that got
        a new name goes on without a gap. The cursor of one that is gone holds no rows.
        """
        self._refresh(connection)
        known = {uplink: (acked, sent) for uplink, acked, sent in connection.execute(SQL["cursor_all"]).fetchall()}
        last = max(self._last, max((acked for acked, _ in known.values()), default=0))
        firsts = [first for _, first, _, _ in _firsts(connection, 0)]
        start = min(firsts) - 1 if firsts else last
        if known:
            start = max(start, min(acked for acked, _ in known.values()))
        if known and not uplinks:
            # While there is no uplink, somebody must remember how far they were.
            uplinks = (NOBODY,)
        for uplink in known.keys() - set(uplinks):
            connection.execute(SQL["cursor_delete"], {"uplink": uplink})
            connection.execute(SQL["drop_delete"], {"uplink": uplink})
            connection.execute(SQL["mark_delete"], {"uplink": uplink})
            for what in (PRODUCED, DELIVERED, THINNED):
                connection.execute(SQL["tally_delete"], {"name": entry(what, uplink)})
        for uplink in set(uplinks) - known.keys():
            connection.execute(SQL["cursor_insert"], {"uplink": uplink, "acked": start})
        cursors = {uplink: known.get(uplink, (start, start)) for uplink in uplinks if uplink != NOBODY}
        acked = {uplink: position[0] for uplink, position in cursors.items()}
        tallies: dict[str, int] = dict(connection.execute(SQL["tally_all"]).fetchall())
        self._check_accounts(connection, acked, tallies, known.keys() - {NOBODY}, time)
        self._begin_marks(connection, acked, last)
        tallies = {name: n for name, n in tallies.items() if not name.startswith(PREFIX)}
        return Loaded(cursors, last, load_drops(connection), tallies, self._waiting(connection, acked))

    def convert_old(self, connection: sqlite3.Connection) -> bool:
        """Move some rows of an older database into segments; whether there may be more."""
        return convert(connection)

    def _append(self, connection: sqlite3.Connection, block: Block) -> None:
        rooms = {head.room for head in block.heads}
        if block.kept == block.count <= MAX_ROWS and len(rooms) == 1:
            self.maker.add(connection, rooms.pop(), _pack_whole(block), block.boot, block.up, 0)
        else:
            room_of = [head.room for head in block.heads]
            kept = [index for index, payload in enumerate(block.payloads) if payload is not None]
            for room in sorted(rooms):
                indexes = [index for index in kept if room_of[block.places[index]] == room]
                for at in range(0, len(indexes), MAX_ROWS):
                    packed = _pack_some(block, indexes[at : at + MAX_ROWS])
                    self.maker.add(connection, room, packed, block.boot, block.up, 0)
        self._last = block.last

    def _postpone(self, changes: Changes) -> None:
        for name, n in changes.tallies.items():
            add(self._postponed, name, n)
        if changes.block is not None:
            self._booked = max(self._booked, changes.block.last)

    def _book(self, connection: sqlite3.Connection, changes: Changes, lost: Lost) -> None:
        books = dict(changes.tallies)
        for name, n in lost.books():
            add(books, name, n)
        if changes.block is not None:
            self._booked = max(self._booked, changes.block.last)
        for name, n in books.items():
            connection.execute(SQL["tally_add"], {"name": name, "n": n})
        connection.execute(SQL["tally_raise"], {"name": BOOKED, "n": self._booked})

    def _count_damaged(self, connection: sqlite3.Connection, cursors: dict[str, int], lost: Lost) -> None:
        if lost.damaged:
            since, until = min(one.since for one in lost.damaged), max(one.until for one in lost.damaged)
            for uplink, drop in count_missing(connection, cursors, DAMAGED, since, until).items():
                lost.drops.add(uplink, DAMAGED, drop)

    def _check_accounts(
        self,
        connection: sqlite3.Connection,
        acked: dict[str, int],
        tallies: dict[str, int],
        known: Collection[str],
        time: float,
    ) -> None:
        """Bring the accounts in line with what is there, where that is not known."""
        if acked and (known != acked.keys() or any(entry(PRODUCED, name) not in tallies for name in acked)):
            rebase(connection, acked)
            for name in acked:
                connection.execute(SQL["mark_delete"], {"uplink": name})
        elif acked and RECOUNT in tallies:
            count_missing(connection, acked, DAMAGED, time, time)
        connection.execute(SQL["tally_delete"], {"name": RECOUNT})

    def _begin_marks(self, connection: sqlite3.Connection, uplinks: Collection[str], last: int) -> None:
        """A start begins behind the row ``last``: what was not told of those before goes into each uplink's mark."""
        tallies: dict[str, int] = dict(connection.execute(SQL["tally_all"]).fetchall())
        drops = load_drops(connection)
        marks: dict[str, str] = dict(connection.execute(SQL["mark_all"]).fetchall())
        for name in uplinks:
            now = account(name, tallies, drops)
            if name in marks:
                mark = mark_of(marks[name]).next_boot(self.boots.number, last, now.produced)
            else:
                mark = first_mark(self.boots.number, last, now, {r: drop.n for r, drop in drops.of(name).items()})
            connection.execute(SQL["mark_set"], {"uplink": name, "state": mark.text()})

    def _refresh(self, connection: sqlite3.Connection) -> None:
        self._last = max(self._last, self.maker.load(connection))
        self.ring.forget()
        self.stale = False

    def _waiting(self, connection: sqlite3.Connection, cursors: dict[str, int]) -> Waiting:
        if not cursors:
            return Waiting()
        firsts = _firsts(connection, min(cursors.values()))
        if not firsts:
            return Waiting()
        _, _, boot, up = min(firsts, key=lambda one: one[1])
        return Waiting(self.maker.bytes - self.ring.bytes, self.maker.rows - self.ring.rows, boot, up)

    def read(self, connection: sqlite3.Connection, uplink: str, after: int, limit: int, max_bytes: int) -> list[Row]:
        """As ``OutboxReader.read``, of what is committed. What is damaged is left out, and dropped by the next
        transaction."""
        rows = look(connection, after, limit, max_bytes, self.maker.damaged)
        if rows:
            self.hand(uplink, rows[-1].seq)
        return rows

    def hand(self, uplink: str, seq: int) -> None:
        """Rows up to ``seq`` are given to an uplink."""
        self.handed[uplink] = max(self.handed.get(uplink, 0), seq)


def look(
    connection: sqlite3.Connection,
    after: int,
    limit: int,
    max_bytes: int,
    damaged: set[int],
    wants: Callable[[tuple[str, ...]], bool] | None = None,
) -> list[Row]:
    """Committed rows behind ``after``, see ``Columns.rows``: at most ``limit``, about ``max_bytes`` of payload. Keys of
    segments that cannot be read go into ``damaged``."""
    streams = [_stream(connection, room, after, damaged, wants) for room in range(len(ROOMS))]
    rows = take(heapq.merge(*streams, key=lambda row: row.seq), limit, max_bytes)
    for stream in streams:
        stream.close()
    return rows


def _stream(
    connection: sqlite3.Connection,
    room: int,
    after: int,
    damaged: set[int],
    wants: Callable[[tuple[str, ...]], bool] | None,
) -> Generator[Row, None, None]:
    cursor = connection.execute(SQL["segment_read"], key_range(room, after))
    try:
        for key, first, boot, data in cursor:
            try:
                columns = unpack(first, data)
            except StoreError:
                damaged.add(key)
                continue
            yield from columns.rows(boot, after, wants)
    finally:
        cursor.close()


def _pack_whole(block: Block) -> Packed:
    """All rows, none of which is settled."""
    payloads = cast(list[bytes], block.payloads)
    heads = [head.text for head in block.heads]
    return pack_columns(range(block.first, block.last + 1), block.times, block.places, heads, payloads, block.extras)


def _pack_some(block: Block, indexes: Sequence[int]) -> Packed:
    """Rows that are not settled, with no head but theirs."""
    known: dict[int, int] = {}
    places = [known.setdefault(block.places[index], len(known)) for index in indexes]
    payloads = [block.payloads[index] for index in indexes]
    return pack_columns(
        [block.first + index for index in indexes],
        [block.times[index] for index in indexes],
        places,
        [block.heads[place].text for place in known],
        [payload for payload in payloads if payload is not None],
        {at: block.extras[index] for at, index in enumerate(indexes) if index in block.extras},
    )


def _firsts(connection: sqlite3.Connection, after: int) -> list[tuple[int, int, int, int]]:
    """The oldest segment of each class behind a row: (key, first, boot, up)."""
    rows = [connection.execute(SQL["segment_first"], key_range(room, after)).fetchone() for room in range(len(ROOMS))]
    return [row for row in rows if row is not None]
