"""What rules keep over a restart: the table ``rule_state``, values by name."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from gateway.errors import GatewayError
from gateway.message import Value, dump_json
from gateway.store.batch import Batch
from gateway.store.db import Database
from gateway.store.sql import SQL

log = logging.getLogger("gateway.store")

WITHIN: Final = 1.0
"""Seconds that a change may wait for a transaction that comes anyway: at most so much is lost to kill -9."""


class RuleStateStore:
    """The table ``rule_state``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._batch: Batch[dict[str, Value], None] = Batch(database, dict, _apply, self._committed)
        self.failed: dict[str, Value] = {}
        """What the disk did not take; it goes with the next changes."""

    async def load(self) -> dict[str, Value]:
        """All that is kept; a value that is no JSON any more is left out. Raises what ``Database.read`` raises."""
        rows = await self._database.read(lambda connection: connection.execute(SQL["rule_state_all"]).fetchall())
        found: dict[str, Value] = {}
        for name, text in rows:
            with suppress(ValueError, RecursionError):
                found[name] = json.loads(text)
        return found

    def keep(self, changes: Mapping[str, Value]) -> None:
        """Store values by name, None for those to be forgotten, with a commit of the next second."""
        wanted = {**self.failed, **changes}
        if not wanted:
            return
        try:
            self._batch.join(0, WITHIN).update(wanted)
        except GatewayError:
            self.failed = wanted
        else:
            self.failed = {}

    def _committed(self, changes: dict[str, Value], result: None, error: BaseException | None) -> None:
        if error is not None:
            log.warning("what rules keep was not stored; it is tried again", extra={"reason": str(error)})
            self.failed = {**changes, **self.failed}


def _apply(connection: sqlite3.Connection, changes: dict[str, Value]) -> None:
    for name, value in changes.items():
        if value is None:
            connection.execute(SQL["rule_state_forget"], (name,))
        else:
            connection.execute(SQL["rule_state_put"], (name, dump_json(value).decode()))
