"""Rows for every table of a database, whatever its format: made from what the tables say of their columns."""

from __future__ import annotations

import sqlite3
from typing import Any

ROWS = 3


def value(connection: sqlite3.Connection, table: str, column: str, declared: str, n: int) -> Any:
    """Something that fits the column and is another in each row."""
    (sql,) = connection.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
    words = sql.partition(f"CHECK ({column} IN (")[2].partition(")")[0]  # columns that take only some words
    if words:
        choice = [word.strip().strip("'") for word in words.split(",")]
        return choice[n % len(choice)]
    return {"INTEGER": n, "REAL": n + 0.5, "BLOB": b"%d" % n * 700}.get(declared, f"{column}-{n}")


def fill_empty(connection: sqlite3.Connection) -> list[str]:
    """Put ROWS rows into every table that has none; the names of all tables that have rows then."""
    found = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    names = [name for (name,) in found.fetchall()]
    for name in names:
        if connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]:
            continue
        columns = [(row[1], row[2]) for row in connection.execute(f'PRAGMA table_info("{name}")').fetchall()]
        for n in range(1, ROWS + 1):
            row = [value(connection, name, column, declared, n) for column, declared in columns]
            connection.execute(f'INSERT INTO "{name}" VALUES ({", ".join("?" * len(row))})', row)
    return names
