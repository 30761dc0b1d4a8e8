"""Queues and streams as tables: what one transaction does to them, and what is read.

Everything here runs on the database's thread. One ``QueueChanges`` holds all that one transaction does to all queues:
messages, positions, what groups hold and the counts are always of one moment, also after kill -9.

It knows no waiters beyond carrying them, no loop, and no machine.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from gateway.broker.queue_port import Entry, HeldEntry, NewEntry, StoredGroup, size_of, without_dead_letter
from gateway.clock import Clock
from gateway.store.boots import Boots
from gateway.store.props import decode_props, encode_props
from gateway.store.queue_bounds import Bounds
from gateway.store.queue_changes import Applied, LoadedQueue, Purge, QueueChanges, QueueResult, Transfer
from gateway.store.sql import SQL

SHIFT: Final = 40
"""Bits of an offset in the id of a message: 35 messages a second for a thousand years."""

STEP: Final = 5000
"""Messages that one transaction lets go at most, of one queue and for one reason; the rest goes with the next."""

FULL: Final = "queue_full"
EXPIRED: Final = "queue_expired"


class _Work:
    """One queue within one transaction."""

    __slots__ = ("bytes", "depth", "entries", "first", "gone", "last", "more")

    def __init__(self, last: int, depth: int, size: int) -> None:
        self.last = last
        self.depth = depth
        self.bytes = size
        self.entries: list[Entry] = []
        self.gone: list[tuple[list[tuple[int, int]], str]] = []
        self.more = False


class QueueTable:
    """The tables ``queue*``. ``bounds`` by queue id; used from the database's thread."""

    def __init__(self, boots: Boots, clock: Clock) -> None:
        self.boots = boots
        self.clock = clock
        self.bounds: dict[int, Bounds] = {}

    # -- reading -------------------------------------------------------------------------------------------

    def read(self, connection: sqlite3.Connection, queue: int, after: int, limit: int, max_bytes: int) -> list[Entry]:
        """Messages behind ``after``: at most ``limit``, about ``max_bytes``, at least one if there is one."""
        start = queue << SHIFT
        cursor = connection.execute(SQL["queue_read"], (start + after, (queue + 1) << SHIFT, limit))
        entries: list[Entry] = []
        room = max_bytes
        for row in cursor:
            entry = self._entry(row)
            room -= entry.size
            if room < 0 and entries:
                break
            entries.append(entry)
        cursor.close()
        return entries

    def fetch(self, connection: sqlite3.Connection, queue: int, offsets: Iterable[int]) -> list[Entry]:
        """These messages, as far as they are there."""
        start = queue << SHIFT
        rows = (connection.execute(SQL["queue_message"], (start + offset,)).fetchone() for offset in offsets)
        return [self._entry(row) for row in rows if row is not None]

    def find(self, connection: sqlite3.Connection, queue: int, last: int, time: float) -> int:
        """The offset of the first message stored at or after ``time``; ``last`` + 1 if there is none.

        It halves the range, which takes twenty looks where a scan takes a million. Where the clock was stepped back
        the place may be a neighbouring one.
        """
        start = queue << SHIFT
        low, high = start + 1, start + last + 1
        while low < high:
            middle = (low + high) // 2
            row = connection.execute(SQL["queue_time"], (middle, high)).fetchone()
            if row is None or row[1] >= time:
                high = middle
            else:
                low = row[0] + 1
        row = connection.execute(SQL["queue_time"], (low, (queue + 1) << SHIFT)).fetchone()
        return last + 1 if row is None else int(row[0]) - start

    def oldest_ages(self, connection: sqlite3.Connection, queues: Iterable[int]) -> dict[int, float | None]:
        """Seconds since the oldest message of each queue was stored; None when it is empty, or no clock can tell."""
        ages: dict[int, float | None] = {}
        for queue in queues:
            row = connection.execute(SQL["queue_oldest"], (queue << SHIFT, (queue + 1) << SHIFT)).fetchone()
            ages[queue] = None if row is None else self.boots.age(*row)
        return ages

    def _entry(self, row: tuple[Any, ...]) -> Entry:
        number, boot, up, size, time, life, key, topic, props, payload = row
        return Entry(
            number & ((1 << SHIFT) - 1),
            topic,
            key,
            payload,
            decode_props(props),
            time,
            self._expires(number >> SHIFT, boot, up, life),
            size,
        )

    def _expires(self, queue: int, boot: int, up: int, life: float | None) -> float | None:
        """Monotonic. Ages are measured as ``Boots.age`` does, so a step of the clock lets nothing expire."""
        longest = self._longest(queue, life)
        if longest is None:
            return None
        age = self.boots.age(boot, up)
        return None if age is None else self.clock.now() + longest - age

    def _longest(self, queue: int, life: float | None) -> float | None:
        bounds = self.bounds.get(queue)
        if bounds is None or not bounds.max_age:
            return life
        return bounds.max_age if life is None else min(life, bounds.max_age)

    # -- loading -------------------------------------------------------------------------------------------

    def load(self, connection: sqlite3.Connection, wanted: dict[str, Bounds]) -> dict[str, LoadedQueue]:
        """Every queue on the disk and every one that is ``wanted``, by address. One that is neither wanted nor holds
        anything is forgotten."""
        known = {row[1]: row for row in connection.execute(SQL["queue_all"]).fetchall()}
        for address in known.keys() - wanted.keys():
            if not known[address][3]:
                self._forget(connection, known.pop(address)[0])
        for address in wanted.keys() - known.keys():
            number = connection.execute(SQL["queue_insert"], (address,)).lastrowid
            known[address] = (number, address, 0, 0, 0)
        groups: dict[int, list[StoredGroup]] = {}
        for number, queue, name, pattern, cursor in connection.execute(SQL["group_all"]).fetchall():
            held = connection.execute(SQL["claim_all"], {"from": queue << SHIFT, "grp": number}).fetchall()
            entries = [HeldEntry(offset, deliveries, key, size) for offset, deliveries, key, size in held]
            groups.setdefault(queue, []).append(StoredGroup(number, name, pattern, cursor, entries))
        found: dict[str, LoadedQueue] = {}
        for address, (number, _, last, depth, size) in known.items():
            self.bounds[number] = wanted.get(address, Bounds())
            found[address] = LoadedQueue(number, last, depth, size, groups.get(number, []))
        return found

    def _forget(self, connection: sqlite3.Connection, queue: int) -> None:
        """A queue that is not in the settings and has no messages goes."""
        for number, owner, *_ in connection.execute(SQL["group_all"]).fetchall():
            if owner == queue:
                connection.execute(SQL["claim_clear"], (number,))
        connection.execute(SQL["group_delete_of"], (queue,))
        connection.execute(SQL["queue_delete"], (queue,))

    # -- one transaction -----------------------------------------------------------------------------------

    def apply(self, connection: sqlite3.Connection, changes: QueueChanges) -> Applied:
        """Do everything in ``changes``, then make room."""
        works: dict[int, _Work] = {}

        def work(queue: int) -> _Work:
            found = works.get(queue)
            if found is None:
                found = works[queue] = _Work(*connection.execute(SQL["queue_get"], (queue,)).fetchone())
            return found

        for queue, rows in changes.rows.items():
            self._append(connection, queue, work(queue), [new for new, _ in rows])
        connection.executemany(SQL["group_insert"], changes.opened)
        for group in changes.sought | changes.closed:
            connection.execute(SQL["claim_clear"], (group,))
        for group in changes.closed:
            connection.execute(SQL["group_delete"], (group,))
        connection.executemany(SQL["group_update"], [(at, group) for group, at in changes.cursors.items()])
        self._hold(connection, changes)
        # Behind what groups hold: a message that goes elsewhere must not be held after it.
        transferred = [self._transfer(connection, one, work) for one in changes.transfers]
        for queue, offsets in changes.removed.items():
            _remove(connection, queue, work(queue), offsets)
        for queue in changes.trims:
            self._trim(connection, queue, work(queue))
        purged: list[int] = []
        for purge in changes.purges:
            rows_gone = _first(connection, purge)
            _let_go(connection, purge.queue, work(purge.queue), rows_gone, "")
            purged.append(len(rows_gone))
        for queue in changes.rows.keys() | changes.sweeps | {one.to for one in changes.transfers}:
            self._evict(connection, queue, work(queue))
        for queue, one in works.items():
            connection.execute(SQL["queue_update"], (one.last, one.depth, one.bytes, queue))
        done = {queue: QueueResult(one.entries, one.last, one.gone, one.more) for queue, one in works.items()}
        return Applied(done, transferred, purged)

    def _append(self, connection: sqlite3.Connection, queue: int, work: _Work, news: list[NewEntry]) -> None:
        boot, up, now = self.boots.number, self.boots.up(), self.clock.now()
        start = queue << SHIFT
        rows: list[tuple[object, ...]] = []
        for topic, key, payload, props, time, life, size in news:
            work.last += 1
            text = encode_props(props) if props else None
            rows.append((start + work.last, boot, up, size, time, life, key, topic, text, payload))
            longest = self._longest(queue, life)
            expires = None if longest is None else now + longest
            work.entries.append(Entry(work.last, topic, key, payload, props, time, expires, size))
            work.bytes += size
        work.depth += len(news)
        connection.executemany(SQL["queue_append"], rows)

    def _transfer(self, connection: sqlite3.Connection, one: Transfer, work: Callable[[int], _Work]) -> bool:
        found = self.fetch(connection, one.queue, (one.offset,))
        if not found:
            return False
        entry = found[0]
        props = without_dead_letter(entry.props) if one.props is None else entry.props + one.props
        size = size_of(entry.topic, entry.payload, props)
        new = NewEntry(entry.topic, entry.key, entry.payload, props, entry.time, None, size)
        self._append(connection, one.to, work(one.to), [new])
        if one.group:
            connection.execute(SQL["claim_delete"], (one.group, one.offset))
        if one.gone:
            at = (one.queue << SHIFT) + one.offset
            # The machine that asked knows that it is gone; after a replay nobody has told it.
            _let_go(connection, one.queue, work(one.queue), [(at, entry.size)], None if one.group else "")
        return True

    @staticmethod
    def _hold(connection: sqlite3.Connection, changes: QueueChanges) -> None:
        """What groups hold; a group that is closed holds nothing."""
        rows = [(group, at, n) for (group, at), n in changes.held.items() if n is not None]
        held = [row for row in rows if row[0] not in changes.closed]
        connection.executemany(SQL["claim_set"], held)
        connection.executemany(SQL["claim_delete"], [key for key, n in changes.held.items() if n is None])

    def _trim(self, connection: sqlite3.Connection, queue: int, work: _Work) -> None:
        at = {"from": queue << SHIFT, "queue": queue, "limit": STEP}
        rows = connection.execute(SQL["queue_unneeded"], at).fetchall()
        work.more = work.more or len(rows) == STEP
        _let_go(connection, queue, work, rows, "")

    def _evict(self, connection: sqlite3.Connection, queue: int, work: _Work) -> None:
        """Let the oldest messages go until the bounds are kept."""
        bounds = self.bounds[queue]
        full: list[tuple[int, int]] = []
        old: list[tuple[int, int]] = []
        depth, size = work.depth, work.bytes
        heads = connection.execute(SQL["queue_heads"], (queue << SHIFT, (queue + 1) << SHIFT, STEP))
        for number, boot, up, bytes_, life in heads:
            if (bounds.max_count and depth > bounds.max_count) or (bounds.max_bytes and size > bounds.max_bytes):
                full.append((number, bytes_))
            else:
                longest = self._longest(queue, life)
                if longest is None or (self.boots.age(boot, up) or 0.0) < longest:
                    break
                old.append((number, bytes_))
            depth -= 1
            size -= bytes_
        heads.close()
        work.more = work.more or len(full) + len(old) == STEP
        _let_go(connection, queue, work, full, FULL)
        _let_go(connection, queue, work, old, EXPIRED)


