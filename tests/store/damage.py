"""Databases with something in every table, and ways to break them."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from gateway.store.opening import opened
from store.filler import fill_empty

PAGE = 1024


def fill(connection: sqlite3.Connection, rows: int) -> None:
    """Rows in every table of the store; those of the outbox in all sizes, the largest over several pages."""
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO boot (started) VALUES (?)", [(1.7e9 + n,) for n in range(3)])
    connection.executemany(
        "INSERT INTO outbox VALUES (?, 3, ?, 300, ?, 1, 0, ?, NULL, 'client:a', 'plant/line', NULL, ?)",
        [(n, n, 300 * n, 1.7e9 + n / 4, b"%d:" % n + b"x" * (n * 37 % 3000)) for n in range(101, 101 + rows)],
    )
    if any(column[1] == "class" for column in connection.execute("PRAGMA table_info(outbox_cursor)").fetchall()):
        connection.executemany(
            "INSERT INTO outbox_cursor VALUES ('cloud', ?, 100, 120, NULL)", [(room,) for room in range(4)]
        )
    else:
        connection.execute("INSERT INTO outbox_cursor VALUES ('cloud', 100, 120)")
    connection.execute("INSERT INTO outbox_drop VALUES ('cloud', 'expired', 4, 1.0, 2.0)")
    connection.executemany("INSERT INTO tally VALUES (?, ?)", [(f"word-{n}", n) for n in range(60)])
    connection.executemany(
        "INSERT INTO command (device, id, point, status, result, time) VALUES ('boiler', ?, 'p', 'done', ?, 1.7e9)",
        [(f"id-{n}", json.dumps({"value": n})) for n in range(200)],
    )
    fill_empty(connection)
    connection.execute("COMMIT")


def make(path: Path, rows: int = 300, *, in_log: bool = False) -> dict[str, list[Any]]:
    """A database as kill -9 leaves it; its rows by table. ``in_log``: the content has not left the log."""
    made = path.with_name("made.db")
    with opened(made) as connection:
        fill(connection, rows)
        if not in_log:
            connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
            connection.execute("INSERT INTO tally VALUES ('in the log', 1)")
        for ending in ("", "-wal"):
            shutil.copy(made.with_name(made.name + ending), path.with_name(path.name + ending))
    content = rows_of(made)
    for ending in ("", "-wal", ".lock"):
        made.with_name(made.name + ending).unlink(missing_ok=True)
    return content


def make_with_commits(path: Path, commits: int) -> None:
    """A database as kill -9 leaves it, with so many commits in its log, each of one row of ``tally``."""
    made = path.with_name("made.db")
    with opened(made) as connection:
        for n in range(commits):
            connection.execute("INSERT INTO tally VALUES (?, 1)", (f"{n:0100}",))
        for ending in ("", "-wal"):
            shutil.copy(made.with_name(made.name + ending), path.with_name(path.name + ending))
    for ending in ("", "-wal", ".lock"):
        made.with_name(made.name + ending).unlink(missing_ok=True)


def rows_of(path: Path) -> dict[str, list[Any]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {name: connection.execute(f'SELECT * FROM "{name}" ORDER BY 1, 2').fetchall() for name in names}


def roots(path: Path) -> dict[str, int]:
    with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as connection:
        return dict(connection.execute("SELECT name, rootpage FROM sqlite_schema WHERE rootpage > 0").fetchall())


def break_page(path: Path, number: int, content: bytes = b"") -> None:
    with path.open("r+b") as file:
        file.seek((number - 1) * PAGE)
        file.write((content or b"\xa5" * PAGE)[:PAGE])


def leaves(path: Path, root: int) -> list[int]:
    """Leaf pages of a table, in order, by the other way than the one that is tested: the pages' own pointers."""
    data = path.read_bytes()
    page = data[(root - 1) * PAGE : root * PAGE]
    if page[0] in (0x0D, 0x0A):
        return [root]
    cells = int.from_bytes(page[3:5], "big")
    places = [int.from_bytes(page[12 + 2 * n : 14 + 2 * n], "big") for n in range(cells)]
    children = [int.from_bytes(page[place : place + 4], "big") for place in [*places, 8]]
    return [leaf for child in children for leaf in leaves(path, child)]
