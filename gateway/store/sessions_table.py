"""Sessions, their messages and wills as tables: what one transaction does to them, and everything at the start.

``apply`` and ``load`` run on the database's thread, inside a transaction that somebody else begins and commits. They
know no waiters and no loop.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final, NamedTuple

from gateway.broker.port import Done
from gateway.message import Message
from gateway.mqtt.archive import DELAYED, Stored, StoredEntry, StoredSession, StoredWill
from gateway.mqtt.keeping import Kept
from gateway.mqtt.packets import Will
from gateway.mqtt.subscription import Subscription
from gateway.store.props import decode_props
from gateway.store.rows import Times, identity_of, ids_of
from gateway.store.sql import SQL

PACKET_ID: Final = 6
"""Where the packet id stands among an entry's columns; ``released`` follows it."""

Row = tuple[Any, ...]


class Changes:
    """What one transaction does. None in place of a row: it goes.

    sessions, filters, wills  by their keys, the last word of each
    bodies, entries           new ones by number: all columns but the number
    updates                   (packet id, released) of entries that are in the table
    gone, emptied             numbers of entries and bodies that are in the table and go
    held                      QoS 2 ids by (session, packet id): True is put, False goes
    kept                      who is told of new and updated entries
    dones                     called when it is over
    """

    __slots__ = (
        "bodies", "dones", "emptied", "entries", "filters", "gone", "held", "kept", "sessions", "updates", "wills",
    )  # fmt: skip

    def __init__(self) -> None:
        self.sessions: dict[int, Row | None] = {}
        self.filters: dict[tuple[int, str], Row | None] = {}
        self.wills: dict[str, Row | None] = {}
        self.bodies: dict[int, Row] = {}
        self.entries: dict[int, list[Any]] = {}
        self.updates: dict[int, tuple[int, bool]] = {}
        self.gone: list[int] = []
        self.emptied: list[int] = []
        self.held: dict[tuple[int, int], bool] = {}
        self.kept: dict[int, Kept] = {}
        self.dones: list[Done] = []

    def state_of(self, entry: int) -> tuple[int, bool]:
        """(packet id, released) of an entry in ``kept``, as this transaction writes it."""
        row = self.entries.get(entry)
        if row is not None:
            return row[PACKET_ID], row[PACKET_ID + 1]
        return self.updates[entry]


def apply(connection: sqlite3.Connection, changes: Changes) -> None:
    """Write everything in ``changes``."""
    for number, row in changes.sessions.items():
        if row is None:
            for statement in ("session_delete", "filter_delete_all", "held_delete_all"):
                connection.execute(SQL[statement], {"session": number})
        else:
            connection.execute(SQL["session_put"], (number, *row))
    many = connection.executemany
    if changes.filters:
        many(SQL["filter_delete"], [key for key, row in changes.filters.items() if row is None])
        many(SQL["filter_put"], [(*key, *row) for key, row in changes.filters.items() if row is not None])
    many(SQL["body_insert"], [(number, *row) for number, row in changes.bodies.items()])
    many(SQL["entry_insert"], [(number, *row) for number, row in changes.entries.items()])
    many(SQL["entry_update"], [(*state, number) for number, state in changes.updates.items()])
    many(SQL["entry_delete"], [(number,) for number in changes.gone])
    many(SQL["body_delete"], [(number,) for number in changes.emptied])
    if changes.held:
        many(SQL["held_delete"], [key for key, is_held in changes.held.items() if not is_held])
        many(SQL["held_put"], [key for key, is_held in changes.held.items() if is_held])
    if changes.wills:
        many(SQL["will_delete"], [(client_id,) for client_id, row in changes.wills.items() if row is None])
        many(SQL["will_put"], [(key, *row) for key, row in changes.wills.items() if row is not None])


class Loaded(NamedTuple):
    """The tables at the start.

    numbers  the highest session, body and entry
    shares   how many entries share each body
    """

    stored: Stored
    numbers: tuple[int, int, int]
    shares: dict[int, int]


def load(connection: sqlite3.Connection, times: Times) -> Loaded:
    """Read everything; what belongs to nothing is deleted."""
    sessions: dict[int, StoredSession] = {}
    for number, client_id, username, identity, expiry, boot, up in connection.execute(SQL["session_all"]).fetchall():
        away = times.age(boot, up) if boot is not None else 0.0
        who = identity_of(client_id, identity)
        sessions[number] = StoredSession(number, client_id, username, who, expiry, away, [], [], [])
    for row in connection.execute(SQL["filter_all"]).fetchall():
        number, pattern, qos, no_local, as_published, ids, group, by_puback = row
        if number in sessions:
            subscription = Subscription(
                qos, bool(no_local), bool(as_published), ids_of(ids), None, group, bool(by_puback)
            )
            sessions[number].filters.append((pattern, subscription))
    for number, packet_id in connection.execute(SQL["held_all"]).fetchall():
        if number in sessions:
            sessions[number].held.append(packet_id)
    shares = _entries(connection, sessions, times)
    wills = [_will(row, times) for row in connection.execute(SQL["will_all"]).fetchall()]
    highest = tuple(
        connection.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()[0]
        for table in ("session", "session_body", "session_entry")
    )
    return Loaded(Stored(list(sessions.values()), wills), (highest[0], highest[1], highest[2]), shares)


def _entries(connection: sqlite3.Connection, sessions: dict[int, StoredSession], times: Times) -> dict[int, int]:
    messages = {row[0]: _message(row, times) for row in connection.execute(SQL["body_all"]).fetchall()}
    shares = dict.fromkeys(messages, 0)
    orphans: list[int] = []
    for row in connection.execute(SQL["entry_all"]).fetchall():
        entry, number, body, qos, retain, ids, pattern, packet_id, released = row
        message = messages.get(body)
        if number not in sessions or message is None:
            orphans.append(entry)
            continue
        shares[body] += 1
        sessions[number].entries.append(
            StoredEntry(entry, body, message, qos, bool(retain), ids_of(ids), pattern, packet_id, bool(released))
        )
    connection.executemany(SQL["entry_delete"], [(entry,) for entry in orphans])
    connection.executemany(SQL["body_delete"], [(body,) for body, count in shares.items() if not count])
    return {body: count for body, count in shares.items() if count}


def _message(row: Row, times: Times) -> Message:
    _, boot, up, qos, retain, time, expiry, source, topic, props, payload = row
    expires = times.deadline(boot, up, expiry)
    return Message(topic, payload, qos, bool(retain), time, expires, source, 0, decode_props(props))


def _will(row: Row, times: Times) -> StoredWill:
    client_id, identity, state, boot, up, delay, qos, retain, topic, props, payload = row
    left = max(0.0, delay - times.age(boot, up)) if state == DELAYED else delay
    will = Will(topic, payload, qos, bool(retain), decode_props(props))
    return StoredWill(client_id, identity_of(client_id, identity), will, left, state)
