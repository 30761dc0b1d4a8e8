"""The newest committed rows in memory, so that an uplink that keeps up needs no SELECT.

A copy and nothing more: ``read`` gives what the table would give, or says that it does not know.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Final

from gateway.outbound import Row

TAIL_BYTES: Final = 1 << 20

ROW_BYTES: Final = 200
"""What a row costs beside its topic and payload: the tuple, its numbers, its share of a page."""


def size_of(row: Row) -> int:
    """Bytes that a row counts for; properties are small and counted by the outbox only."""
    return ROW_BYTES + len(row.topic) + len(row.payload)


def take(rows: Iterable[Row], limit: int, max_bytes: int) -> list[Row]:
    """The first of ``rows``: at most ``limit``, about ``max_bytes`` of payload, at least one if there is one."""
    taken: list[Row] = []
    room = max_bytes
    for row in islice(rows, limit):
        room -= len(row.payload)
        if room < 0 and taken:
            break
        taken.append(row)
    return taken


class Tail:
    """Rows without a gap, the newest committed one last."""

    __slots__ = ("_bytes", "_max_bytes", "_rows", "_start")

    def __init__(self, max_bytes: int = TAIL_BYTES) -> None:
        self._max_bytes = max_bytes
        self._rows: list[Row] = []
        self._start = 0  # rows before it are forgotten; a list is cut rarely, not for each row
        self._bytes = 0

    def append(self, rows: list[Row]) -> None:
        """Add freshly committed rows, in order."""
        if rows and len(self._rows) > self._start and rows[0].seq != self._rows[-1].seq + 1:
            self._rows, self._start, self._bytes = [], 0, 0
        self._rows += rows
        self._bytes += sum(map(size_of, rows))
        while self._bytes > self._max_bytes:
            self._forget_first()
        self._cut()

    def forget(self, seq: int) -> None:
        """Rows up to ``seq`` have left the table, or nobody needs them any more."""
        while self._start < len(self._rows) and self._rows[self._start].seq <= seq:
            self._forget_first()
        self._cut()

    def read(self, after: int, limit: int, max_bytes: int) -> list[Row] | None:
        """As ``OutboxReader.read``; None when the first row wanted is not here: ask the table."""
        if self._start == len(self._rows):
            return None
        skip = after + 1 - self._rows[self._start].seq
        if skip < 0:
            return None
        first = self._start + skip
        return take(self._rows[first : first + limit], limit, max_bytes)

    def _forget_first(self) -> None:
        self._bytes -= size_of(self._rows[self._start])
        self._start += 1

    def _cut(self) -> None:
        if self._start * 2 >= len(self._rows):
            del self._rows[: self._start]
            self._start = 0
