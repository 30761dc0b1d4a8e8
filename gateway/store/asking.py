"""Questions to the database that are asked again until they are answered.

A machine that waits for a read has nobody to tell that it failed, and would wait for ever. A disk that fails to read
once (a bus that was reset, memory that was short) may well read a moment later; a file that is damaged ends the
process, see ``Database``.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from gateway.store.db import Database
from gateway.store.errors import StoreError
from gateway.store.transaction import is_lost

log = logging.getLogger("gateway.store")

FIRST_WAIT: Final = 0.5
LONGEST_WAIT: Final = 30.0
"""Seconds until a read that failed is tried again: each time twice as long."""

Later = Callable[[float, Callable[[], None]], object]
"""Calls back after so many seconds."""


def ask_until_answered(
    database: Database,
    later: Later,
    work: Callable[[sqlite3.Connection], Any],
    got: Callable[[Any], None],
    wait: float = FIRST_WAIT,
) -> None:
    """Run ``work``, which changes nothing, and hand what it found to ``got``, on the loop.

    ``got`` is not called when the database is closed first. A bug in ``work`` is raised on the loop.
    """

    def answer(found: Any, error: BaseException | None) -> None:
        if error is None:
            got(found)
        elif isinstance(error, sqlite3.Error) and not is_lost(error):
            log.warning("queue not read", extra={"error": str(error), "again_in": wait})
            later(wait, again)
        elif not isinstance(error, (StoreError, sqlite3.Error)):
            raise error

    def again() -> None:
        ask_until_answered(database, later, work, got, min(2 * wait, LONGEST_WAIT))

    with suppress(StoreError):  # closed: nobody waits any more
        database.ask(work, answer)
