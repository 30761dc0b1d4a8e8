"""Migrates a database and kills itself in the middle. Started by tests.

``killed_migration.py PATH STEP``: the n-th look of SQLite's progress handler kills; 0 does not, and prints how many
looks there were. A made-up last migration writes every row again, so that it is longer than SQLite's cache.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from pathlib import Path

from gateway.store import opening, sql

LOOK_EVERY = 500
"""Steps of SQLite's machine between two looks."""


def longer() -> list[tuple[int, str]]:
    """All migrations, and one more that changes every row."""
    steps = sql.migrations()
    script = "ALTER TABLE command ADD COLUMN more TEXT; UPDATE command SET more = id, result = result || result;"
    return [*steps, (len(steps) + 1, script)]


def main(path: Path, step: int) -> None:
    looks = 0
    connect = opening._connect

    def look() -> int:
        nonlocal looks
        looks += 1
        if looks == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return 0

    def connected(path: Path) -> sqlite3.Connection:
        connection = connect(path)
        connection.execute("PRAGMA cache_size = 20").fetchall()
        connection.set_progress_handler(look, LOOK_EVERY)
        return connection

    opening._connect = connected
    opening.migrations = longer  # type: ignore[attr-defined]
    with opening.opened(path):
        sys.stdout.write(str(looks))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
