"""The copy of a database from before a migration that earlier programs cannot read, and the way back to it.

``gateway.db.format-14`` is a database that programs from format 14 on can read. It is made as the migration begins,
if there is room, and there is one of them. An earlier program that finds a database it cannot read takes the copy
in its place only when somebody has asked for that with the file ``gateway.db.go-back``: the copy may be old. What was
in use is then kept as ``gateway.db.format-15`` in turn; messages in it are not sent by the earlier program.

The copy goes on with start numbers far behind its own: the cloud drops repeats by ``boot:seq``, and numbers that were
used since it was made must not come again for other messages.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from gateway.durable import on_the_disk
from gateway.store.rescue import MARGIN, free_bytes

log = logging.getLogger("gateway.store")

LEAP: Final = 1_000_000
"""Starts between the last of a copy and the first after it was put back."""

COPY: Final = ".format-"
"""Between the name of a database and the format of a copy of it."""

_PAGES: Final = 1024
"""Copied between two signs of progress."""


def copies(path: Path) -> dict[int, Path]:
    """The copies beside a database, by format."""
    found = {}
    for copy in path.parent.glob(f"{path.name}{COPY}*"):
        number = copy.name.rpartition("-")[2]
        if number.isdecimal():
            found[int(number)] = copy
    return found


def fitting(path: Path, newest: int) -> Path | None:
    """The copy that a program which knows formats up to ``newest`` can use."""
    found = {number: copy for number, copy in copies(path).items() if number <= newest}
    return found[max(found)] if found else None


def mark(path: Path) -> Path:
    """While this file is there, a program that cannot read the database takes the copy."""
    return path.with_name(path.name + ".go-back")


def forget(path: Path, below: int) -> None:
    """Remove the copies of formats lower than this: nothing is left that would need them."""
    for number, copy in copies(path).items():
        if number < below:
            with suppress(OSError):
                copy.unlink()


def room_for(path: Path, free: Callable[[Path], int] = free_bytes) -> bool:
    """Whether a copy of the database fits beside it, with its log."""
    log = path.with_name(path.name + "-wal")
    size = sum(file.stat().st_size for file in (path, log) if file.exists())
    return free(path.parent) >= size + MARGIN


def keep(
    connection: sqlite3.Connection,
    path: Path,
    progress: Callable[[], None],
    free: Callable[[Path], int] = free_bytes,
) -> bool:
    """Copy the database; whether that could be done. Earlier copies go.

    Not being able to go back is no reason not to go on.
    """
    lowest = compatible_from(connection)
    forget(path, lowest)
    target = _copy_for(path, lowest)
    fresh = target.with_name(target.name + ".new")
    (pages,), (size,) = (connection.execute(f"PRAGMA {what}").fetchone() for what in ("page_count", "page_size"))
    problem = None
    if free(path.parent) < pages * size + MARGIN:
        problem = f"no room for {pages * size} bytes"
    else:
        try:
            fresh.unlink(missing_ok=True)
            with closing(sqlite3.connect(fresh)) as copy:
                copy.execute("PRAGMA synchronous = OFF").fetchall()  # waited for once, below
                connection.backup(copy, pages=_PAGES, progress=lambda *_: progress())
            on_the_disk(fresh)
            fresh.rename(target)
            on_the_disk(path.parent)
        except (OSError, sqlite3.Error) as error:
            problem = str(error)
            with suppress(OSError):
                fresh.unlink(missing_ok=True)
    if problem is not None:
        log.warning("no copy of the database for an older gateway", extra={"format": lowest, "reason": problem})
    return problem is None


def go_back(path: Path, newest: int) -> None:
    """Take the copy in the place of a database that is too new, if that was asked for; also when an earlier try was cut
    short. Raises OSError, sqlite3.Error."""
    asked = mark(path)
    if not asked.exists():
        return
    copy = fitting(path, newest)
    try:
        lowest = lowest_reader(path)
    except sqlite3.Error:  # damaged: no program here can mend what a newer one wrote
        lowest = newest + 1
    if copy is not None and (lowest is None or lowest > newest):
        leap(copy)
        if lowest is not None:
            with suppress(sqlite3.Error), closing(sqlite3.connect(path)) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            path.rename(_copy_for(path, lowest))
        for ending in ("-wal", "-shm"):
            path.with_name(path.name + ending).unlink(missing_ok=True)
        copy.rename(path)
        on_the_disk(path.parent)
        log.error("went back to an older copy of the database", extra={"path": str(path), "copy": copy.name})
    asked.unlink()


def _copy_for(path: Path, version: int) -> Path:
    return path.with_name(f"{path.name}{COPY}{version}")


def lowest_reader(path: Path) -> int | None:
    """The lowest format that a program must know to open this database; None when it is not there.

    Raises sqlite3.Error.
    """
    if not path.exists():
        return None
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        return compatible_from(connection)


def compatible_from(connection: sqlite3.Connection) -> int:
    """The lowest format that a program must know to work with this database; its own, when it says nothing."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    try:
        lowest, said_of = connection.execute("SELECT lowest, format FROM compatible_from").fetchone()
    except (sqlite3.OperationalError, TypeError):
        return int(version)
    # A program that migrates without a word about this leaves what was said of an earlier format.
    return int(lowest) if said_of == version else int(version)


def leap(database: Path) -> None:
    """Let a copy go on with numbers of starts that have not been used. Raises sqlite3.Error."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE sqlite_sequence SET seq = seq + ? WHERE name = 'boot'", (LEAP,))
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
