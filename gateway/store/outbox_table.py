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
from bisect import bisect_right
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from itertools import accumulate, islice
from types import MappingProxyType
from typing import Final, NamedTuple, cast

from gateway.outbound import LAST, Batch, Row
from gateway.ranges import NOTHING, Ranges
from gateway.store.block import Block
from gateway.store.boots import Boots
from gateway.store.changes import Changes
from gateway.store.drops import Drops, load_drops
from gateway.store.errors import StoreError
from gateway.store.handover import Handover
from gateway.store.heirs import Heirs, heirs_at_start
from gateway.store.making_room import RoomMaker
from gateway.store.old_rows import convert
from gateway.store.position import (
    NOBODY,
    Position,
    in_common,
    insert_position,
    load_positions,
    position_at,
    save_position,
)
from gateway.store.ring import Ring
from gateway.store.rooms import ROOMS, Room, key_range
from gateway.store.segment import MAX_ROWS, Columns, Packed, pack_columns, unpack
from gateway.store.sql import SQL
from gateway.store.switch import REMOVED
from gateway.store.table_books import TableBooks, load_books
from gateway.store.uplink_rows import forget_uplink
from gateway.store.ways import Handed, Ways, forget_acknowledged, hand

LAZY: Final = 60.0
"""Seconds that books of rows which were never written may wait: kill -9 forgets counts, no row."""


class Waiting(NamedTuple):
    """What the table holds: bytes, rows of each class and the newest number of each, and when the oldest that some
    uplink needs was stored (``Boots.age``)."""

    bytes: int = 0
    rows: tuple[int, ...] = (0,) * len(ROOMS)
    newest: tuple[int, ...] = (0,) * len(ROOMS)
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
    """The outbox at start. ``last``: the newest number that was given out, as far as it is known; ``rest``: where an
    uplink begins that comes while there is none; ``heirs``: see ``heirs.py``."""

    positions: dict[str, Position]
    last: int
    drops: Drops
    tallies: dict[str, int]
    waiting: Waiting
    rest: Position
    heirs: Heirs


class OutboxTable:
    """The tables ``outbox*`` and ``tally``, and the bounds of what they hold. ``rooms``: see ``making_room``.

    lazy    False: whatever there is must be written, the end is near
    stale   set by the loop when a commit has failed: what is remembered of the tables does not hold
    ring    what stays although it is acknowledged
    """

    def __init__(self, boots: Boots, rooms: Sequence[Room], ring: Ring) -> None:
        self.boots = boots
        self.maker = RoomMaker(boots, rooms)
        self.ring = ring
        self.maker.on_delete = self.ring.deleted
        self._handed: Handed = {}
        self._known: dict[str, Position] = {}
        self._handover: Handover | None = None
        self._heirs: Heirs = {}
        self._unpacked: dict[str, tuple[int, bytes, Columns]] = {}
        self.lazy = True
        self.stale = True
        self._written_at = boots.up()
        self._last = 0
        self._books = TableBooks()

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
            self._books.postpone(changes)
            return Applied(False)
        if self.stale:
            self._refresh(connection)
        self._books.take_up(changes)
        if block is not None and kept:
            self._append(connection, block)
        switch = changes.switch
        if switch is not None:
            switch.move(connection, changes.tallies, changes.drops)
            self._known.clear()
            self.ring.forget()
            self._heirs = switch.heirs
        for uplink, position in changes.positions.items():
            save_position(connection, uplink, position, self._known.get(uplink))
            self._known[uplink] = position
        changes.drops.save(connection)
        forget_acknowledged(self._handed, changes.positions)
        ways = Ways(changes.positions, self._handed, changes.handed, heirs=self._heirs)
        more = self.ring.turn(connection, self.maker, self.rooms, ways, idle=not kept)
        lost = self.maker.make_room(connection, ways, changes.floor)
        lost.drops.save(connection)
        self._books.write(connection, changes, lost)
        if switch is not None:
            given_up = switch.settle(connection, self.boots.number)
            if given_up:
                lost.reasons[REMOVED] = given_up
        self._written_at = up
        return Applied(
            True, self._last, lost.reasons, lost.drops, lost.thinned, self._waiting(connection, changes.positions),
            more or lost.more,
        )  # fmt: skip

    def load(self, connection: sqlite3.Connection, uplinks: Collection[str], time: float = 0.0) -> Loaded:
        """Bring the cursors in line with the settings; ``time`` is the wall clock.

        A new uplink starts where the slowest one was, or at the oldest row if there was none: an uplink that got
        a new name goes on without a gap. The cursor of one that is gone holds no rows.
        """
        self._refresh(connection)
        known = load_positions(connection)
        last = max(self._last, max((position.last for position in known.values()), default=0))
        start = in_common(known.values())
        if start is None:
            firsts = [first for _, first, _, _ in _firsts(connection, [0] * len(ROOMS))]
            start = position_at(min(firsts) - 1 if firsts else last)
        if known and not uplinks:
            # While there is no uplink, somebody must remember how far they were.
            uplinks = (NOBODY,)
        for uplink in known.keys() - set(uplinks):
            connection.execute(SQL["cursor_delete"], {"uplink": uplink})
            forget_uplink(connection, uplink)
        for uplink in uplinks:
            insert_position(connection, uplink, known.get(uplink, start))
        self._heirs = heirs_at_start(connection, [name for name in uplinks if name != NOBODY], last)
        positions = {uplink: known.get(uplink, start) for uplink in uplinks if uplink != NOBODY}
        tallies = load_books(connection, positions, known.keys() - {NOBODY}, self.boots.number, last, time)
        waiting = self._waiting(connection, positions)
        return Loaded(positions, last, load_drops(connection), tallies, waiting, start, self._heirs)

    def prepare(self, connection: sqlite3.Connection, uplinks: Collection[str]) -> bool:
        """Before ``load``, some rows in each transaction: move those of an older database into segments, and give those
        their new name whose name an uplink of the settings wants. Whether there may be more."""
        if convert(connection):
            return True
        if self._handover is None:
            self._handover = Handover(uplinks)
        return self._handover.step(connection)

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

    def _refresh(self, connection: sqlite3.Connection) -> None:
        self._last = max(self._last, self.maker.load(connection))
        self._known.clear()
        self.ring.forget()
        self.stale = False

    def _waiting(self, connection: sqlite3.Connection, positions: Mapping[str, Position]) -> Waiting:
        maker, rooms = self.maker, range(len(ROOMS))
        rows = tuple([maker.rows_of(room) - self.ring.rows_of(room) for room in rooms])
        newest = tuple(maker.newest)
        slowest = [min((at.acked[room].prefix for at in positions.values()), default=LAST) for room in rooms]
        firsts = _firsts(connection, slowest)
        if not firsts:
            return Waiting(0, rows, newest)
        _, _, boot, up = min(firsts, key=lambda one: one[1])
        return Waiting(maker.bytes - self.ring.bytes, rows, newest, boot, up)

    def read(
        self, connection: sqlite3.Connection, uplink: str, room: int, after: int, upto: int, limit: int, max_bytes: int
    ) -> Batch:
        """As ``OutboxReader.read``, of what is committed. What is damaged is left out, and dropped by the next
        transaction."""
        rows: list[Row] = []
        reached = upto
        cursor = connection.execute(SQL["segment_read"], key_range(room, after))
        for key, first, boot, data in cursor:
            if first > upto:
                break
            columns = self._columns(uplink, key, first, data)
            if columns is None:
                continue
            seqs = columns.seqs
            start, end = bisect_right(seqs, after), bisect_right(seqs, upto)
            stop = min(end, start + limit - len(rows))
            sizes = list(accumulate(map(len, columns.payloads[start:stop])))
            if sizes and sizes[-1] > max_bytes:
                stop = start + max(bisect_right(sizes, max_bytes), 0 if rows else 1)
            if stop > start:
                rows += columns.part(boot, start, stop)
                max_bytes -= sizes[stop - start - 1]
            if stop < end:
                reached = rows[-1].seq
                break
        else:
            self._unpacked.pop(uplink, None)
        cursor.close()
        if rows:
            hand(self._handed, uplink, room, after, rows[-1].seq)
        return Batch(rows, reached)

    def _columns(self, uplink: str, key: int, first: int, data: bytes) -> Columns | None:
        """What is in a segment; the last one is remembered, because a long one is read in parts."""
        known = self._unpacked.get(uplink)
        if known is not None and known[0] == key and known[1] == data:
            return known[2]
        try:
            columns = unpack(first, data)
        except StoreError:
            self.maker.damaged.add(key)
            return None
        self._unpacked[uplink] = (key, data, columns)
        return columns


