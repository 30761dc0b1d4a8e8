"""Connections that are still in their handshake: how many, for how long, and how much work on them at a time.

A TLS handshake costs more than hundreds of messages. So the loop does one step of one handshake in each of its
passes, and whoever is connected already is served in between, however many arrive at once.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from gateway.metrics import Metrics


class Newcomer(Protocol):
    """A connection in its handshake."""

    def handshake(self) -> None:
        """Do one step with what has come."""

    def drop(self) -> None:
        """End it now; it leaves the gate in the course of it."""


class Gate:
    """The handshakes of one listener.

    limit    handshakes at once; one more drops the oldest (count ``handshakes_dropped``)
    seconds  how long one may take (count ``handshake_timeouts``)
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: int, seconds: float, metrics: Metrics) -> None:
        self._loop = loop
        self._limit = limit
        self._seconds = seconds
        self._metrics = metrics
        self._deadlines: dict[Newcomer, float] = {}
        self._ready: dict[Newcomer, None] = {}
        self._step_due = False
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._deadlines)

    def enter(self, newcomer: Newcomer) -> None:
        """Its time runs from now."""
        if len(self._deadlines) >= self._limit:
            self._drop(next(iter(self._deadlines)), "handshakes_dropped")
        self._deadlines[newcomer] = self._loop.time() + self._seconds
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._expire)

    def leave(self, newcomer: Newcomer) -> None:
        """It is through, or gone."""
        self._deadlines.pop(newcomer, None)
        self._ready.pop(newcomer, None)

    def ready(self, newcomer: Newcomer) -> None:
        """Something has come for its handshake. May be said again before the step is done."""
        self._ready[newcomer] = None
        if not self._step_due:
            self._step_due = True
            self._loop.call_soon(self._step)

    def close(self) -> None:
        """Drop everybody."""
        for newcomer in list(self._deadlines):
            self.leave(newcomer)
            newcomer.drop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _step(self) -> None:
        self._step_due = False
        if self._ready:
            newcomer = next(iter(self._ready))
            del self._ready[newcomer]
            newcomer.handshake()
        if self._ready:
            self._step_due = True
            self._loop.call_soon(self._step)

    def _expire(self) -> None:
        self._timer = None
        now = self._loop.time()
        for newcomer, deadline in list(self._deadlines.items()):
            # The oldest come first: the same time is given to each.
            if deadline > now:
                self._timer = self._loop.call_at(deadline, self._expire)
                return
            self._drop(newcomer, "handshake_timeouts")

    def _drop(self, newcomer: Newcomer, count: str) -> None:
        self.leave(newcomer)
        self._metrics.count(count)
        newcomer.drop()
