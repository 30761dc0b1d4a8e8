"""One uplink's view of the outbox; implements ``gateway.outbound.OutboxReader``.

Positions live here in memory and ride along with commits that happen anyway; an acknowledgement alone waits up
to a second for one. After kill -9 the rows of that second are sent again, with the same message id.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from gateway.outbound import Row
from gateway.store.accounts import Outcome
from gateway.store.handed import Handed


class Accounts(Protocol):
    """See ``accountant.py``."""

    def note_drop(self, uplink: str, row: Row, reason: str) -> None:
        """It will not be sent; it is counted in the books when the position moves past it."""

    def count(self, uplink: str, outcomes: Sequence[Outcome]) -> None:
        """Count what became of rows, together with the position that is kept next."""


class Shelf(Protocol):
    """What a reader needs of the outbox."""

    async def read(self, uplink: str, after: int, limit: int, max_bytes: int) -> list[Row]:
        """Rows behind ``after``, which are on their way from then on."""

    def keep_position(self, uplink: str, acked: int, sent: int) -> None:
        """Store it with the next commit, within a second."""

    def takes_over(self, names: tuple[str, ...]) -> bool:
        """Whether rows kept for these are for everybody, see ``accounts.is_for``."""

    @property
    def accounts(self) -> Accounts:
        """Who counts what becomes of rows."""


class Reader:
    """See ``OutboxReader`` for the contract. Rows of the uplink's own making are not left out: acknowledge them."""

    __slots__ = ("name", "acked", "on_rows", "possibly_sent", "_handed", "_held", "_limit", "_promised", "_shelf")

    def __init__(self, name: str, shelf: Shelf, acked: int, sent: int) -> None:
        self.name = name
        self.acked = acked
        self.possibly_sent = sent
        self.on_rows: Callable[[], None] | None = None
        self._shelf = shelf
        self._handed = acked
        self._held = Handed()
        self._limit = 0
        self._promised = sent

    async def read(self, after: int, limit: int, max_bytes: int) -> list[Row]:
        """Rows with ``seq > after``. Raises sqlite3.Error when the database cannot be read."""
        rows = await self._shelf.read(self.name, after, limit, max_bytes)
        if rows:
            rows = [self._addressed(row) for row in rows]
            self._held.give(row.seq for row in rows if self.name in row.uplinks)
            self._handed = max(self._handed, rows[-1].seq)
            self._limit = limit
            if self._handed > self._promised:
                self._keep()
        return rows

    def _addressed(self, row: Row) -> Row:
        if self.name in row.uplinks or (row.uplinks and not self._shelf.takes_over(row.uplinks)):
            return row
        return row._replace(uplinks=(self.name,))

    def acknowledge(self, seq: int) -> None:
        """The cloud has, or will never get, every row up to ``seq``."""
        if seq > self.acked:
            after, self.acked = self.acked, seq
            self._shelf.accounts.count(self.name, self._held.take(after, seq))
            self._keep()

    def drop(self, row: Row, reason: str) -> None:
        """Count a row that this uplink will never send."""
        if row.seq > self.acked:
            self._held.give_up(row, reason)
            self._shelf.accounts.note_drop(self.name, row, reason)

    @property
    def cursor(self) -> int:
        """Last number acknowledged; after a start, as stored."""
        return self.acked

    def wake(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when there are rows to read; one at a time, a new one takes its place."""
        self.on_rows = callback

    def _keep(self) -> None:
        # The allowance covers the next batch, so that handing it out needs no commit of its own.
        self._promised = max(self._handed, self.acked) + self._limit
        self._shelf.keep_position(self.name, self.acked, self._promised)

    @property
    def handed(self) -> int:
        """The last number given out."""
        return self._handed

    @property
    def position(self) -> tuple[int, int]:
        """(acked, possibly sent) as it should be stored."""
        return self.acked, self._promised
