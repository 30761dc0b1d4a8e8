"""The messages that a group has passed and not settled: which can be delivered, and which wait for a time, for an
answer, or for a message of the same key.

::

            +--------------------- nack (after a wait) --------- WAITING <---+
            |       +------------- timeout, consumer gone -----------+       |
            v       v                                                |       |
    ----> READY --------> CLAIMED ---- ack ----> settled           CLAIMED --+
            ^                 \\---- reject, delivered too often --> BURIED --> settled
    ----> PARKED (another claim has its key)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from typing import Any, Final

from gateway.broker.queue_port import Consumer

READY: Final = 0
CLAIMED: Final = 1
WAITING: Final = 2
PARKED: Final = 3
BURIED: Final = 4
STATES: Final = ("ready", "claimed", "waiting", "parked", "buried")

NO_ALARM: Final = -1.0


class Claim:
    """One message that is not settled.

    due     monotonic: end of the wait, or of the time to work on it; NO_ALARM when neither runs
    owner   who has it, or had it last and may still acknowledge it
    reason  why it was given back last; ``cause`` why it is a dead letter
    """

    __slots__ = ("cause", "deliveries", "due", "key", "offset", "owner", "reason", "size", "state")

    def __init__(self, offset: int, size: int, key: str | None, deliveries: int) -> None:
        self.offset = offset
        self.size = size
        self.key = key
        self.deliveries = deliveries
        self.state = READY
        self.due = NO_ALARM
        self.owner: Consumer | None = None
        self.reason = ""
        self.cause = ""

    def status(self) -> dict[str, Any]:
        """As a person wants to see it. ``consumer``: who has it, or had it last."""
        owner = self.owner.owner if self.owner is not None else None
        return {"state": STATES[self.state], "deliveries": self.deliveries, "consumer": owner, "reason": self.reason}


class Claims:
    """See the module's docstring.

    wake  called with the monotonic time of a new timer
    by_offset  all of them
    """

    __slots__ = ("_keys", "_ready", "_timers", "_wake", "by_offset")

    def __init__(self, wake: Callable[[float], None]) -> None:
        self._wake = wake
        self.by_offset: dict[int, Claim] = {}
        self._ready: list[int] = []
        self._timers: list[tuple[float, int]] = []
        self._keys: dict[str, deque[int]] = {}
        """Keys of claims that are not parked, each with those that are."""

    def __len__(self) -> int:
        return len(self.by_offset)

    def is_busy(self, key: str | None) -> bool:
        """Whether a message of this key must wait."""
        return key is not None and key in self._keys

    def add(self, claim: Claim) -> None:
        """A claim that is with a consumer, or parked because its key is busy."""
        self.by_offset[claim.offset] = claim
        if claim.key is None:
            return
        parked = self._keys.get(claim.key)
        if parked is None:
            self._keys[claim.key] = deque()
        else:
            claim.state = PARKED
            parked.append(claim.offset)

    def restore(self, claim: Claim) -> None:
        """One of the last run: ready, or parked. In the order of the offsets."""
        self.add(claim)
        if claim.state != PARKED:
            self.make_ready(claim)

    def remove(self, claim: Claim) -> None:
        """It is settled, or gone: the next one with its key is ready."""
        del self.by_offset[claim.offset]
        if claim.key is None or claim.state == PARKED:
            return
        parked = self._keys[claim.key]
        while parked:
            following = self.by_offset.get(parked.popleft())
            if following is not None:
                self.make_ready(following)
                return
        del self._keys[claim.key]

    def clear(self) -> None:
        """All of them are gone."""
        self.by_offset.clear()
        self._keys.clear()
        self._ready.clear()
        self._timers.clear()

    # -- ready ---------------------------------------------------------------------------------------------

    def make_ready(self, claim: Claim) -> None:
        """It can be delivered."""
        claim.state = READY
        heappush(self._ready, claim.offset)

    def first_ready(self) -> Claim | None:
        """The oldest that can be delivered."""
        ready = self._ready
        while ready:
            claim = self.by_offset.get(ready[0])
            if claim is not None and claim.state == READY:
                return claim
            heappop(ready)
        return None

    def all_ready(self) -> Iterator[int]:
        """The offsets of those that can be delivered, in order."""
        for offset in sorted(set(self._ready)):
            claim = self.by_offset.get(offset)
            if claim is not None and claim.state == READY:
                yield offset

    # -- time ----------------------------------------------------------------------------------------------

    def alarm(self, claim: Claim, due: float) -> None:
        """Something must be done with it then, unless it has changed."""
        claim.due = due
        heappush(self._timers, (due, claim.offset))
        self._wake(due)

    def next_timer(self) -> float | None:
        """When the first of them is due."""
        while self._timers:
            due, offset = self._timers[0]
            claim = self.by_offset.get(offset)
            if claim is not None and claim.due == due and claim.state in (CLAIMED, WAITING, BURIED):
                return due
            heappop(self._timers)
        return None

    def next_due(self, now: float) -> Claim | None:
        """One that is due; each only once."""
        due = self.next_timer()
        if due is None or due > now:
            return None
        claim = self.by_offset[heappop(self._timers)[1]]
        claim.due = NO_ALARM  # it may stand there twice: claimed, given back and claimed again within one moment
        return claim
