"""Rows of the outbox, and how many of them the broker has read. All that knows the outbox's protocol.

What comes after the connection has begun is *live* and goes before what was there, the *backlog*; both class by class,
the urgent ones first, each in order.

A row is *taken* when it was sent, told by a birth, or dropped; it is acknowledged to the outbox when the broker has
confirmed everything that was sent up to it. What a lost connection leaves unconfirmed is read again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from gateway.outbound import BY_URGENCY, LAST
from gateway.uplinks.base import OutboxReader, Row

READ_ROWS: Final = 256
READ_BYTES: Final = 256 * 1024
"""One batch from the outbox."""

MOST_STRETCHES: Final = 8
"""Acknowledged stretches of a class with which live rows still go first; with more, everything goes in order, so that
no further one comes to be."""


class _Run:
    """Rows of one class with ``after < seq <= upto``, in order. ``taken`` and ``acked``: up to there.
    ``more``: whether to look for some that were not read."""

    __slots__ = ("room", "upto", "read_to", "taken", "acked", "rows", "more")

    def __init__(self, room: int, after: int, upto: int) -> None:
        self.room = room
        self.upto = upto
        self.read_to = self.taken = self.acked = after
        self.rows: deque[Row] = deque()
        self.more = True


class Intake:
    """One object for all connections of the uplink ``name``. ``date``: puts a row's time right."""

    def __init__(
        self, name: str, reader: OutboxReader, on_rows: Callable[[], None], date: Callable[[Row], Row]
    ) -> None:
        self._name = name
        self._date = date
        self.unconfirmed = 0
        self.confirmed = 0
        self._reader = reader
        self._on_rows = on_rows
        self._started = False
        self._runs: list[_Run] = []
        self._taken = self._wakes = 0
        self._marks: deque[tuple[int, list[tuple[_Run, int]]]] = deque()

    def begin(self) -> None:
        """A connection begins: everything that was not confirmed comes again."""
        if not self._started:
            self._started = True
            self._reader.wake(self._woken)
        begins = self._reader.newest
        live, backlog = [], []
        for room in BY_URGENCY:
            gaps = self._reader.acked(room).gaps(0, begins)
            if len(gaps) > MOST_STRETCHES:
                backlog.append(_Run(room, gaps[0][0], LAST))
            else:
                live.append(_Run(room, begins, LAST))
                backlog += [_Run(room, after, upto) for after, upto in gaps]
        self._runs = live + backlog
        self._marks.clear()
        self.unconfirmed = 0

    @property
    def newest(self) -> int:
        """Number of the newest row in the outbox."""
        return self._reader.newest

    @property
    def cursor(self) -> int:
        """Everything up to here is confirmed."""
        return self._reader.cursor

    @property
    def idle(self) -> bool:
        """Whether there is no row that was not taken."""
        return self.first is None and not self.must_read

    @property
    def first(self) -> Row | None:
        """The next row, if it has been read."""
        run = next((run for run in self._runs if run.rows or self._wants(run)), None)
        return run.rows[0] if run is not None and run.rows else None

    @property
    def must_read(self) -> bool:
        """Whether ``read`` is needed to know the next row."""
        run = next((run for run in self._runs if run.rows or self._wants(run)), None)
        return run is not None and not run.rows

    def _wants(self, run: _Run) -> bool:
        return run.more and run.read_to < run.upto and self._reader.has(run.room, run.read_to)

    def _woken(self) -> None:
        self._wakes += 1
        for run in self._runs:
            run.more = True
        self._on_rows()

    async def read(self) -> None:
        """Read what comes next; call it when ``must_read`` says so."""
        run = next((run for run in self._runs if not run.rows and self._wants(run)), None)
        if run is None:
            return
        wakes, read_to = self._wakes, run.read_to
        batch = await self._reader.read(run.room, read_to, run.upto, READ_ROWS, READ_BYTES)
        run.read_to = max(read_to, batch.reached)
        # A commit while the read was under way may have added what it did not see.
        run.more = run.read_to > read_to or self._wakes != wakes
        acked = self._reader.acked(run.room)
        run.rows.extend(row for row in batch.rows if row.seq not in acked and self._is_mine(row))
        if not run.rows:
            run.taken = run.read_to

    def take(self) -> Row:
        """The next row, which is there; from here on it counts as unconfirmed."""
        run = next(run for run in self._runs if run.rows)
        row = run.rows.popleft()
        # What lies between rows of the class is not of it: behind the last row that was read, too.
        run.taken = row.seq if run.rows else run.read_to
        self._taken += 1
        self.unconfirmed += 1
        return self._date(row)

    def _is_mine(self, row: Row) -> bool:
        return not row.uplinks or self._name in row.uplinks

    def drop(self, row: Row, reason: str) -> None:
        """A row that is never sent, counted under ``reason``."""
        self._reader.drop(row, reason)

    def mark(self) -> int:
        """A number for everything taken so far; give it to ``confirm``."""
        self._marks.append((self._taken, [(run, run.taken) for run in self._runs if run.taken > run.acked]))
        return self._taken

    def confirm(self, mark: int) -> None:
        """The broker has read everything that was taken before ``mark`` was given."""
        while self._marks and self._marks[0][0] <= mark:
            taken, runs = self._marks.popleft()
            for run, upto in runs:
                if upto > run.acked:
                    self._reader.acknowledge(run.room, run.acked, upto)
                    run.acked = upto
            read = self.unconfirmed - (self._taken - taken)
            self.unconfirmed -= read
            self.confirmed += read
