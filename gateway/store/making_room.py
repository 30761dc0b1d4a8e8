"""Which segments go, or are thinned, when a class is at one of its bounds.

By age and by count the oldest go. By bytes, telemetry is thinned first when it nears its bound: the oldest readings
become one row a minute, the oldest of those one row a quarter of an hour (``thin.py``); only what is thinned already
is dropped. So a long outage is covered as a whole, coarser the older it is. Other classes drop their oldest.

Each row that an uplink will never get is counted once, with its reason and the time of the first and the last. A
transaction thins once and looks at a bounded number of segments: the rest follows in the next.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from gateway.store.accounts import THINNED, entry, is_for
from gateway.store.boots import Boots
from gateway.store.drops import Drop, Drops
from gateway.store.errors import StoreError
from gateway.store.opening import PAGE_SIZE
from gateway.store.rooms import ROOMS, Room, key_of, key_range, last_of
from gateway.store.segment import Columns, Packed, pack, unpack
from gateway.store.sql import SQL
from gateway.store.thin import SPANS, bucket, thin
from gateway.store.ways import Ways

FULL: Final = "outbox_full"
EXPIRED: Final = "outbox_expired"
DAMAGED: Final = "outbox_damaged"

NEAR: Final = 0.9
"""Part of its room at which telemetry begins to be thinned."""

RAW_SHARE: Final = 0.25
"""Part of its room that readings as they came, and then rows of a minute, keep for themselves."""

THIN_ROWS: Final = (16_384, 32_768)
"""Rows of the next lower grade that one transaction thins at most: 2 minutes at 130 a second."""

THIN_SEGMENTS: Final = 1000
"""Segments that they may come from."""

DROP_SEGMENTS: Final = 200
"""Segments dropped by one transaction at most, for each class."""

CELL_BYTES: Final = 80
"""What a segment costs beside its data: the other columns, its share of the tree."""


class Segment(NamedTuple):
    """One row of ``outbox_segment`` without its data."""

    id: int
    first: int
    n: int
    size: int
    boot: int
    up: int
    since: float
    until: float
    grade: int


class Lost:
    """What making room has cost: rows by reason, the same by uplink, and rows that are part of others.

    damaged  segments that could not be read: what each uplink has lost with them is counted by ``recount.py``
    shares   ``thinned``, by uplink
    """

    __slots__ = ("damaged", "drops", "more", "reasons", "shares", "thinned")

    def __init__(self) -> None:
        self.reasons: dict[str, int] = {}
        self.drops = Drops()
        self.thinned = 0
        self.shares: dict[str, int] = {}
        self.damaged: list[Segment] = []
        self.more = False

    def books(self) -> Iterator[tuple[str, int]]:
        """What to add to the books."""
        for reason, n in self.reasons.items():
            yield f"dropped:{reason}", n
        if self.thinned:
            yield "outbox_thinned", self.thinned
        for name, n in self.shares.items():
            yield entry(THINNED, name), n


def size_of(data: bytes) -> int:
    """What a segment takes in the file: whole pages, and its share of those it lies in with others."""
    return CELL_BYTES + len(data) + len(data) // PAGE_SIZE * 4 + PAGE_SIZE // 4


def insert(connection: sqlite3.Connection, room: int, packed: Packed, boot: int, up: int, grade: int) -> int:
    """Insert a segment; what it takes."""
    size = size_of(packed.data)
    connection.execute(
        SQL["segment_insert"],
        (
            key_of(room, packed.last), packed.first, packed.rows, size, boot, up, packed.since, packed.until, grade,
            packed.data,
        ),
    )  # fmt: skip
    return size


class RoomMaker:
    """The segments of all classes, and what they take together. Used by the database's thread.

    damaged  keys of segments that could not be read
    newest   by class: the greatest number that there was in the table
    moved    bytes written so far by thinning and deleting, about: what the rows of a transaction do not account for
    on_delete  called with a class and the segments of it that go
    """

    def __init__(self, boots: Boots, rooms: Sequence[Room]) -> None:
        self.rooms = rooms
        self.damaged: set[int] = set()
        self.moved = 0
        self._boots = boots
        self._bytes: Counter[tuple[int, int]] = Counter()  # by class and grade
        self._rows: Counter[int] = Counter()  # by class
        self._thinned_to: dict[tuple[int, int], int] = {}
        self.newest = [0] * len(ROOMS)
        self.on_delete: Callable[[int, Sequence[Segment]], None] = lambda room, segments: None

    def load(self, connection: sqlite3.Connection) -> int:
        """Count what is there; the newest number."""
        self._bytes.clear()
        self._rows.clear()
        self._thinned_to.clear()
        newest = 0
        for room, grade, _count, n, size, key in connection.execute(SQL["segment_totals"]).fetchall():
            self._bytes[room, grade] = size
            self._rows[room] += n
            self._thinned_to[room, grade] = key
            newest = max(newest, last_of(key))
            self.newest[room] = max(self.newest[room], last_of(key))
        return newest

    @property
    def bytes(self) -> int:
        """Of all classes."""
        return self._bytes.total()

    @property
    def rows(self) -> int:
        """Of all classes."""
        return self._rows.total()

    def rows_of(self, room: int) -> int:
        """Of one class."""
        return self._rows[room]

    def bytes_of(self, room: int) -> int:
        """Of one class."""
        return sum(self._bytes[room, grade] for grade in range(len(SPANS)))

    # Segments

    def add(self, connection: sqlite3.Connection, room: int, packed: Packed, boot: int, up: int, grade: int) -> None:
        """Insert one."""
        size = insert(connection, room, packed, boot, up, grade)
        self._bytes[room, grade] += size
        self._rows[room] += packed.rows
        self.newest[room] = max(self.newest[room], packed.last)
        self.moved += size if grade else 0

    def oldest(
        self, connection: sqlite3.Connection, room: int, limit: int, after: int = 0, upto: int | None = None
    ) -> list[Segment]:
        """The oldest segments of a class; behind the key ``after``, with no row behind ``upto`` if these are given."""
        place = key_range(room, 0)
        if after:
            place["after"] = after
        if upto is not None:
            place["end"] = key_of(room, upto) + 1
        return [
            Segment(*row) for row in connection.execute(SQL["segment_oldest"], {**place, "limit": limit}).fetchall()
        ]

    def delete(self, connection: sqlite3.Connection, room: int, segments: Sequence[Segment]) -> None:
        """Delete segments that lie next to each other, if there are any."""
        if not segments:
            return
        connection.execute(SQL["segment_delete"], {"first": segments[0].id, "last": segments[-1].id})
        self.on_delete(room, segments)
        for segment in segments:
            self._bytes[room, segment.grade] -= segment.size
            self._rows[room] -= segment.n
            # The pages of the data are only put on a list, which holds some 250 of them a page.
            self.moved += PAGE_SIZE // 2 + segment.size // 128

    def _columns(self, connection: sqlite3.Connection, segment: Segment) -> Columns | None:
        """What is in a segment; None when it is damaged."""
        (data,) = connection.execute(SQL["segment_data"], {"id": segment.id}).fetchone()
        try:
            return unpack(segment.first, data)
        except StoreError:
            return None

    # Bounds

    def make_room(self, connection: sqlite3.Connection, ways: Ways, floor: int) -> Lost:
        """Keep the bounds of every class, but for rows that are in memory, from ``floor`` on, or on their way."""
        lost = Lost()
        if self.damaged:
            self._drop_damaged(connection, ways, floor, lost)
        for number, room in enumerate(self.rooms):
            if room.thins and self.bytes_of(number) > NEAR * room.max_bytes:
                self._thin_oldest(connection, number, room, ways, floor, lost)
            self._drop_oldest(connection, number, room, ways, floor, lost)
        return lost

    def _drop_oldest(
        self, connection: sqlite3.Connection, number: int, room: Room, ways: Ways, floor: int, lost: Lost
    ) -> None:
        left, left_rows = self.bytes_of(number), self._rows[number]
        most_rows = left_rows if room.max_rows is None else room.max_rows

        def why(segment: Segment) -> str | None:
            if left > room.max_bytes or left_rows > most_rows:
                return FULL
            return EXPIRED if (self._boots.age(segment.boot, segment.up) or 0.0) > room.max_age else None

        # A first look at one: in most transactions nothing has to go.
        if not any(why(segment) for segment in self.oldest(connection, number, 1, upto=floor - 1)):
            return
        on_way = ways.on_way(number)
        dropped = 0
        going: list[Segment] = []
        for segment in self._from_oldest(connection, number, floor):
            reason = why(segment)
            if reason is None:
                break
            if dropped == DROP_SEGMENTS:
                lost.more = True
                break
            if on_way.touches(segment.first - 1, last_of(segment.id)):
                self.delete(connection, number, going)
                going = []
                continue
            self._count(connection, number, segment, reason, ways, lost)
            going.append(segment)
            dropped += 1
            left -= segment.size
            left_rows -= segment.n
        self.delete(connection, number, going)

    def _from_oldest(self, connection: sqlite3.Connection, room: int, floor: int) -> Iterator[Segment]:
        """Segments of a class that are not in memory."""
        after = 0
        while found := self.oldest(connection, room, DROP_SEGMENTS, after, floor - 1):
            yield from found
            after = found[-1].id

    def _count(
        self, connection: sqlite3.Connection, room: int, segment: Segment, reason: str, ways: Ways, lost: Lost
    ) -> None:
        columns = self._columns(connection, segment)
        if columns is None:
            _count_damaged(segment, room, ways, lost)
            return
        count_rows(columns, range(len(columns.seqs)), room, reason, ways, lost)

    def _drop_damaged(self, connection: sqlite3.Connection, ways: Ways, floor: int, lost: Lost) -> None:
        for key in [key for key in self.damaged if last_of(key) < floor]:
            self.damaged.discard(key)
            room = next(number for number in reversed(range(len(ROOMS))) if key >= key_of(number, 0))
            for segment in self.oldest(connection, room, 1, key - 1):
                if segment.id == key:
                    _count_damaged(segment, room, ways, lost)
                    self.delete(connection, room, [segment])

    # Thinning

    def _thin_oldest(
        self, connection: sqlite3.Connection, number: int, room: Room, ways: Ways, floor: int, lost: Lost
    ) -> None:
        for grade in (0, 1):
            if self._bytes[number, grade] > RAW_SHARE * room.max_bytes:
                self._thin(connection, number, grade, ways, floor, lost)
                return

    def _thin(
        self, connection: sqlite3.Connection, number: int, grade: int, ways: Ways, floor: int, lost: Lost
    ) -> None:
        span = SPANS[grade + 1]
        thinned_to = max(
            (self._thinned_to.get((number, higher), 0) for higher in range(grade + 1, len(SPANS))), default=0
        )
        chosen: list[Segment] = []
        # Rows that somebody has already, or will have, stay as they are.
        for after, upto in ways.touched(number).gaps(last_of(thinned_to), floor - 1):
            there = self.oldest(connection, number, THIN_SEGMENTS, key_of(number, after), upto)
            chosen = _whole_spans([segment for segment in there if segment.first > after], grade, span)
            if chosen:
                break
        if not chosen:
            return
        parts: list[tuple[Columns, int]] = []
        for segment in chosen:
            columns = self._columns(connection, segment)
            if columns is None:
                _count_damaged(segment, number, ways, lost)
            else:
                parts.append((columns, 0))
        thinned = thin(parts, span)
        _count_lost_of(parts, thinned.lost, number, ways, lost)
        lost.thinned += thinned.merged
        for names, n in thinned.shares.items():
            for name in ways.positions:
                if is_for(name, names, ways.heirs):
                    lost.shares[name] = lost.shares.get(name, 0) + n
        self.delete(connection, number, chosen)
        if thinned.columns is not None:
            self.add(connection, number, pack(thinned.columns, always=True), chosen[-1].boot, chosen[-1].up, grade + 1)
        self._thinned_to[number, grade + 1] = chosen[-1].id
        lost.more = lost.more or self.bytes_of(number) > NEAR * self.rooms[number].max_bytes


def _whole_spans(segments: list[Segment], grade: int, span: float) -> list[Segment]:
    """The first of ``segments`` that are of one grade and one start, without those of the last span, which may not be
    whole; with them when there is nothing before. Where the wall clock was set back the second half waits: what is
    hours apart may have the same time."""
    chosen: list[Segment] = []
    rows = 0
    for segment in segments:
        if (
            segment.grade != grade
            or segment.boot != segments[0].boot
            or (chosen and segment.since < chosen[-1].since - span)
            or (chosen and rows + segment.n > THIN_ROWS[grade])
        ):
            break
        chosen.append(segment)
        rows += segment.n
    last = bucket(chosen[-1].until, span) if chosen else 0
    whole = len(chosen)
    while whole and bucket(chosen[whole - 1].until, span) == last:
        whole -= 1
    return chosen[:whole] or chosen


def count_rows(columns: Columns, indexes: Sequence[int], room: int, reason: str, ways: Ways, lost: Lost) -> None:
    """Count those of the rows that an uplink needs and does not have; ``indexes`` in order."""
    if not indexes:
        return
    seqs, times, heads = columns.seqs, columns.times, columns.heads
    # By who was to get them, and row by row only where an uplink has some of them: a rush drops tens of thousands a
    # second, nearly always of one kind.
    by_row = ways.splits(room, seqs[indexes[0]] - 1, seqs[indexes[-1]])
    kinds: dict[tuple[tuple[str, ...], int], list[float]] = {}
    for index in indexes:
        key = heads[index][4], seqs[index] if by_row else 0
        found = kinds.get(key)
        if found is None:
            kinds[key] = [times[index]]
        else:
            found.append(times[index])
    for (names, seq), theirs in kinds.items():
        losers = ways.losers(names, room, seq or seqs[indexes[0]])
        for name in losers:
            lost.drops.add(name, reason, Drop(len(theirs), min(theirs), max(theirs)))
        if losers:
            lost.reasons[reason] = lost.reasons.get(reason, 0) + len(theirs)


def _count_lost_of(parts: list[tuple[Columns, int]], indexes: list[int], room: int, ways: Ways, lost: Lost) -> None:
    """Rows that could not be thinned, by their number over all parts."""
    base = start = 0
    for columns, _ in parts:
        size = len(columns.seqs)
        end = bisect_left(indexes, base + size, start)
        count_rows(columns, [index - base for index in indexes[start:end]], room, FULL, ways, lost)
        base, start = base + size, end


def _count_damaged(segment: Segment, room: int, ways: Ways, lost: Lost) -> None:
    """Which rows a damaged segment had, and for whom, is not known; what is missing tells."""
    last = last_of(segment.id)
    if any(not at.acked[room].covers(last - 1, last) for at in ways.positions.values()):
        lost.damaged.append(segment)
        lost.reasons[DAMAGED] = lost.reasons.get(DAMAGED, 0) + segment.n
