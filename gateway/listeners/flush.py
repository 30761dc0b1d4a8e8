"""One flush for each pass of the event loop: everything queued for a socket leaves in one write."""

from __future__ import annotations

import asyncio
from typing import Protocol


class Flushable(Protocol):
    """A shell that has output."""

    def flush(self) -> None:
        """Write what is queued."""


class Flusher:
    """The list of shells with output; flushed once at the end of the pass that made it."""

    __slots__ = ("_dirty", "_loop", "_scheduled")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._dirty: list[Flushable] = []
        self._scheduled = False

    def add(self, shell: Flushable) -> None:
        """Flush ``shell`` soon; calling it twice costs one empty flush."""
        self._dirty.append(shell)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        dirty, self._dirty = self._dirty, []
        for shell in dirty:
            shell.flush()
