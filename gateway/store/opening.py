"""Opens the database file: is it ours, whole, and not newer than this program?

A new file is made beside its place and renamed, so that a power cut leaves either none or a whole one. An
existing one is first looked at through a read-only connection: what is damaged stays byte for byte as it was
found, log included. What to do then is up to ``rescue``; without it, every answer but yes is a ``StoreError``.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from gateway.durable import on_the_disk
from gateway.store.errors import Damaged, StoreError
from gateway.store.examine import first_problem
from gateway.store.log_damage import log_problem
from gateway.store.older_copy import compatible_from, fitting, go_back, keep, mark
from gateway.store.rescue import Rescue
from gateway.store.sql import compatible_from as declared_compatible
from gateway.store.sql import migrations
from gateway.store.transaction import is_lost

log = logging.getLogger("gateway.store")

PAGE_SIZE: Final = 1024
"""A commit writes whole pages; small ones write a third less than 4096 for rows of a few hundred bytes."""

LOG_BYTES: Final = 4 << 20
"""Length that the write-ahead log keeps: overwriting a file that has its length saves the file system's own
journal a write for each commit. Checkpoints come before it would grow past this."""

APPLICATION_ID: Final = 0x65677431
"""In the file's header, so that the database of another program is not taken for ours."""

BUSY_TIMEOUT: Final = 5.0
"""Seconds to wait for a reader outside the process (a backup, a shell) before a transaction fails."""

_ADVICE: Final = "move it away to start anew, or put a copy back"
_UNREADABLE: Final = {
    sqlite3.SQLITE_ERROR,  # "unsupported file format": nonsense in the header
    sqlite3.SQLITE_IOERR_READ,
    sqlite3.SQLITE_IOERR_SHORT_READ,
    sqlite3.SQLITE_IOERR_CORRUPTFS,
}
"""Of the errors that usually say nothing about the file's content, those that do: the card has lost a part of it."""

_MAGIC: Final = b"SQLite format 3\0"


def _silent() -> None:
    """Nobody wants to know how far it is."""


@contextmanager
def opened(
    path: Path, *, salvage: bool = False, progress: Callable[[], None] = _silent
) -> Iterator[sqlite3.Connection]:
    """The database at ``path`` for this process alone, made if it is missing, migrated if it is older.

    salvage   a damaged one is put into the quarantine, and what is readable of it into a fresh one; without it,
              a damaged one is an error and stays where it is
    progress  called now and then while that goes on

    The connection belongs to the calling thread. Raises StoreError.
    """
    rescue = Rescue(path, _create, migrations()[-1][0], PAGE_SIZE, progress=progress)
    try:
        with _locked(path):
            rescue.resume()
            go_back(path, migrations()[-1][0])
            try:
                _prepare(path)
            except Damaged as damaged:
                if not salvage:
                    raise
                rescue.run(damaged.problem)
                _prepare(path)
            suspicion(path).unlink(missing_ok=True)
            with closing(_connect(path)) as connection:
                _keep_for_older(connection, path, progress)
                _migrate(connection, path, migrations())
                _checkpoint_at_open(connection)
                yield connection
    except sqlite3.Error as error:
        if is_lost(error):
            suspect(path)
        raise StoreError(f"{path}: {error}") from error
    except OSError as error:
        raise StoreError(
            f"{path}: cannot be opened: {error.strerror}; check the state folder's owner and room"
        ) from error


def suspicion(path: Path) -> Path:
    """The file that tells the next start that damage was met: it then looks at everything, however long it takes."""
    return path.with_name(path.name + ".suspect")


def suspect(path: Path) -> None:
    """Let the next start look at everything. Where even that cannot be written, it looks at what it always does."""
    with suppress(OSError):
        suspicion(path).touch()


def _prepare(path: Path) -> None:
    _make_if_missing(path)
    _keep_log_long(path)
    _examine(path, whole=suspicion(path).exists())


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


def look_for_damage(path: Path, *, thorough: bool = False) -> None:
    """Look at everything in the database at ``path``, which a gateway may be using. Nothing is changed.

    thorough  also compare indexes with their tables

    Raises Damaged; StoreError for another program's database; sqlite3.Error and OSError when it cannot be read.
    """
    _look_at_head(path)
    _examine(path, whole=True, thorough=thorough)


