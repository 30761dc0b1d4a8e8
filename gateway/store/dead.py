"""Dead letters of the uplinks: rows that a cloud refuses, kept with the reason until somebody has looked at them.

A letter goes to the disk in the transaction that moves the uplink past its row, so that a row is in the outbox or
here, or in both for a moment. Each uplink has room for so many letters and bytes; when that is full the oldest leave.
When the disk takes nothing, the newest wait in memory for the next transaction.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple, Protocol

from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.metrics import Metrics
from gateway.outbound import Row
from gateway.store.batch import Batch
from gateway.store.db import Database
from gateway.store.props import decode_props, encode_props
from gateway.store.sql import SQL

WITHIN: Final = 1.0
"""Seconds that a letter may wait for its transaction, as long as an acknowledgement does."""

MOST_WAITING: Final = 100
"""Letters in memory while the disk takes nothing. Beyond that the oldest of them are lost, and counted."""


class Bounds(Protocol):
    """What one uplink may keep."""

    @property
    def max_count(self) -> int: ...
    @property
    def max_bytes(self) -> int: ...


class Letter(NamedTuple):
    """A row that was given up; see ``DeadLetters.add``. ``failed``: wall clock when that was."""

    id: int
    row: Row
    reason: str
    error: str
    tries: int
    failed: float


class Changes:
    """What one transaction does. ``renamed``: the new name of an uplink by the old one."""

    __slots__ = ("added", "removed", "renamed")

    def __init__(self) -> None:
        self.renamed: dict[str, str] = {}
        self.added: list[tuple[str, Letter]] = []
        self.removed: list[int] = []


class Applied(NamedTuple):
    """What a transaction did: letters that had to leave, and how many each uplink has."""

    cut: int
    counts: dict[str, int]


class DeadStore:
    """The table ``dead_letter``. ``bounds``: of each uplink. ``counts``: letters of each, after ``load``."""

    def __init__(self, database: Database, clock: Clock, bounds: Mapping[str, Bounds], metrics: Metrics) -> None:
        self.bounds = dict(bounds)
        self.database = database
        self._clock = clock
        self._metrics = metrics
        self.counts = dict.fromkeys(bounds, 0)
        self._batch: Batch[Changes, Applied] = Batch(database, Changes, self._apply, self._committed)
        self._waiting: deque[tuple[str, Letter]] = deque()

    async def load(self) -> None:
        """Count what is there. Raises what ``Database.read`` raises."""
        self.counts |= await self.database.read(_count)

    def set(self, uplink: str, bounds: Bounds | None) -> None:
        """What an uplink may keep from now on; None: it is gone, and its letters stay for one of its name."""
        if bounds is None:
            self.bounds.pop(uplink, None)
        else:
            self.bounds[uplink] = bounds
            self.counts.setdefault(uplink, 0)

    def rename(self, old: str, new: str) -> None:
        """The letters of ``old`` are those of ``new``; it adds none any more. Raises StoreError when it is closed."""
        self._waiting = deque((new if name == old else name, letter) for name, letter in self._waiting)
        changes = self._batch.join(0, WITHIN)
        changes.renamed = {**changes.renamed, old: new}
        self.counts[new] = self.counts.pop(old, 0)

    def of(self, uplink: str) -> Shelf:
        """The letters of one uplink, for its runner."""
        return Shelf(self, uplink)

    def add(self, uplink: str, row: Row, reason: str, error: str, tries: int) -> None:
        """See ``uplinks.dead.DeadLetters.add``."""
        self._put([(uplink, Letter(0, row, reason, error, tries, self._clock.time()))])

    def remove(self, id: int) -> None:
        """Let go of a letter. Raises Refused when the store is behind, StoreError when it is closed."""
        self._batch.join(0, WITHIN).removed.append(id)

    def _put(self, letters: list[tuple[str, Letter]]) -> None:
        self._waiting.extend(letters)
        while len(self._waiting) > MOST_WAITING:
            self._waiting.popleft()
            self._metrics.count("dead_letters_lost")
        with suppress(GatewayError):  # full, behind or closed: they wait for the next one
            size = sum(_bytes(letter.row) for _, letter in self._waiting)
            changes = self._batch.join(size, WITHIN, len(self._waiting))
            changes.added += self._waiting
            self._waiting.clear()

    def _apply(self, connection: sqlite3.Connection, changes: Changes) -> Applied:
        connection.executemany(SQL["dead_add"], [_values(uplink, letter) for uplink, letter in changes.added])
        for old, new in changes.renamed.items():
            connection.execute(SQL["dead_rename"], {"old": old, "new": new})
        connection.executemany(SQL["dead_delete"], [(id,) for id in changes.removed])
        cut = sum(self._cut(connection, uplink) for uplink in {uplink for uplink, _ in changes.added})
        return Applied(cut, _count(connection))

    def _cut(self, connection: sqlite3.Connection, uplink: str) -> int:
        """Keep the newest that fit; how many did not."""
        bounds = self.bounds.get(uplink)
        if bounds is None:
            return 0  # it was removed or renamed meanwhile
        size = 0
        sizes = connection.execute(SQL["dead_sizes"], {"uplink": uplink}).fetchall()
        for index, (id, length) in enumerate(sizes):
            size += length
            if index >= bounds.max_count or size > bounds.max_bytes:
                connection.execute(SQL["dead_cut"], {"uplink": uplink, "upto": id})
                return len(sizes) - index
        return 0

    def _committed(self, changes: Changes, applied: Applied | None, error: BaseException | None) -> None:
        if applied is not None:
            self.counts = dict.fromkeys(self.bounds, 0) | applied.counts
            if applied.cut:
                self._metrics.count("dead_letters_pushed_out", applied.cut)
        if error is not None:
            if changes.renamed:
                with suppress(GatewayError):  # closed: the letters keep the old name
                    following = self._batch.join(0, WITHIN)
                    following.renamed = {**changes.renamed, **following.renamed}
            self._waiting.extendleft(reversed(changes.added[-MOST_WAITING:]))
            # A letter that could not be deleted is sent or shown again: it is there until it has gone.


class Shelf:
    """One uplink's way to its letters."""

    __slots__ = ("_store", "_uplink")

    def __init__(self, store: DeadStore, uplink: str) -> None:
        self._store = store
        self._uplink = uplink

    def add(self, row: Row, reason: str, error: str, tries: int) -> None:
        """See ``uplinks.dead.DeadLetters.add``."""
        self._store.add(self._uplink, row, reason, error, tries)


