"""Opens the database file: is it ours, whole, and not newer than this program?

A new file is made beside its place and renamed, so that a power cut leaves either none or a whole one. An
existing one is first looked at through a read-only connection: what is damaged stays byte for byte as it was
found, log included, for whoever wants to save what is in it. Every answer but yes is a ``StoreError``.

It repairs nothing and deletes nothing.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from gateway.store.errors import StoreError
from gateway.store.sql import migrations

PAGE_SIZE: Final = 1024
"""A commit writes whole pages; small ones write a third less than 4096 for rows of a few hundred bytes."""

LOG_BYTES: Final = 4 << 20
"""Length that the write-ahead log keeps: overwriting a file that has its length saves the file system's own
journal a write for each commit. Checkpoints come before it would grow past this."""

CHECK_BYTES: Final = 64 << 20
"""Up to this size the whole file is checked at start; beyond it all but the outbox, or a start after a long
outage would take minutes on a card. A damaged row is then found when it is read."""

APPLICATION_ID: Final = 0x65677431
"""In the file's header, so that the database of another program is not taken for ours."""

BUSY_TIMEOUT: Final = 5.0
"""Seconds to wait for a reader outside the process (a backup, a shell) before a transaction fails."""

_ADVICE: Final = "move it away to start anew, or put a copy back"
_MAGIC: Final = b"SQLite format 3\0"


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The database at ``path`` for this process alone, made if it is missing, migrated if it is older.

    The connection belongs to the calling thread. Raises StoreError.
    """
    try:
        with _locked(path):
            _make_if_missing(path)
            _keep_log_long(path)
            _examine(path)
            with closing(_connect(path)) as connection:
                _migrate(connection, path, migrations())
                _checkpoint_at_open(connection)
                yield connection
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {error}") from error
    except OSError as error:
        raise StoreError(
            f"{path}: cannot be opened: {error.strerror}; check the state folder's owner and room"
        ) from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    # SQLite would let two gateways write in turns; the second one's numbers and cursors would be wrong.
    lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            hint = "stop that one, or give this one its own state folder"
            raise StoreError(f"{path}: another gateway is using it; {hint}") from None
        yield
    finally:
        os.close(lock)


def _make_if_missing(path: Path) -> None:
    log = path.with_name(path.name + "-wal")
    if path.exists():
        with path.open("rb") as file:
            head = file.read(len(_MAGIC))
        if head != _MAGIC:
            what = "is empty" if not head else "holds only NUL bytes" if not head.strip(b"\0") else "is not a database"
            raise StoreError(f"{path}: {what}, nothing was changed; {_ADVICE}")
        return
    if log.exists() and log.stat().st_size:
        # A new database would take the old one's log for its own.
        raise StoreError(
            f"{path}: is missing, but its log {log.name} is there; put the database back, or move both away"
        )
    fresh = path.with_name(path.name + ".new")
    for ending in ("", "-wal", "-shm"):  # of a start that was cut short; it held nothing yet
        fresh.with_name(fresh.name + ending).unlink(missing_ok=True)
    with closing(_connect(fresh)) as connection:
        _migrate(connection, fresh, migrations())
    fresh.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _keep_log_long(path: Path) -> None:
    """After a clean stop there is no log: make one of full length. SQLite takes zeros for an empty log."""
    log = path.with_name(path.name + "-wal")
    try:
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_EXCL, path.stat().st_mode & 0o777)
    except FileExistsError:
        return
    try:
        for _ in range(LOG_BYTES // 65536):
            os.write(file, bytes(65536))
        os.fsync(file)
    except OSError:
        os.truncate(file, 0)  # no room for comfort; the log grows as it needs
    finally:
        os.close(file)


def _examine(path: Path) -> None:
    """Raise StoreError when the file is damaged or not ours. Read-only: closing it cannot move the log."""
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT)
        ) as connection:
            owner = connection.execute("PRAGMA application_id").fetchone()[0]
            if owner != APPLICATION_ID:
                raise StoreError(f"{path}: is the database of another program (id {owner:#x}); {_ADVICE}")
            problem = _first_problem(connection)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        problem = str(error)
    if problem:
        raise StoreError(f"{path}: is damaged ({problem}), nothing was changed; {_ADVICE}")


def _first_problem(connection: sqlite3.Connection) -> str | None:
    pages, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    checks = ["PRAGMA quick_check(1)"]
    if pages * size > CHECK_BYTES:
        big = "('outbox_segment', 'outbox_row')"
        tables = connection.execute(f"SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT IN {big}")
        checks = [f"PRAGMA quick_check('{name}')" for (name,) in tables.fetchall()]
    for check in checks:
        (answer,) = connection.execute(check).fetchone()
        if answer != "ok":
            return " ".join(str(answer).split())
    return None


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None)
    for setting in (
        f"page_size = {PAGE_SIZE}",  # of a new file; an old one keeps its own
        "journal_mode = WAL",
        "synchronous = FULL",  # NORMAL loses acknowledged rows when the power goes
        f"journal_size_limit = {LOG_BYTES}",
        f"wal_autocheckpoint = {2 * LOG_BYTES // PAGE_SIZE}",  # a safety net: we checkpoint between commits
        "secure_delete = OFF",  # some builds have it on: each row would be written once more, as zeros, to delete it
        "temp_store = MEMORY",
        "foreign_keys = OFF",
        "trusted_schema = OFF",
    ):
        connection.execute(f"PRAGMA {setting}").fetchall()
    return connection


def _checkpoint_at_open(connection: sqlite3.Connection) -> None:
    """What a crash left in the log goes to its place now, before anybody waits."""
    connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()


def _migrate(connection: sqlite3.Connection, path: Path, scripts: list[tuple[int, str]]) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    newest = scripts[-1][0]
    if version > newest:
        raise StoreError(
            f"{path}: was written by a newer gateway (format {version}, this one knows up to {newest}); "
            "install that version again, or move the file away to start anew"
        )
    steps = "\n".join(text for number, text in scripts if number > version)
    if not steps:
        return
    try:
        connection.executescript(
            f"BEGIN IMMEDIATE; {steps}\n"
            f"PRAGMA user_version = {newest}; PRAGMA application_id = {APPLICATION_ID}; COMMIT;"
        )
    except sqlite3.Error as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise StoreError(f"{path}: cannot be brought to format {newest}, nothing was changed: {error}") from error
