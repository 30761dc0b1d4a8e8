"""The messages of the last seconds, bounded in bytes, and when they are to be saved. Pure: time is passed in."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from gateway.broker.port import Done, Subscriber
from gateway.message import Message

OVERHEAD: Final = 200
"""Bytes that a message costs beside its topic and its payload."""


class Recorded(NamedTuple):
    """One message, and when it came: monotonic, and by the wall clock."""

    now: float
    time: float
    message: Message


class Recording(NamedTuple):
    """What is to be saved.

    cause    topic of the message that asked for it, or who did
    time     when, by the wall clock
    dropped  messages in the time of the file that there was no room for
    """

    cause: str
    time: float
    rows: list[Recorded]
    dropped: int


class Ring(Subscriber):
    """What is recorded. ``recorded`` and ``dropped`` count since the start."""

    __slots__ = (
        "recorded", "dropped", "bytes", "_rows", "_lost", "_max_bytes", "_before", "_after", "_clock", "_cause",
        "_begin", "_due", "_asked",
    )  # fmt: skip

    def __init__(self, before: float, after: float, max_bytes: int, clock: Callable[[], tuple[float, float]]) -> None:
        self.recorded = self.dropped = self.bytes = 0
        self._rows: deque[Recorded] = deque()
        self._lost: deque[float] = deque(maxlen=100_000)
        self._max_bytes = max_bytes
        self._before = before
        self._after = after
        self._clock = clock
        self._cause = ""
        self._begin = 0.0
        self._due: float | None = None
        self._asked = 0.0

    def __len__(self) -> int:
        return len(self._rows)

    def deliver(self, message: Message, done: Done | None) -> bool:
        """Record it; nobody waits for that."""
        now, time = self._clock()
        self._rows.append(Recorded(now, time, message))
        self.recorded += 1
        self.bytes += len(message.payload) + len(message.topic) + OVERHEAD
        if self.bytes > self._max_bytes:
            self._make_room(now)
        return False

    def keeps(self) -> bool:
        return False

    def _make_room(self, now: float) -> None:
        self._forget(now)
        while self.bytes > self._max_bytes:
            self._lost.append(self._pop().now)
            self.dropped += 1

    def _pop(self) -> Recorded:
        row = self._rows.popleft()
        self.bytes -= len(row.message.payload) + len(row.message.topic) + OVERHEAD
        return row

    def _forget(self, now: float) -> None:
        """Let go what no file wants any more."""
        oldest = self._begin if self._due is not None else now - self._before
        while self._rows and self._rows[0].now < oldest:
            self._pop()
        while self._lost and self._lost[0] < oldest:
            self._lost.popleft()

    def ask(self, cause: str) -> bool:
        """Save it when ``after`` is over; False when that is under way already: one file tells of both."""
        if self._due is not None:
            return False
        now, time = self._clock()
        self._cause, self._asked = cause, time
        self._begin, self._due = now - self._before, now + self._after
        return True

    def tick(self, *, at_once: bool = False) -> Recording | None:
        """About once a second: what is to be saved now, if anything is. ``at_once``: do not wait for ``after``."""
        now, _ = self._clock()
        self._forget(now)
        if self._due is None or (now < self._due and not at_once):
            return None
        rows = [row for row in self._rows if row.now <= self._due]
        dropped = len(self._lost)
        self._due = None
        self._forget(now)
        return Recording(self._cause, self._asked, rows, dropped)


class Trigger(Subscriber):
    """Asks the ring to be saved."""

    __slots__ = ("_ring",)

    def __init__(self, ring: Ring) -> None:
        self._ring = ring

    def deliver(self, message: Message, done: Done | None) -> bool:
        self._ring.ask(message.topic)
        return False

    def keeps(self) -> bool:
        return False
