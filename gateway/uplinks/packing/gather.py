"""Rows that wait for others to share a parcel with: until they are many, large, or the first has waited long enough.

Pure: time is passed in, and ``due`` says when to ask again.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.outbound import Row
from gateway.uplinks.packing.batch import Batch
from gateway.uplinks.packing.entry import Entry


class Gathering:
    """The rows of one parcel to come, in order; all of one class."""

    __slots__ = ("_batch", "_bytes", "_entries", "_since")

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._entries: list[Entry] = []
        self._bytes = 0
        self._since = 0.0

    @property
    def first(self) -> Row | None:
        """The row that waits for longest."""
        return self._entries[0].row if self._entries else None

    def add(self, entry: Entry, now: float) -> bool:
        """The next row, at ``now`` (monotonic clock); False when it has no room beside these and must wait until they
        are taken. The first always has room."""
        entries, batch = self._entries, self._batch
        size = self._bytes + len(entry.topic) + len(entry.row.payload)
        if not entries:
            self._since = now
        elif len(entries) >= batch.rows or size > batch.bytes:
            return False
        entries.append(entry)
        self._bytes = size
        return True

    def add_all(self, entries: Sequence[Entry], now: float) -> bool:
        """The next rows at once; False, and none is taken, when there is no room for all of them."""
        size = self._bytes + sum([len(entry[1]) + len(entry[0][3]) for entry in entries])
        if len(self._entries) + len(entries) > self._batch.rows or size > self._batch.bytes:
            return False
        if not self._entries:
            self._since = now
        self._entries += entries
        self._bytes = size
        return True

    @property
    def room(self) -> int:
        """How many rows are wanted beside these."""
        return self._batch.rows - len(self._entries)

    def due(self, factor: float = 1) -> float | None:
        """When the rows must be taken (monotonic clock), even if there is room for more; None while there is none."""
        if not self._entries:
            return None
        is_full = len(self._entries) >= self._batch.rows or self._bytes >= self._batch.bytes
        return self._since if is_full else self._since + self._batch.wait * factor

    def take(self) -> list[Entry]:
        """The rows; none is left."""
        entries, self._entries = self._entries, []
        self._bytes = 0
        return entries
