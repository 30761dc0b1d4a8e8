"""Messages of the outbox's own: each for one uplink, of the class ``result``."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gateway.broker.port import Done
from gateway.message import Message
from gateway.outbound import RESULT
from gateway.store.changes import Changes
from gateway.store.db import Database
from gateway.store.intake import Intake, Lane


class Posts:
    """``bits``: of the uplinks, see ``Head.need``; ``join``: the changes that gather, raises StoreError when the
    database is closed."""

    def __init__(
        self, database: Database, intake: Intake, bits: Callable[[], Mapping[str, int]], join: Callable[[], Changes]
    ) -> None:
        self._database = database
        self._intake = intake
        self._bits = bits
        self._join = join

    def post(
        self, uplink: str, message: Message, done: Done | None, mark: Callable[[int], str] | None = None
    ) -> int | None:
        """Keep a message; its number, None when it cannot be kept.

        ``done`` is as for ``Subscriber.deliver``. ``mark`` takes the number and gives what the ledger that this is has
        said, which is written together with it.
        """
        before = self._intake.block.last
        Lane(self._intake, message.topic, RESULT, [(self._bits()[uplink], uplink)]).deliver(message, done)
        row = self._intake.block.last
        if row == before:
            return None
        if mark is not None:
            changes = self._join()
            changes.must = True
            changes.marks[uplink] = mark(row)
        return row

    def write_books(self, done: Callable[[BaseException | None], None]) -> None:
        """Write whatever waits; ``done`` is called with None, or why that failed. Raises StoreError when the database
        is closed."""
        self._join().must = True
        self._database.write(lambda connection: None, lambda _, error: done(error), size=0, within=0)
