"""Every command once: the ledger that a command desk asks before it acts, and tells afterwards.

``begin`` is committed before it returns, so a command that acted was known before it acted. A stop between the
write and its answer leaves the entry ``open``; whoever starts next finds it with ``open_entries`` and answers
for it. ``journal`` shows what was asked, by whom, and what became of it. The ledger carries nothing out itself and
decides nothing about time limits.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Awaitable, Mapping
from typing import Any, Final, TypeVar

from gateway.clock import EARLIEST, Clock
from gateway.errors import Refused
from gateway.message import Value, dump_json
from gateway.store.boots import Boots
from gateway.store.db import Database
from gateway.store.errors import StoreError
from gateway.store.sql import SQL

T = TypeVar("T")

MAX_ENTRIES: Final = 10_000
MAX_AGE: Final = 30 * 86_400.0
"""Seconds. A cloud that repeats a command after this, or after ten thousand others, would act twice."""

LONGEST_ASKED: Final = 1024
"""Characters of JSON that are kept of what was asked for."""

LONGEST_SOURCE: Final = 256
"""Characters that are kept of who asked: a client id may have thousands."""

_PRUNE_STEP: Final = 20
"""Old entries looked at for each new one: the work of a ``begin`` is bounded, and it still catches up."""


class Ledger:
    """Commands by (device, id), bounded by count and age.

    boots  this start, once it is known: by it commands age on the clock that never steps
    """

    def __init__(
        self, database: Database, clock: Clock, *, max_entries: int = MAX_ENTRIES, max_age: float = MAX_AGE
    ) -> None:
        self.boots: Boots | None = None
        self._database = database
        self._clock = clock
        self._max_entries = max_entries
        self._max_age = max_age

    async def begin(self, device: str, id: str, point: str, value: Value = None, by: str = "") -> dict[str, Any] | None:
        """None: new, now open, and committed; carry it out. Else what is known of it, ``{"status": ..., "value" |
        "reason": ...}``: answer again, do not act. ``value`` (what is asked for) and ``by`` (who asks) are for the
        journal. Raises Refused (0x97) when the store is behind, StoreError when
        it could not be kept: do not act.
        """
        boots = self.boots
        asked = dump_json(value).decode()
        if len(asked) > LONGEST_ASKED:
            asked = dump_json(f"{asked[: LONGEST_ASKED - 3]}...").decode()
        stamp = {"time": self._clock.time(), "boot": 0, "up": 0.0}
        if boots is not None:
            stamp |= {"boot": boots.number, "up": boots.uptime()}

        def work(connection: sqlite3.Connection) -> dict[str, Any] | None:
            known = connection.execute(SQL["command_find"], {"device": device, "id": id}).fetchone()
            if known is not None:
                status, result = known
                return {"status": status, **json.loads(result)}
            entry = {"device": device, "id": id, "point": point, "asked": asked, "source": by[:LONGEST_SOURCE]}
            connection.execute(SQL["command_open"], {**entry, **stamp})
            self._prune(connection)
            return None

        return await _kept(self._database.commit(work))

    async def finish(self, device: str, id: str, status: str, result: Mapping[str, Any]) -> None:
        """Keep the outcome of an open command, committed when it returns; an outcome that is there already stays.

        status is ``done``, ``rejected``, ``expired`` or ``failed``; result holds ``value`` or ``reason``. Raises as
        ``begin`` does.
        """
        parameters = {"device": device, "id": id, "status": status, "result": dump_json(dict(result)).decode()}
        await _kept(
            self._database.commit(lambda connection: connection.execute(SQL["command_finish"], parameters).rowcount)
        )

    async def journal(self, device: str | None, limit: int) -> list[dict[str, Any]]:
        """The newest ``limit`` commands, of one device or of all, newest first: when (wall clock, seconds since 1970,
        as it stood then), device, point, id, who sent it, what was asked for, status, and value or reason."""

        def work(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
            return connection.execute(SQL["command_journal"], {"device": device, "limit": limit}).fetchall()

        return [
            {
                "time": time,
                "device": name,
                "point": point,
                "id": id,
                "by": source,
                "asked": json.loads(asked),
                "status": status,
                **json.loads(result),
            }
            for time, name, point, id, source, asked, status, result in await _kept(self._database.read(work))
        ]

    def commands(self) -> dict[str, Any]:
        """What the control socket offers."""
        return {"journal": self._shown}

    async def _shown(self, request: Mapping[str, Any]) -> list[dict[str, Any]]:
        limit = request.get("limit")
        if not isinstance(limit, int) or not 1 <= limit <= self._max_entries:
            raise Refused(f"limit must be between 1 and {self._max_entries}")
        return await self.journal(request.get("device"), limit)

    async def open_entries(self, device: str) -> list[tuple[str, str]]:
        """(id, point) of the commands that the last stop left without an answer, oldest first; ask before ``begin``."""

        def work(connection: sqlite3.Connection) -> list[tuple[str, str]]:
            return connection.execute(SQL["command_unfinished"], {"device": device}).fetchall()

        return await _kept(self._database.read(work))

    def _prune(self, connection: sqlite3.Connection) -> None:
        connection.execute(SQL["command_prune_count"], {"keep": self._max_entries})
        for n, time, boot, up in connection.execute(SQL["command_oldest"], {"step": _PRUNE_STEP}).fetchall():
            if self._age(time, boot, up) > self._max_age:
                connection.execute(SQL["command_delete"], {"n": n})

    def _age(self, time: float, boot: int, up: float) -> float:
        """Seconds; 0 when no clock can tell."""
        if boot and self.boots is not None:
            return self.boots.age(boot, up) or 0.0
        # Entered without a start. Times from before the clock was set say nothing.
        now = min(self._clock.time(), self._clock.surely(self._clock.now()))
        return now - time if time >= EARLIEST else 0.0


async def _kept(outcome: Awaitable[T]) -> T:
    try:
        return await outcome
    except sqlite3.Error as error:
        raise StoreError(f"the store cannot keep the command: {error}") from error
