"""Looks for damage in a database, in bounded time."""

from __future__ import annotations

import sqlite3
from typing import Final

CHECK_BYTES: Final = 64 << 20
"""Up to this size the whole file is checked at start; beyond it all but LARGE, or a start after a long outage would
take minutes on a card. A damaged row is then found when it is read."""

LARGE: Final = frozenset({"outbox", "outbox_segment", "queue_log", "session_body"})
"""Tables that may hold almost all of a large file."""


def first_problem(connection: sqlite3.Connection, *, whole: bool = False, thorough: bool = False) -> str | None:
    """What SQLite finds wrong first, in one line; None when nothing is. Raises sqlite3.DatabaseError for a file
    that cannot be read at all.

    whole     look at everything, however large it is
    thorough  also compare indexes with their tables
    """
    pages, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    checks = ["PRAGMA integrity_check(1)" if thorough else "PRAGMA quick_check(1)"]
    if pages * size > CHECK_BYTES and not whole:
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        checks = [f"PRAGMA quick_check('{name}')" for (name,) in tables.fetchall() if name not in LARGE]
    for check in checks:
        (answer,) = connection.execute(check).fetchone()
        if answer != "ok":
            return " ".join(str(answer).split())
    return None