def read_totals(connection: sqlite3.Connection) -> list[Any]:
    """(uplink, letters, bytes, time of the oldest, of the newest)."""
    return connection.execute(SQL["dead_totals"]).fetchall()


def _count(connection: sqlite3.Connection) -> dict[str, int]:
    return dict(connection.execute(SQL["dead_count"]).fetchall())


def read_page(connection: sqlite3.Connection, uplink: str, after: int, limit: int) -> list[Letter]:
    """Letters behind the id ``after``, oldest first."""
    found = connection.execute(SQL["dead_page"], {"uplink": uplink, "after": after, "limit": limit})
    return [_letter(values) for values in found.fetchall()]


def read_one(connection: sqlite3.Connection, uplink: str, id: int) -> Letter | None:
    """One letter; None when there is none."""
    found = connection.execute(SQL["dead_one"], {"uplink": uplink, "id": id}).fetchone()
    return None if found is None else _letter(found)


def _bytes(row: Row) -> int:
    return len(row.topic.encode()) + len(row.payload)


def _values(uplink: str, letter: Letter) -> tuple[Any, ...]:
    row = letter.row
    return (
        uplink, row.seq, row.boot, row.topic, row.qos, row.retain, row.time, row.expires, row.source,
        encode_props(row.props), row.payload, _bytes(row), letter.reason, letter.error, letter.tries, letter.failed,
    )  # fmt: skip


def _letter(values: tuple[Any, ...]) -> Letter:
    id, seq, boot, topic, qos, retain, time, expires, source, props, payload, reason, error, tries, failed = values
    row = Row(seq, boot, topic, payload, qos, bool(retain), decode_props(props), time, expires, source)
    return Letter(id, row, reason, error, tries, failed)
