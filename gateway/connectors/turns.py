"""One at a time, in fair turns: who may use a bus next.

A bus has one owner at a time. Of those who wait, writes come first, then the probes of units that were mute, then
fast polls, then slow ones. Within one of these the askers take turns by name, so that one with many questions does
not keep one with few waiting. Nobody is interrupted.

Whoever waits behind others that always have a question gets every ``PATIENCE``-th turn: a bus that is too slow for
its fast polls still brings the slow ones. Only writes are never kept waiting, so they are few by their rate limits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable
from enum import IntEnum
from typing import Final

PATIENCE: Final = 8
"""Turns of more urgent polls after which a less urgent one has its turn."""

SLOW: Final = 10.0
"""Seconds between two polls from which on they are slow."""


class Urgency(IntEnum):
    """What a question is for; the lowest comes first."""

    WRITE = 0
    PROBE = 1
    FAST = 2
    SLOW = 3

    @classmethod
    def of(cls, poll: float) -> Urgency:
        """The urgency of a poll that is made every ``poll`` seconds."""
        return cls.FAST if poll < SLOW else cls.SLOW


class _Line:
    """Those who wait with one urgency, by name, and the turns that others had before them."""

    __slots__ = ("passed", "waiting")

    def __init__(self) -> None:
        self.passed = 0
        self.waiting: dict[Hashable, deque[asyncio.Future[None]]] = {}

    def next(self) -> asyncio.Future[None]:
        """The ticket whose turn it is; its owner's other tickets go behind all others."""
        who = next(iter(self.waiting))
        queue = self.waiting.pop(who)
        ticket = queue.popleft()
        if queue:
            self.waiting[who] = queue
        self.passed = 0
        return ticket


class Turns:
    """A lock that is handed on fairly."""

    def __init__(self) -> None:
        self._is_taken = False
        self._lines = {urgency: _Line() for urgency in Urgency}

    def turn(self, who: Hashable, urgency: Urgency = Urgency.FAST) -> Turn:
        """Wait for a turn, and hold it for the length of the block."""
        return Turn(self, who, urgency)

    async def take(self, who: Hashable, urgency: Urgency) -> None:
        """Wait for a turn; ``hand_on`` must follow."""
        if self._is_taken:
            await self._wait(self._lines[urgency].waiting.setdefault(who, deque()))
        self._is_taken = True

    async def _wait(self, queue: deque[asyncio.Future[None]]) -> None:
        ticket: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(ticket)
        try:
            await ticket
        except asyncio.CancelledError:
            if ticket.done() and not ticket.cancelled():
                # The turn came in the same moment as the cancel: it belongs to the next one.
                self.hand_on()
            raise

    def hand_on(self) -> None:
        """The turn is over."""
        while (line := self._next_line()) is not None:
            ticket = line.next()
            if not ticket.done():  # else its owner has gone
                self._count(line)
                ticket.set_result(None)
                return
        self._is_taken = False

    def _next_line(self) -> _Line | None:
        """The most urgent line, or one that was passed over too often; writes before both."""
        waiting = [line for line in self._lines.values() if line.waiting]
        if not waiting or waiting[0] is self._lines[Urgency.WRITE]:
            return waiting[0] if waiting else None
        return next((line for line in waiting if line.passed >= PATIENCE), waiting[0])

    def _count(self, served: _Line) -> None:
        if served is self._lines[Urgency.WRITE]:
            return
        for line in self._lines.values():
            if line is not served and line.waiting:
                line.passed += 1


class Turn:
    """One turn, for ``async with``. A class and no generator: each question to a device goes through it."""

    __slots__ = ("_turns", "_urgency", "_who")

    def __init__(self, turns: Turns, who: Hashable, urgency: Urgency) -> None:
        self._turns = turns
        self._who = who
        self._urgency = urgency

    async def __aenter__(self) -> None:
        await self._turns.take(self._who, self._urgency)

    async def __aexit__(self, *error: object) -> None:
        self._turns.hand_on()
