"""Numbers that go on over restarts, by name."""

from __future__ import annotations

import sqlite3

from gateway.store.db import Database
from gateway.store.sql import SQL


class Counters:
    """See ``next``. Built without I/O."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def next(self, name: str, modulus: int) -> int:
        """The next number of a counter, once it is safe: 0 at first, and 0 again after ``modulus - 1``.

        Raises what ``Database.commit`` raises.
        """

        def work(connection: sqlite3.Connection) -> int:
            number: int = connection.execute(SQL["counter_next"], {"name": name, "modulus": modulus}).fetchone()[0]
            return number

        return await self._database.commit(work)
