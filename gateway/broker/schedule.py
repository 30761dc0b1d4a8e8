"""When each of many things is due: some on the clock that never steps, some at a moment of the wall clock.

Both kinds come out in one order. A step of the wall clock moves the moments and nothing else; before the wall clock is
plausible no moment has come. It keeps ids and knows nothing of what they stand for.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Final

SLACK: Final = 64
"""Removed ids that may stay in a heap beyond its living ones before it is made anew."""


class _Heap:
    """Ids by due time. What was removed or moved stays until it is met, or too much of it has gathered."""

    __slots__ = ("due", "_heap")

    def __init__(self) -> None:
        self.due: dict[int, float] = {}
        self._heap: list[tuple[float, int]] = []

    def put(self, id: int, due: float) -> None:
        self.due[id] = due
        heappush(self._heap, (due, id))
        if len(self._heap) > 2 * len(self.due) + SLACK:
            self._heap = [(at, one) for one, at in self.due.items()]
            heapify(self._heap)

    def first(self) -> tuple[float, int] | None:
        """The one that is due first; it stays."""
        heap = self._heap
        while heap:
            due, id = heap[0]
            if self.due.get(id) == due:
                return heap[0]
            heappop(heap)
        return None


class Schedule:
    """See the module's docstring. ``earliest``: a wall clock before this was never set."""

    __slots__ = ("_after", "_at", "_earliest")

    def __init__(self, earliest: float) -> None:
        self._earliest = earliest
        self._after = _Heap()
        self._at = _Heap()

    def after(self, id: int, due: float) -> None:
        """``id`` is due at ``due`` on the monotonic clock; whatever was said of it before does not hold any more."""
        self._at.due.pop(id, None)
        self._after.put(id, due)

    def at(self, id: int, due: float) -> None:
        """``id`` is due at ``due`` on the wall clock; whatever was said of it before does not hold any more."""
        self._after.due.pop(id, None)
        self._at.put(id, due)

    def remove(self, id: int) -> None:
        """``id`` is not waited for any more."""
        self._after.due.pop(id, None)
        self._at.due.pop(id, None)

    def due(self, id: int, now: float, time: float) -> float | None:
        """When ``id`` is due on the monotonic clock, as far as the wall clock can be believed; None: nobody knows."""
        due = self._after.due.get(id)
        if due is not None:
            return due
        moment = self._at.due.get(id)
        return None if moment is None or time < self._earliest else now + (moment - time)

    def next_timer(self, now: float, time: float) -> float | None:
        """When the first is due, on the monotonic clock; None when nothing is, or the wall clock must be set first."""
        found = self._first(now, time)
        return None if found is None else found[0]

    def take_due(self, now: float, time: float, limit: int) -> list[tuple[int, float]]:
        """Remove what is due, at most ``limit``: (id, when it was due on the monotonic clock), first due first."""
        taken: list[tuple[int, float]] = []
        while len(taken) < limit:
            found = self._first(now, time)
            if found is None or found[0] > now:
                break
            due, id = found
            self.remove(id)
            taken.append((id, due))
        return taken

    def _first(self, now: float, time: float) -> tuple[float, int] | None:
        after = self._after.first()
        at = self._at.first() if time >= self._earliest else None
        if at is not None:
            at = (now + (at[0] - time), at[1])
        if after is None or at is None:
            return at if after is None else after
        return min(after, at)
