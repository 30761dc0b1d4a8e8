"""The bytes that uplinks have cost, kept over restarts: at most a minute of them is lost to kill -9."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import suppress
from typing import Final, NamedTuple

from gateway.errors import GatewayError
from gateway.store.batch import Batch
from gateway.store.db import Database
from gateway.store.sql import SQL

log = logging.getLogger("gateway.store")

WITHIN: Final = 15.0
"""Seconds that a count may wait for a transaction that comes anyway; who counts asks every half a minute."""


class Used(NamedTuple):
    """One row, see the table."""

    uplink: str
    period: str
    begin: float
    bytes: int
    seen: float
    level: int


class UsageStore:
    """The table ``uplink_usage``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._batch: Batch[dict[tuple[str, str, float], Used], None] = Batch(database, dict, _apply, _committed)

    async def load(self) -> list[Used]:
        """All that is known. Raises what ``Database.read`` raises."""
        return await self._database.read(
            lambda connection: [Used(*row) for row in connection.execute(SQL["usage_all"])]
        )

    def keep(self, used: Used) -> None:
        """Store one period as it is, with a commit of the next seconds. A disk that takes nothing has it with the next
        call."""
        with suppress(GatewayError):
            self._batch.join(0, WITHIN)[used.uplink, used.period, used.begin] = used


def _apply(connection: sqlite3.Connection, changes: dict[tuple[str, str, float], Used]) -> None:
    connection.executemany(SQL["usage_keep"], list(changes.values()))
    for used in changes.values():
        if used.begin:
            connection.execute(SQL["usage_prune"], {"uplink": used.uplink, "period": used.period, "begin": used.begin})


def _committed(changes: dict[tuple[str, str, float], Used], result: None, error: BaseException | None) -> None:
    if error is not None:
        log.warning("bytes of the uplinks were not stored; the next count has them", extra={"reason": str(error)})
