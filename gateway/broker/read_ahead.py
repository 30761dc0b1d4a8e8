"""Messages behind a position, read from the shelf in bounded batches before somebody wants them.

A reader that keeps up gets fresh messages without a look at the disk: what is appended right behind what is here is
taken as it comes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Set
from typing import Final

from gateway.broker.queue_port import Entry, Shelf

BATCH: Final = 64
"""Messages of one read, and most that wait here when they come by themselves."""

BYTES: Final = 256 << 10
"""Bytes that wait here when they come by themselves; the shelf bounds what one read gives."""


class ReadAhead:
    """See the module's docstring.

    ready  called when something has come that ``peek`` did not have
    """

    __slots__ = ("_bytes", "_end", "_entries", "_epoch", "_peeking", "_reading", "_ready", "_shelf")

    def __init__(self, shelf: Shelf, after: int, ready: Callable[[], None]) -> None:
        self._shelf = shelf
        self._ready = ready
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        self._end = after
        self._reading = False
        self._peeking = False
        self._epoch = 0

    def peek(self) -> Entry | None:
        """The next message; None when it is not here: ``ready`` is called if there is one."""
        if not self._entries and not self._reading and self._end < self._shelf.last:
            self._reading = True
            self._peeking = True
            epoch, newest = self._epoch, self._shelf.last

            def got(entries: list[Entry]) -> None:
                self._take(entries, epoch, newest)

            self._shelf.read(self._end, BATCH, got)
            self._peeking = False
        return self._entries[0] if self._entries else None

    def _take(self, entries: list[Entry], epoch: int, newest: int) -> None:
        if epoch != self._epoch:
            return
        self._reading = False
        for entry in entries:
            self._add(entry)
        if not entries:
            # Everything up to there is gone.
            self._end = max(self._end, newest)
        if not self._peeking:
            self._ready()

    def _add(self, entry: Entry) -> None:
        self._entries.append(entry)
        self._bytes += entry.size
        self._end = entry.offset

    def pop(self) -> None:
        """Take the next message away."""
        self._bytes -= self._entries.popleft().size

    def appended(self, entries: list[Entry]) -> None:
        """These were stored behind the newest one."""
        if self._reading:
            return
        for entry in entries:
            if entry.offset != self._end + 1 or len(self._entries) >= BATCH or self._bytes >= BYTES:
                return
            self._add(entry)

    def evict(self, offsets: Set[int]) -> None:
        """These are gone."""
        if self._entries and not offsets.isdisjoint([entry.offset for entry in self._entries]):
            self._entries = deque(entry for entry in self._entries if entry.offset not in offsets)
            self._bytes = sum(entry.size for entry in self._entries)

    def restart(self, after: int) -> None:
        """Go on from another position."""
        self._entries.clear()
        self._bytes = 0
        self._end = after
        self._epoch += 1
        self._reading = False