def _look_at_head(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(4096)
    if not head.startswith(_MAGIC):
        what = "is empty" if not head else "holds only NUL bytes" if not head.strip(b"\0") else "is not a database"
        raise Damaged(f"{path}: {what}, nothing was changed; {_ADVICE}", what)


def _make_if_missing(path: Path) -> None:
    log = path.with_name(path.name + "-wal")
    if path.exists():
        _look_at_head(path)
        return
    if log.exists() and log.stat().st_size:
        # A new database would take the old one's log for its own.
        raise Damaged(
            f"{path}: is missing, but its log {log.name} is there; put the database back, or move both away",
            "is missing, but its log is there",
        )
    fresh = path.with_name(path.name + ".new")
    for ending in ("", "-wal", "-shm"):  # of a start that was cut short; it held nothing yet
        fresh.with_name(fresh.name + ending).unlink(missing_ok=True)
    with closing(_connect(fresh)) as connection:
        _migrate(connection, fresh, migrations())
    fresh.rename(path)
    on_the_disk(path.parent)


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


def _examine(path: Path, *, whole: bool, thorough: bool = False) -> None:
    """Raise StoreError when the file is damaged or not ours. Read-only: closing it cannot move the log."""
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT)
        ) as connection:
            problem = first_problem(connection, whole=whole, thorough=thorough) or log_problem(path)
            owner = connection.execute("PRAGMA application_id").fetchone()[0]
            if problem is None and owner != APPLICATION_ID:
                if _owner_in_file(path) == APPLICATION_ID:
                    raise Damaged(f"{path}: its log is another database's; {_ADVICE}", "its log is another database's")
                raise StoreError(f"{path}: is the database of another program (id {owner:#x}); {_ADVICE}")
    except UnicodeDecodeError as error:  # in the words of SQLite about names that are noise
        problem = str(error)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode not in _UNREADABLE:
            raise
        problem = str(error)
    if problem:
        raise Damaged(f"{path}: is damaged ({problem}), nothing was changed; {_ADVICE}", problem)


def _owner_in_file(path: Path) -> int:
    """The application id (file format, section 1.3.15) as it stands in the file, whatever its log says."""
    with path.open("rb") as file:
        return int.from_bytes(file.read(72)[68:], "big")


def _create(path: Path, version: int) -> sqlite3.Connection:
    connection = _connect(path)
    _migrate(connection, path, migrations()[:version])
    return connection


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


def _keep_for_older(connection: sqlite3.Connection, path: Path, progress: Callable[[], None]) -> None:
    """Before a migration after which a program that can open the database now could not: a copy for it."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    scripts = migrations()
    if version < scripts[-1][0] and declared_compatible(scripts) > compatible_from(connection):
        keep(connection, path, progress)


def _migrate(connection: sqlite3.Connection, path: Path, scripts: list[tuple[int, str]]) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    newest = scripts[-1][0]
    if version > newest:
        if compatible_from(connection) <= newest:
            log.warning("database of a newer gateway", extra={"format": version, "known": newest})
            return
        copy = fitting(path, newest)
        way = "move the file away to start anew"
        if copy is not None:
            way = f"make the empty file {mark(path).name} beside it to go on with {copy.name}, which is from before"
        raise StoreError(
            f"{path}: was written by a newer gateway (format {version}, this one knows up to {newest}); "
            f"install that version again, or {way}"
        )
    steps = "\n".join(text for number, text in scripts if number > version)
    if not steps:
        return
    try:
        connection.executescript(
            f"BEGIN IMMEDIATE; {steps}\nDROP VIEW IF EXISTS compatible_from;\n"
            f"CREATE VIEW compatible_from AS SELECT {declared_compatible(scripts)} AS lowest, {newest} AS format;\n"
            f"PRAGMA user_version = {newest}; PRAGMA application_id = {APPLICATION_ID}; COMMIT;"
        )
    except sqlite3.Error as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise StoreError(f"{path}: cannot be brought to format {newest}, nothing was changed: {error}") from error
