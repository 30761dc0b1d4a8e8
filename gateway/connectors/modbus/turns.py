"""One at a time, in fair turns: who may use a bus next.

Urgent askers (writes) come before all others. The others take turns by name, so that one with many questions
does not keep one with few waiting. Nobody is interrupted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager


class Turns:
    """A lock that is handed on fairly."""

    def __init__(self) -> None:
        self._is_taken = False
        self._urgent: deque[asyncio.Future[None]] = deque()
        self._waiting: dict[Hashable, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def turn(self, who: Hashable, *, is_urgent: bool = False) -> AsyncIterator[None]:
        """Wait for a turn, and hold it for the length of the block."""
        if self._is_taken:
            await self._wait(self._urgent if is_urgent else self._waiting.setdefault(who, deque()))
        self._is_taken = True
        try:
            yield
        finally:
            self._hand_on()

    async def _wait(self, queue: deque[asyncio.Future[None]]) -> None:
        ticket: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(ticket)
        try:
            await ticket
        except asyncio.CancelledError:
            if ticket.done() and not ticket.cancelled():
                # The turn came in the same moment as the cancel: it belongs to the next one.
                self._hand_on()
            raise

    def _hand_on(self) -> None:
        while self._urgent:
            if _call(self._urgent.popleft()):
                return
        while self._waiting:
            who = next(iter(self._waiting))
            queue = self._waiting.pop(who)
            ticket = queue.popleft()
            if queue:
                self._waiting[who] = queue  # behind all others now
            if _call(ticket):
                return
        self._is_taken = False


def _call(ticket: asyncio.Future[None]) -> bool:
    """Give the turn to this ticket; False when its owner has gone."""
    if ticket.done():
        return False
    ticket.set_result(None)
    return True
