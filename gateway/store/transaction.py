"""Many works in one transaction: each one's own error stays its own, the transaction's error is everybody's.

A *work* takes the connection and returns what its owner wants to know. It runs inside a savepoint, so that it
leaves all of its changes or none. It must not begin or end a transaction, and must read its cursors to the end.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from gateway.store.errors import StoreError

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

NO_ROOM: Final = sqlite3.SQLITE_FULL
UNWRITABLE: Final = {NO_ROOM, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}
"""Primary result codes of a disk that takes nothing."""

_LOST: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_NOBODYS_FAULT: Final = _LOST | {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_BUSY,
}
"""Primary result codes that say something about the database and nothing about the work that met them."""


class Outcome(NamedTuple):
    """What became of one work: its result, or why it was not done. Results count only after the commit."""

    result: Any
    error: BaseException | None


def commit(connection: sqlite3.Connection, works: Sequence[Work[Any]]) -> list[Outcome]:
    """Run ``works`` in order in one transaction and commit it; one outcome for each.

    After a failed commit every outcome is the same error, and nothing was changed.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
        outcomes = [_apart(connection, work) for work in works]
        connection.execute("COMMIT")
    except (sqlite3.Error, StoreError) as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        return [Outcome(None, error)] * len(works)
    return outcomes


def read(connection: sqlite3.Connection, work: Work[Any]) -> Outcome:
    """Run one work that changes nothing, outside any transaction."""
    try:
        return Outcome(work(connection), None)
    except Exception as error:  # it belongs to whoever asked, whatever it is
        return Outcome(None, error)


def _apart(connection: sqlite3.Connection, work: Work[Any]) -> Outcome:
    connection.execute("SAVEPOINT work")
    try:
        result = work(connection)
    except Exception as error:  # it belongs to whoever gave the work, whatever it is
        if primary_code(error) in _NOBODYS_FAULT:
            raise
        if not connection.in_transaction:
            raise StoreError(f"the transaction was lost inside one of its works: {error}") from error
        connection.execute("ROLLBACK TO work")
        connection.execute("RELEASE work")
        return Outcome(None, error)
    connection.execute("RELEASE work")
    return Outcome(result, None)


def primary_code(error: BaseException | None) -> int | None:
    """SQLite's result code behind an error, without its extension; None when it is not SQLite's."""
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None


def is_lost(error: BaseException | None) -> bool:
    """Whether the error says that the database is damaged: no later transaction can be trusted."""
    return primary_code(error) in _LOST
