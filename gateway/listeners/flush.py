"""One flush for each pass of the event loop: everything queued for a socket leaves in one write.

Under load many sockets are read in one pass, and what they cause is written together at its end. At rest a read
comes alone, and waiting for the end of the pass would only turn the loop once more, at the price of a system call:
then its output is written at once.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

ALONE: Final = 0.0003
"""Seconds without a read after which the next one is taken to be alone in its pass."""


class Flushable(Protocol):
    """A shell that has output."""

    def flush(self) -> None:
        """Write what is queued."""


class Flusher:
    """The list of shells with output."""

    __slots__ = ("_dirty", "_last_read", "_loop", "_reading", "_scheduled")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._dirty: list[Flushable] = []
        self._last_read = 0.0
        self._reading = False
        self._scheduled = False

    def add(self, shell: Flushable) -> None:
        """Flush ``shell`` soon; calling it twice costs one empty flush."""
        self._dirty.append(shell)
        if not self._scheduled and not self._reading:
            self._schedule()

    def begin_read(self) -> None:
        """A socket is being read: ``end_read`` decides when its output is flushed."""
        self._reading = True

    def end_read(self, now: float) -> None:
        """The read is over; ``now`` is when it began, monotonic."""
        self._reading = False
        is_alone = now - self._last_read > ALONE
        self._last_read = now
        if not self._dirty or self._scheduled:
            return
        if is_alone:
            self._flush_all()
        else:
            self._schedule()

    def _schedule(self) -> None:
        self._scheduled = True
        self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        self._flush_all()

    def _flush_all(self) -> None:
        dirty, self._dirty = self._dirty, []
        for shell in dirty:
            shell.flush()
