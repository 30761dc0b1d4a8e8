"""Rows of the outbox in their order, and how many of them the broker has read. All that knows the outbox's protocol.

A row is *taken* when it was sent, told by a birth, or dropped; it is acknowledged to the outbox when the broker has
confirmed everything that was sent up to it. What a lost connection leaves unconfirmed is read again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from gateway.uplinks.base import OutboxReader, Row

READ_ROWS: Final = 256
READ_BYTES: Final = 256 * 1024
"""One batch from the outbox."""


class Intake:
    """One object for all connections of an uplink. ``rows`` are those read and not taken yet."""

    def __init__(self, reader: OutboxReader, on_rows: Callable[[], None]) -> None:
        self.rows: deque[Row] = deque()
        self.unconfirmed = 0
        self.confirmed = 0
        self._reader = reader
        self._on_rows = on_rows
        self._started = False
        self._read_to = 0
        self._taken_to = 0
        self._pending: deque[int] = deque()
        self._more = True
        self._commits = 0

    def begin(self) -> None:
        """A connection begins: everything that was not confirmed comes again."""
        if not self._started:
            self._started = True
            self._reader.wake(self._woken)
        self.rows.clear()
        self._pending.clear()
        self.unconfirmed = 0
        self._read_to = self._taken_to = self._reader.cursor
        self._more = True

    @property
    def idle(self) -> bool:
        """Whether there is no row that was not taken."""
        return not self.rows and not self._more

    @property
    def cursor(self) -> int:
        """The last row that the broker has confirmed."""
        return self._reader.cursor

    async def read(self) -> None:
        """Fill ``rows``; call it when they are empty and ``idle`` is False."""
        commits = self._commits
        found = await self._reader.read(self._read_to, READ_ROWS, READ_BYTES)
        # A commit while the read was under way may have added what it did not see.
        self._more = bool(found) or self._commits != commits
        if found:
            self._read_to = found[-1].seq
            self.rows.extend(found)

    def take(self) -> Row:
        """The next row; from here on it counts as unconfirmed."""
        row = self.rows.popleft()
        self._taken_to = row.seq
        self._pending.append(row.seq)
        self.unconfirmed += 1
        return row

    def drop(self, row: Row, reason: str) -> None:
        """A row that is never sent, counted under ``reason``."""
        self._reader.drop(row, reason)

    @property
    def mark(self) -> int:
        """Stands for everything taken so far; give it to ``confirm``."""
        return self._taken_to

    def confirm(self, mark: int) -> None:
        """The broker has read everything up to ``mark``."""
        while self._pending and self._pending[0] <= mark:
            self._pending.popleft()
            self.unconfirmed -= 1
            self.confirmed += 1
        if mark > self._reader.cursor:
            self._reader.acknowledge(mark)

    def _woken(self) -> None:
        self._commits += 1
        self._more = True
        self._on_rows()
