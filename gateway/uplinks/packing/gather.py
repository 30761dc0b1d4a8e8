"""Rows that wait for others to share a parcel with: until they are many, large, or the first has waited long enough.

Pure: time is passed in, and ``due`` says when to ask again.
"""

from __future__ import annotations

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

    def has_room(self, size: int) -> bool:
        """Whether a row of ``size`` bytes (topic and payload) belongs to these, or must wait until they are taken. The
        first always has room."""
        batch = self._batch
        return not self._entries or (len(self._entries) < batch.rows and self._bytes + size <= batch.bytes)

    def add(self, entry: Entry, now: float) -> None:
        """The next row. ``now``: monotonic, seconds."""
        if not self._entries:
            self._since = now
        self._entries.append(entry)
        self._bytes += entry.size

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
