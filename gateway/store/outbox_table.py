"""The outbox as a table: appends, cursors, and which rows go when there is no room.

Everything here runs on the database's thread, inside a transaction that somebody else begins and commits. One
``Changes`` holds all that one transaction does to the outbox, so rows, cursors, drops and books are always of
one moment, also after kill -9. Each step does bounded work: what is left over is done in the next transaction.

It knows no waiters, no loop, and no uplink beyond its name.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

from gateway.broker.port import Done
from gateway.message import Properties
from gateway.outbound import Row
from gateway.store.boots import Boots
from gateway.store.drops import Drop, Drops, load_drops
from gateway.store.props import decode_props, encode_props
from gateway.store.sql import SQL
from gateway.store.tail import take

TRIM_ROWS: Final = 100
"""Acknowledged rows gather until so many go in one range delete: a delete for each row doubles what is written."""

STEP: Final = 10_000
"""Rows deleted by one transaction at most."""

FULL: Final = "outbox_full"
EXPIRED: Final = "outbox_expired"


class NewRow(NamedTuple):
    """A row before it has its number; fields as in ``Row``, and in the migration."""

    up: int
    size: int
    qos: int
    retain: bool
    time: float
    expires: float | None
    source: str
    topic: str
    props: Properties
    payload: bytes


class Changes:
    """What one transaction does to the outbox; ``dones`` are the waiters of ``rows``, one each.

    ``cursors`` are (acked, sent) by uplink, ``tallies`` are added to the books.
    """

    __slots__ = ("transaction", "rows", "dones", "cursors", "drops", "tallies")

    def __init__(self, transaction: int) -> None:
        self.transaction = transaction
        self.rows: list[NewRow] = []
        self.dones: list[Done | None] = []
        self.cursors: dict[str, tuple[int, int]] = {}
        self.drops = Drops()
        self.tallies: dict[str, int] = {}


class Waiting(NamedTuple):
    """Rows that some uplink still needs: their bytes, and when the oldest was stored (``Boots.age``)."""

    bytes: int = 0
    boot: int = 0
    up: int = 0


class Applied(NamedTuple):
    """What a transaction did: the rows it added, the newest number, the oldest number that has not gone, rows
    lost by reason and by uplink, what still waits, and whether there is more to delete."""

    rows: list[Row]
    last: int
    gone: int
    lost: dict[str, int]
    drops: Drops
    waiting: Waiting
    more: bool


class Loaded(NamedTuple):
    """The outbox at start."""

    cursors: dict[str, tuple[int, int]]
    last: int
    drops: Drops
    waiting: Waiting


class OutboxTable:
    """The tables ``outbox*`` and ``tally``, and the bounds of what they hold.

    max_bytes  sum of the rows' sizes; beyond it the oldest go
    max_age    seconds; older rows go. Age is measured as ``Boots.age`` does, so a step of the clock drops nothing
    """

    def __init__(self, boots: Boots, max_bytes: int, max_age: float) -> None:
        self.boots = boots
        self.max_bytes = max_bytes
        self.max_age = max_age

    def apply(self, connection: sqlite3.Connection, changes: Changes) -> Applied:
        """Do everything in ``changes``, then make room."""
        last, position = connection.execute(SQL["outbox_last"]).fetchone()
        rows, position = self._append(connection, changes.rows, last, position)
        for uplink, (acked, sent) in changes.cursors.items():
            connection.execute(SQL["cursor_update"], {"uplink": uplink, "acked": acked, "sent": sent})
        cursors = {uplink: acked for uplink, acked, _ in connection.execute(SQL["cursor_all"]).fetchall()}
        changes.drops.save(connection)
        lost, drops, gone = self._evict(connection, cursors, position) if rows else ({}, Drops(), 0)
        trimmed, more = _trim(connection, cursors, idle=not rows)
        for name, n in changes.tallies.items():
            connection.execute(SQL["tally_add"], {"name": name, "n": n})
        last += len(rows)
        return Applied(rows, last, max(gone, trimmed), lost, drops, _waiting(connection, cursors, position), more)

    def load(self, connection: sqlite3.Connection, uplinks: Collection[str]) -> Loaded:
        """Bring the cursors in line with the settings.

        A new uplink starts where the slowest one was, or at the oldest row if there was none: an uplink that got
        a new name goes on without a gap. The cursor of one that is gone holds no rows.
        """
        known = {uplink: (acked, sent) for uplink, acked, sent in connection.execute(SQL["cursor_all"]).fetchall()}
        last, position = connection.execute(SQL["outbox_last"]).fetchone()
        oldest = connection.execute(SQL["outbox_first"], {"after": 0}).fetchone()
        start = oldest[0] - 1 if oldest else last
        if known:
            start = max(start, min(acked for acked, _ in known.values()))
        for uplink in known.keys() - set(uplinks):
            connection.execute(SQL["cursor_delete"], {"uplink": uplink})
            connection.execute(SQL["drop_delete"], {"uplink": uplink})
        for uplink in set(uplinks) - known.keys():
            connection.execute(SQL["cursor_insert"], {"uplink": uplink, "acked": start})
        cursors = {uplink: known.get(uplink, (start, start)) for uplink in uplinks}
        acked = {uplink: position[0] for uplink, position in cursors.items()}
        return Loaded(cursors, last, load_drops(connection), _waiting(connection, acked, position))

    def _append(
        self, connection: sqlite3.Connection, new: list[NewRow], last: int, position: int
    ) -> tuple[list[Row], int]:
        boot = self.boots.number
        rows: list[Row] = []
        values: list[tuple[object, ...]] = []
        for up, size, qos, retain, time, expires, source, topic, props, payload in new:
            last += 1
            position += size
            rows.append(Row(last, boot, topic, payload, qos, retain, props, time, expires, source))
            text = encode_props(props) if props else None
            values.append((last, boot, up, size, position, qos, retain, time, expires, source, topic, text, payload))
        if values:
            connection.executemany(SQL["outbox_insert"], values)
        return rows, position

    def _evict(
        self, connection: sqlite3.Connection, cursors: dict[str, int], position: int
    ) -> tuple[dict[str, int], Drops, int]:
        """Let the oldest rows go until both bounds are kept; count those that an uplink had not acknowledged."""
        lost: dict[str, int] = {}
        drops = Drops()
        gone = 0
        oldest = connection.execute(SQL["outbox_oldest"], {"limit": STEP})
        for seq, boot, up, time, source, before in oldest:
            if position - before > self.max_bytes:
                reason = FULL
            elif (self.boots.age(boot, up) or 0.0) > self.max_age:
                reason = EXPIRED
            else:
                break
            gone = seq
            losers = [name for name, acked in cursors.items() if seq > acked and source != f"uplink:{name}"]
            for name in losers:
                drops.add(name, reason, Drop(1, time, time))
            if losers:
                lost[reason] = lost.get(reason, 0) + 1
        oldest.close()
        if gone:
            connection.execute(SQL["outbox_delete"], {"seq": gone})
            drops.save(connection)
            for reason, n in lost.items():
                connection.execute(SQL["tally_add"], {"name": f"dropped:{reason}", "n": n})
        return lost, drops, gone


def read_rows(connection: sqlite3.Connection, after: int, limit: int, max_bytes: int) -> list[Row]:
    """As ``OutboxReader.read``."""
    cursor = connection.execute(SQL["outbox_read"], {"after": after, "limit": limit})
    rows = take(_rows(cursor), limit, max_bytes)
    cursor.close()
    return rows


def read_tallies(connection: sqlite3.Connection) -> dict[str, int]:
    """The books. ``stored`` is the last number given out: numbers have no gaps."""
    tallies: dict[str, int] = dict(connection.execute(SQL["tally_all"]).fetchall())
    tallies["stored"] = connection.execute(SQL["outbox_last"]).fetchone()[0]
    return tallies


def _rows(cursor: sqlite3.Cursor) -> Iterable[Row]:
    for seq, boot, topic, payload, qos, retain, props, time, expires, source in cursor:
        yield Row(seq, boot, topic, payload, qos, bool(retain), decode_props(props), time, expires, source)


def _trim(connection: sqlite3.Connection, cursors: dict[str, int], idle: bool) -> tuple[int, bool]:
    """Delete what every uplink has acknowledged, if it is enough or nothing else happens.

    Returns the newest number deleted, 0 for none, and whether more of them are left.
    """
    oldest = connection.execute(SQL["outbox_first"], {"after": 0}).fetchone()
    acked = min(cursors.values(), default=0)
    if oldest is None or acked < oldest[0] or (acked - oldest[0] + 1 < TRIM_ROWS and not idle):
        return 0, False
    end = min(acked, oldest[0] + STEP - 1)
    connection.execute(SQL["outbox_delete"], {"seq": end})
    return end, end < acked


def _waiting(connection: sqlite3.Connection, cursors: dict[str, int], position: int) -> Waiting:
    if not cursors:
        return Waiting()
    oldest = connection.execute(SQL["outbox_first"], {"after": min(cursors.values())}).fetchone()
    if oldest is None:
        return Waiting()
    _seq, boot, up, before = oldest
    return Waiting(position - before, boot, up)
