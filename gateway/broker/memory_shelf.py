"""A shelf in memory: of the queues that nobody configured, and of tests.

Everything happens at once. It is bounded like one on the disk: beyond its bounds the oldest messages go.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.broker.port import Done
from gateway.broker.queue_port import STALE, Entry, Got, Listener, NewEntry, Purged, size_of, without_dead_letter
from gateway.clock import Clock
from gateway.errors import Refused
from gateway.message import Properties
from gateway.native import mypyc_attr


@mypyc_attr(allow_interpreted_subclasses=True)
class MemoryShelf:
    """See the module's docstring, and ``queue_port.Shelf``."""

    def __init__(self, clock: Clock, max_count: int, max_bytes: int, max_age: float = 0.0) -> None:
        self._clock = clock
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._max_age = max_age
        self._entries: dict[int, Entry] = {}
        self._bytes = 0
        self._next_group = 1
        self.listener: Listener | None = None
        self.last = 0

    def append(self, new: NewEntry, done: Done | None, lazily: bool) -> None:
        now = self._clock.now()
        expires = None if new.life is None else now + new.life
        if self._max_age and (expires is None or expires > now + self._max_age):
            expires = now + self._max_age
        self.last += 1
        entry = Entry(self.last, new.topic, new.key, new.payload, new.props, new.time, expires, new.size)
        self._entries[entry.offset] = entry
        self._bytes += new.size
        if done is not None:
            done(None)
        if self.listener is not None:
            self.listener.appended([entry])
        full: list[tuple[int, int]] = []
        while len(self._entries) > self._max_count or self._bytes > self._max_bytes:
            full.append(self._take(next(iter(self._entries))))
        self._tell(full, "queue_full")

    def _take(self, offset: int) -> tuple[int, int]:
        entry = self._entries.pop(offset)
        self._bytes -= entry.size
        return offset, entry.size

    def _tell(self, gone: list[tuple[int, int]], reason: str) -> None:
        if gone and self.listener is not None:
            self.listener.evicted(gone, reason)

    def read(self, after: int, limit: int, got: Got) -> None:
        found = [entry for offset, entry in self._entries.items() if offset > after]
        got(found[:limit])

    def fetch(self, offsets: list[int], got: Got) -> None:
        got([self._entries[offset] for offset in offsets if offset in self._entries])

    def open_group(self, name: str, pattern: str, cursor: int) -> int:
        self._next_group += 1
        return self._next_group

    def close_group(self, group: int) -> None:
        pass

    def place(self, group: int, cursor: int, done: Done | None) -> None:
        if done is not None:
            done(None)

    def hold(self, group: int, offset: int, deliveries: int) -> None:
        pass

    def settle(self, group: int, offset: int, gone: bool, done: Done | None) -> None:
        if gone:
            self.remove(offset)
        if done is not None:
            done(None)

    def remove(self, offset: int) -> None:
        if offset in self._entries:
            self._take(offset)

    def bury(self, group: int, offset: int, gone: bool, to: Any, props: Properties, done: Done) -> None:
        entry = self._entries[offset]
        props = entry.props + props
        size = size_of(entry.topic, entry.payload, props)
        to.append(NewEntry(entry.topic, entry.key, entry.payload, props, entry.time, None, size), None, False)
        if gone:
            self.remove(offset)
        done(None)

    def sweep(self) -> None:
        now = self._clock.now()
        old: list[tuple[int, int]] = []
        for offset, entry in list(self._entries.items()):
            if entry.expires is None or entry.expires > now:
                break
            old.append(self._take(offset))
        self._tell(old, "queue_expired")

    def seek(self, group: int, cursor: int) -> None:
        pass

    def find(self, time: float, got: Callable[[int], None]) -> None:
        got(next((offset for offset, entry in self._entries.items() if entry.time >= time), self.last + 1))

    def take_back(self, offset: int, to: Any, done: Done) -> None:
        entry = self._entries.get(offset)
        if entry is None:
            done(Refused("the message is gone", STALE))
            return
        props = without_dead_letter(entry.props)
        size = size_of(entry.topic, entry.payload, props)
        to.append(NewEntry(entry.topic, entry.key, entry.payload, props, entry.time, None, size), None, False)
        self._tell([self._take(offset)], "")
        done(None)

    def purge(self, up_to: int, limit: int, told: Purged) -> None:
        gone = [self._take(offset) for offset in list(self._entries)[:limit] if offset <= up_to]
        self._tell(gone, "")
        told(len(gone), None)