def _first(connection: sqlite3.Connection, purge: Purge) -> list[tuple[int, int]]:
    start = purge.queue << SHIFT
    rows = connection.execute(SQL["queue_heads"], (start, start + purge.up_to + 1, purge.limit)).fetchall()
    return [(row[0], row[3]) for row in rows]


def _ranges(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Runs of neighbours as (first, last)."""
    first = previous = None
    for number in sorted(numbers):
        if first is None or previous is None:
            first = number
        elif number != previous + 1:
            yield first, previous
            first = number
        previous = number
    if first is not None and previous is not None:
        yield first, previous


def _remove(connection: sqlite3.Connection, queue: int, work: _Work, offsets: Iterable[int]) -> None:
    start = queue << SHIFT
    for first, last in _ranges(offsets):
        at = (start + first, start + last)
        count, size = connection.execute(SQL["queue_size"], at).fetchone()
        connection.execute(SQL["queue_remove"], at)
        work.depth -= count
        work.bytes -= size


def _let_go(
    connection: sqlite3.Connection, queue: int, work: _Work, rows: list[tuple[int, int]], reason: str | None
) -> None:
    """Delete rows (id, size); with a reason, even an empty one, the queue is told."""
    if not rows:
        return
    for first, last in _ranges(number for number, _ in rows):
        connection.execute(SQL["queue_remove"], (first, last))
    start = queue << SHIFT
    gone = [(number - start, size) for number, size in rows]
    work.depth -= len(gone)
    work.bytes -= sum(size for _, size in gone)
    if reason is not None:
        work.gone.append((gone, reason))
