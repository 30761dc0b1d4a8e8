"""One uplink's view of the outbox; implements ``gateway.outbound.OutboxReader``.

Positions live here in memory and ride along with commits that happen anyway; an acknowledgement alone waits up
to a second for one. After kill -9 the rows of that second are sent again, with the same message id.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from gateway.outbound import Batch, Row
from gateway.ranges import Ranges
from gateway.store.accounts import Outcome
from gateway.store.hands import Hands
from gateway.store.position import Position


class Accounts(Protocol):
    """See ``accountant.py``."""

    def note_drop(self, uplink: str, row: Row, reason: str) -> None:
        """It will not be sent; it is counted in the books when the position moves past it."""

    def count(self, uplink: str, delivered: Sequence[int], given_up: Sequence[Outcome]) -> None:
        """Count what became of rows, both in order, together with the position that is kept next."""


class Shelf(Protocol):
    """What a reader tells the outbox."""

    def keep(self, uplink: str, room: int, after: int, upto: int, is_acked: bool) -> None:
        """Rows between were acknowledged, or else will be sent: store it with the next commit, within a second, if it
        says something of rows on the disk."""

    def settle(self, room: int) -> None:
        """Rows of the class were acknowledged: answer what was not written yet."""

    def takes_over(self, uplink: str, names: tuple[str, ...]) -> bool:
        """Whether the uplink gets rows that were kept for these, see ``accounts.is_for``."""

    @property
    def accounts(self) -> Accounts:
        """Who counts what becomes of rows."""


class Pages(Protocol):
    """What a reader asks of the outbox; all as ``OutboxReader``."""

    async def read(self, uplink: str, room: int, after: int, upto: int, limit: int, max_bytes: int) -> Batch:
        """The rows are on their way from then on."""

    def has(self, room: int, after: int) -> bool: ...
    def depth(self, position: Position, after: int, upto: int) -> int: ...
    def cursor(self, position: Position) -> int: ...
    @property
    def newest(self) -> int: ...


class Reader:
    """See ``OutboxReader`` for the contract. Rows of the uplink's own making are not left out: acknowledge them."""

    __slots__ = (
        "_acked", "_handed", "_hands", "_limit", "_pages", "_promised", "_sent", "_shelf", "name", "on_rows",
    )  # fmt: skip

    def __init__(self, name: str, shelf: Shelf, pages: Pages, position: Position, last: int) -> None:
        self.name = name
        self.on_rows: Callable[[], None] | None = None
        self._shelf = shelf
        self._pages = pages
        self._hands = Hands()
        self._acked = list(position.acked)
        none = Ranges(((0, last),)) if last > 0 else Ranges()
        self._sent = [sent & none for sent in position.sent]  # what was promised and never came was not sent
        self._promised = list(position.sent)
        self._handed = list(position.acked)
        self._limit = 0

    async def read(self, room: int, after: int, upto: int, limit: int, max_bytes: int) -> Batch:
        """See the contract. Raises sqlite3.Error when the database cannot be read."""
        batch = await self._pages.read(self.name, room, after, upto, limit, max_bytes)
        if batch.rows:
            last = batch.rows[-1].seq
            self._limit = limit
            self._handed[room] = self._handed[room].add(after, last)
            self._take(room, batch.rows, after, last)
            if not self._promised[room].covers(after, last):
                # The allowance covers the next batch, so that handing it out needs no commit of its own.
                self._promised[room] = self._promised[room].add(after, last + limit)
                self._shelf.keep(self.name, room, after, last + limit, False)
        return batch

    def _take(self, room: int, rows: list[Row], after: int, last: int) -> None:
        name, known = self.name, self._acked[room]
        # Few different ones, and it is asked for each row.
        of = {row.uplinks for row in rows}
        mine_too = {names for names in of if name not in names and (not names or self._shelf.takes_over(name, names))}
        if mine_too:
            rows[:] = [row._replace(uplinks=(name,)) if row.uplinks in mine_too else row for row in rows]
        if all(name in names for names in of - mine_too):
            mine = [row.seq for row in rows]
        else:
            mine = [row.seq for row in rows if name in row.uplinks]
        if known.touches(after, last):
            mine = [seq for seq in mine if seq not in known]
        self._hands.give(room, mine)

    def has(self, room: int, after: int) -> bool:
        """See the contract."""
        return self._pages.has(room, after)

    def acknowledge(self, room: int, after: int, upto: int) -> None:
        """See the contract."""
        acked = self._acked[room]
        more = acked.add(after, upto)
        if more is not acked:
            self._acked[room] = more
            self._shelf.accounts.count(self.name, *self._hands.take(room, after, upto))
            # So that what is read next is promised by whatever commit comes before it is sent.
            self._handed[room] = handed = self._handed[room] | more
            self._promised[room] = self._promised[room].add(after, handed.reach(after) + self._limit)
            self._shelf.settle(room)
            self._shelf.keep(self.name, room, after, upto, True)

    def drop(self, row: Row, reason: str, room: int | None = None) -> None:
        """Count a row that this uplink will never send; ``room``: its class, if it was not read from here."""
        if room is not None:
            self._hands.give(room, (row.seq,))
        self._hands.give_up(row, reason)
        self._shelf.accounts.note_drop(self.name, row, reason)

    def acked(self, room: int) -> Ranges:
        """See the contract."""
        return self._acked[room]

    def possibly_sent(self, room: int) -> Ranges:
        """See the contract."""
        return self._sent[room]

    def depth(self, after: int, upto: int) -> int:
        """See the contract."""
        return self._pages.depth(self.position, after, upto)

    def wake(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when there are rows to read; one at a time, a new one takes its place."""
        self.on_rows = callback

    @property
    def newest(self) -> int:
        """See the contract."""
        return self._pages.newest

    @property
    def cursor(self) -> int:
        """See the contract."""
        return self._pages.cursor(self.position)

    @property
    def position(self) -> Position:
        """As it should be stored."""
        return Position(tuple(self._acked), tuple(self._promised))