def look(
    connection: sqlite3.Connection,
    after: int,
    limit: int,
    max_bytes: int,
    wants: Callable[[tuple[str, ...]], bool] | None = None,
    acked: Sequence[Ranges] = (NOTHING,) * len(ROOMS),
) -> list[tuple[int, Row]]:
    """Committed rows behind ``after`` with their class, see ``Columns.rows``, and without those that are ``acked``: at
    most ``limit``, about ``max_bytes`` of payload. What is damaged is left out."""
    streams = [_stream(connection, room, after, wants, has) for room, has in enumerate(acked)]
    found = take(heapq.merge(*streams, key=lambda one: one[1].seq), limit, max_bytes)
    for stream in streams:
        stream.close()
    return found


def take(rows: Iterable[tuple[int, Row]], limit: int, max_bytes: int) -> list[tuple[int, Row]]:
    """The first of ``rows``: at most ``limit``, about ``max_bytes`` of payload, at least one if there is one."""
    taken: list[tuple[int, Row]] = []
    left = max_bytes
    for one in islice(rows, limit):
        left -= len(one[1].payload)
        if left < 0 and taken:
            break
        taken.append(one)
    return taken


def _stream(
    connection: sqlite3.Connection,
    room: int,
    after: int,
    wants: Callable[[tuple[str, ...]], bool] | None,
    acked: Ranges,
) -> Generator[tuple[int, Row], None, None]:
    cursor = connection.execute(SQL["segment_read"], key_range(room, max(after, acked.prefix)))
    try:
        for _key, first, boot, data in cursor:
            try:
                columns = unpack(first, data)
            except StoreError:
                continue
            for row in columns.rows(boot, after, wants):
                if row.seq not in acked:
                    yield room, row
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


def _firsts(connection: sqlite3.Connection, after: Sequence[int]) -> list[tuple[int, int, int, int]]:
    """The oldest segment of each class behind a row of it: (key, first, boot, up)."""
    rows = [connection.execute(SQL["segment_first"], key_range(room, seq)).fetchone() for room, seq in enumerate(after)]
    return [row for row in rows if row is not None]
