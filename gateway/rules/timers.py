"""What is to be done at a time: a heap of timers that can be taken back. Pure: told the time, it does not wait."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Final

_FEW: Final = 64
"""Cancelled timers that may lie about without looking whether it is worth while to clear them away."""


class Timer:
    """One timer. ``at``: monotonic seconds."""

    __slots__ = ("at", "call", "_timers")

    def __init__(self, at: float, call: Callable[[], None], timers: Timers) -> None:
        self.at = at
        self.call: Callable[[], None] | None = call
        self._timers = timers

    def cancel(self) -> None:
        """Do not do it. Harmless when it has been done."""
        if self.call is not None:
            self.call = None
            self._timers.cancelled()


class Timers:
    """All timers, the next one first; those of one time in the order in which they were put."""

    __slots__ = ("_heap", "_count", "_dead", "on_earlier")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._count = 0
        self._dead = 0
        self.on_earlier: Callable[[], None] = lambda: None
        """Called when there is a timer that is due before all others: who waits must wait less."""

    def __len__(self) -> int:
        return len(self._heap) - self._dead

    def put(self, at: float, call: Callable[[], None]) -> Timer:
        """Call this at that time (monotonic seconds), once."""
        timer = Timer(at, call, self)
        self._count += 1
        heapq.heappush(self._heap, (at, self._count, timer))
        if self._heap[0][2] is timer:
            self.on_earlier()
        return timer

    def next(self) -> float | None:
        """When the next timer is due; None for never."""
        while self._heap and self._heap[0][2].call is None:
            heapq.heappop(self._heap)
            self._dead -= 1
        return self._heap[0][0] if self._heap else None

    def run(self, now: float) -> None:
        """Do what is due. What that puts is done too when it is due; at most as much as was there, and then the rest
        waits for the next time, so that timers that put timers do not hold up the world."""
        for _ in range(len(self._heap) + 1):
            at = self.next()
            if at is None or at > now:
                return
            timer = heapq.heappop(self._heap)[2]
            call, timer.call = timer.call, None
            if call is not None:
                call()

    def clear(self) -> None:
        """Forget all of them: nothing is due any more."""
        for _, _, timer in self._heap:
            timer.call = None
        self._heap, self._dead = [], 0

    def cancelled(self) -> None:
        """One more timer lies about."""
        self._dead += 1
        if self._dead > _FEW and self._dead * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].call is not None]
            heapq.heapify(self._heap)
            self._dead = 0
