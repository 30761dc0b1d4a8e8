"""Rows of a database from before there were segments: they move into segments at the start, some in each transaction.

A stop in between loses nothing: a transaction moves rows or leaves them.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from gateway.message import Properties
from gateway.outbound import TELEMETRY
from gateway.store.making_room import insert
from gateway.store.props import decode_props
from gateway.store.segment import Columns, pack
from gateway.store.sql import SQL

STEP: Final = 2000
"""Rows moved by one transaction."""


def convert(connection: sqlite3.Connection) -> bool:
    """Move some rows; whether there may be more."""
    if not connection.execute(SQL["old_there"]).fetchone()[0]:
        return False
    rows = connection.execute(SQL["old_rows"], {"limit": STEP}).fetchall()
    if not rows:
        connection.execute(SQL["old_drop"])
        return False
    # A segment is of one start.
    boot, up = rows[0][1], rows[0][2]
    rows = [row for row in rows if row[1] == boot]
    extras: dict[int, tuple[float | None, Properties]] = {
        index: (row[6], decode_props(row[9])) for index, row in enumerate(rows) if row[6] is not None or row[9]
    }
    heads = [(row[8], row[7], row[3], bool(row[4]), ()) for row in rows]
    columns = Columns([row[0] for row in rows], [row[5] for row in rows], heads, [row[10] for row in rows], extras)
    insert(connection, TELEMETRY, pack(columns), boot, up, 0)
    connection.execute(SQL["old_delete"], {"seq": columns.seqs[-1]})
    return True
