"""A feed: lines from a part that must not wait to one reader that may be slow.

``put`` never blocks: when the reader is too far behind, the line is dropped and counted, and the reader is told
how many it has missed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final

LIMIT: Final = 2000
"""Lines that wait for the reader."""


class Feed:
    """See the module's docstring. Ends for the reader when ``end`` was called and all lines are taken."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._lines: deque[Any] = deque()
        self._news = asyncio.Event()
        self._ended = False
        self.lost = 0
        """Lines that were dropped."""

    def put(self, line: Any) -> None:
        """Offer one line."""
        if len(self._lines) >= self._limit:
            self.lost += 1
            return
        self._lines.append(line)
        self._news.set()

    def end(self) -> None:
        """No line follows."""
        self._ended = True
        self._news.set()

    def __aiter__(self) -> Feed:
        return self

    async def __anext__(self) -> Any:
        while not self._lines:
            if self._ended:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return self._lines.popleft()
