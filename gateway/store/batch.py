"""What one owner of tables does within one transaction, gathered in one object.

The outbox, the sessions, the queues each write many small things. Each owner has one ``Batch``: ``join`` gives its
changes of the transaction that gathers now, and makes them one work of the database when they are the first. So a
transaction runs one work, one savepoint and one answer for each owner, however many rows it holds, and what one
callback of the loop adds through several owners is committed together or not at all.

Until the transaction is handed to the thread, what was added may be taken out again: a row that is no longer needed
is never written.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from typing import Generic, TypeVar

from gateway.store.db import ITEM_BYTES, Database

C = TypeVar("C")
R = TypeVar("R")


def call_all(calls: Iterator[Callable[[], None]]) -> None:
    """Make every call, also when one of them meets a bug: the loop shows it, and the others follow."""
    try:
        for call in calls:
            call()
    except Exception:
        asyncio.get_running_loop().call_soon(call_all, calls)
        raise


class Batch(Generic[C, R]):
    """The changes of one owner.

    make   an empty object of changes
    apply  runs on the database's thread, inside the transaction: writes the changes, returns what was done
    done   called on the loop after the commit with the changes and (result, None), or (None, error) when nothing
           of them was kept
    leave  called on the loop with the changes before they are handed over, see ``db.Leave``
    """

    __slots__ = ("_apply", "_changes", "_database", "_done", "_leave", "_make", "_transaction")

    def __init__(
        self,
        database: Database,
        make: Callable[[], C],
        apply: Callable[[sqlite3.Connection, C], R],
        done: Callable[[C, R | None, BaseException | None], None],
        leave: Callable[[C, bool], Callable[[], None] | None] | None = None,
    ) -> None:
        self._database = database
        self._make = make
        self._apply = apply
        self._done = done
        self._leave = leave
        self._changes: C | None = None
        self._transaction = 0

    def join(self, size: int = ITEM_BYTES, within: float | None = None, items: int = 1) -> C:
        """The changes that gather now, with ``items`` more rows announced; ``size`` and ``within`` as in
        ``Database.write``, for all of them.

        Raises Refused (0x97) when too much is queued, StoreError when the database is closed; add nothing then.
        """
        database, changes = self._database, self.gathering
        if changes is not None:
            database.grow(size, within, items)
            return changes
        changes = self._make()

        def apply(connection: sqlite3.Connection) -> R:
            return self._apply(connection, changes)

        leave = None if self._leave is None else partial(self._leave, changes)
        database.write(apply, partial(self._done, changes), size=size, within=within, leave=leave)
        self._changes = changes
        self._transaction = database.transaction
        return changes

    @property
    def gathering(self) -> C | None:
        """The changes that have not been handed over yet, if there are any: rows may still be taken out of them."""
        return self._changes if self._transaction == self._database.transaction else None
