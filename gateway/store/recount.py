"""What is on the disk for each uplink, row by row: slow, and needed only where the accounts cannot know.

That is when the settings have other uplinks than before, when the database was written before there were accounts,
and when a segment or a whole database was damaged.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from gateway.store.accounts import PRODUCED, account, entry, is_for
from gateway.store.drops import Drop, load_drops
from gateway.store.errors import StoreError
from gateway.store.heirs import load_heirs
from gateway.store.position import Position
from gateway.store.rooms import ROOMS, key_range
from gateway.store.segment import unpack
from gateway.store.sql import SQL


def waiting_rows(connection: sqlite3.Connection, positions: Mapping[str, Position]) -> dict[str, int]:
    """Rows that each uplink must have and has not. What cannot be read counts as not there."""
    found = dict.fromkeys(positions, 0)
    heirs = load_heirs(connection, positions)
    for room in range(len(ROOMS)):
        place = key_range(room, min((at.acked[room].prefix for at in positions.values()), default=0))
        for _key, first, _boot, data in connection.execute(SQL["segment_read"], place):
            try:
                columns = unpack(first, data)
            except StoreError:
                continue
            for seq, head in zip(columns.seqs, columns.heads, strict=True):
                for name, at in positions.items():
                    if seq not in at.acked[room] and is_for(name, head[4], heirs):
                        found[name] += 1
    return found


def missing_rows(connection: sqlite3.Connection, positions: Mapping[str, Position]) -> dict[str, int]:
    """Rows that should wait for each uplink and are not there; negative: that are there and should not."""
    tallies: dict[str, int] = dict(connection.execute(SQL["tally_all"]).fetchall())
    drops = load_drops(connection)
    there = waiting_rows(connection, positions)
    return {name: account(name, tallies, drops).waiting - there[name] for name in positions}


def rebase(connection: sqlite3.Connection, positions: Mapping[str, Position]) -> None:
    """Let each uplink's account begin with what is there for it."""
    for name, n in missing_rows(connection, positions).items():
        connection.execute(SQL["tally_add"], {"name": entry(PRODUCED, name), "n": -n})


def count_missing(
    connection: sqlite3.Connection, positions: Mapping[str, Position], reason: str, since: float, until: float
) -> dict[str, Drop]:
    """Count what is not there as dropped, for ``reason``; by uplink what that was."""
    found: dict[str, Drop] = {}
    for name, n in missing_rows(connection, positions).items():
        if n > 0:
            found[name] = Drop(n, since, until)
            connection.execute(SQL["drop_add"], {"uplink": name, "reason": reason, **found[name]._asdict()})
        elif n:
            connection.execute(SQL["tally_add"], {"name": entry(PRODUCED, name), "n": -n})
    return found
