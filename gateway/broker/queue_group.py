"""One consumer group of a durable queue: who has which message, and what happens if nobody says ack.

The *cursor* is the last offset that was handed out, passed over or set aside; what is at or before it and not settled
is a *claim* (``claims.py``). The cursor moves after a consumer has taken the message, never before. A claim whose
time is over may still be acknowledged by the consumer that had it, until somebody else gets it.
"""

from __future__ import annotations

from collections.abc import Set
from typing import TYPE_CHECKING, Any, Final

from gateway.broker.claims import BURIED, CLAIMED, NO_ALARM, READY, WAITING, Claim, Claims
from gateway.broker.members import Members
from gateway.broker.port import Done
from gateway.broker.queue_port import (
    BUSY,
    FINAL,
    PROPERTY_BYTES,
    STALE,
    UNFIT,
    Consumer,
    Entry,
    StoredGroup,
    group_id,
    rest_of,
)
from gateway.broker.read_ahead import ReadAhead
from gateway.errors import Refused
from gateway.topic import matches

if TYPE_CHECKING:
    from gateway.broker.queue import Queue

FETCH: Final = 32
"""Messages to be delivered again that are read at once."""

BURY_AGAIN: Final = 5.0
"""Seconds until a dead letter that could not be stored is tried again."""

TOO_OFTEN: Final = "max_deliveries"
REJECTED: Final = "rejected"


class Group:
    """See the module's docstring.

    idle_since  monotonic: when its last consumer left; None while it has one
    """

    __slots__ = (
        "_again", "_ahead", "_bodies", "_fetching", "_members", "_pumping", "_queue",
        "claims", "cursor", "id", "idle_since", "name", "number", "pattern",
    )  # fmt: skip

    def __init__(self, queue: Queue, stored: StoredGroup, now: float) -> None:
        self._queue = queue
        self.number = stored.number
        self.name = stored.name
        self.pattern = stored.pattern
        self.id = group_id(stored.name, stored.pattern)
        self.cursor = stored.cursor
        self.idle_since: float | None = now
        self._members = Members()
        self._ahead = ReadAhead(queue.shelf, stored.cursor, self.pump)
        self._bodies: dict[int, Entry] = {}
        self._fetching = False
        self._pumping = False
        self._again = False
        self.claims = Claims(queue.wake)
        is_ordered = queue.terms.ordered_by != "none"
        for held in sorted(stored.held):
            self.claims.restore(Claim(held.offset, held.size, held.key if is_ordered else None, held.deliveries))

    def needs(self, offset: int) -> bool:
        """Whether this group has not settled a message."""
        return offset > self.cursor or offset in self.claims.by_offset

    # -- members -------------------------------------------------------------------------------------------

    def join(self, consumer: Consumer) -> None:
        """A new member; ``pump`` then delivers."""
        self._members.add(consumer)
        self.idle_since = None

    def release(self, consumer: Consumer) -> None:
        self._give_back(self._members.take_back(consumer), consumer)

    def leave(self, consumer: Consumer) -> None:
        if consumer in self._members:
            self._give_back(self._members.remove(consumer), consumer)
            if not len(self._members):
                self.idle_since = self._queue.clock.now()

    def _give_back(self, offsets: list[int], consumer: Consumer) -> None:
        for claim in self.claims.by_offset.values():
            if claim.owner is consumer and claim.state != CLAIMED:
                claim.owner = None
        for offset in offsets:
            claim = self.claims.by_offset[offset]
            claim.owner = None
            self._failed(claim, "the consumer left", 0.0)
        self.pump()

    @property
    def consumers(self) -> int:
        """How many there are."""
        return len(self._members)

    # -- messages in ---------------------------------------------------------------------------------------

    def appended(self, entries: list[Entry]) -> None:
        """These were stored."""
        self._ahead.appended(entries)
        self.pump()

    def evicted(self, offsets: Set[int]) -> None:
        """These are gone, whoever had them."""
        self._ahead.evict(offsets)
        for offset in offsets & self.claims.by_offset.keys():
            self._lose(self.claims.by_offset[offset])
        self.pump()

    def _lose(self, claim: Claim) -> None:
        """The message is gone from the shelf."""
        self._forget(claim)
        self._queue.shelf.settle(self.number, claim.offset, False, None)

    # -- messages out --------------------------------------------------------------------------------------

    def pump(self) -> None:
        if self._pumping:
            self._again = True
            return
        self._pumping = True
        try:
            self._again = True
            while self._again:
                self._again = False
                while len(self._members) and self._step():
                    pass
        finally:
            self._pumping = False

    def _step(self) -> bool:
        """Deliver, pass over or set aside one message; False when nothing can be done."""
        claim = self.claims.first_ready()
        if claim is not None:
            return self._step_again(claim)
        if len(self.claims) >= self._queue.terms.max_pending:
            return False
        entry = self._ahead.peek()
        if entry is None:
            return False
        if self._is_expired(entry):
            self._pass(entry)
            self._queue.metrics.drop("queue_expired")
            return True
        if self.pattern != "#" and not matches(self.pattern, rest_of(entry.topic)):
            self._pass(entry)
            return True
        if self.claims.is_busy(entry.key):
            self._claim(entry)
            self._queue.shelf.hold(self.number, entry.offset, 0)
            return True
        return self._offer(entry, None)

    def _step_again(self, claim: Claim) -> bool:
        """The same for a message that is a claim already."""
        entry = self._bodies.get(claim.offset)
        if entry is None:
            self._fetch()
            return claim.offset in self._bodies or self.claims.first_ready() is not claim
        if self._is_expired(entry):
            self._queue.metrics.drop("queue_expired")
            self._settle(claim, None)
            return True
        return self._offer(entry, claim)

    def _fetch(self) -> None:
        if self._fetching:
            return
        self._fetching = True
        offsets = [offset for offset in self.claims.all_ready() if offset not in self._bodies][:FETCH]

        def got(entries: list[Entry]) -> None:
            self._fetching = False
            found = {entry.offset: entry for entry in entries}
            for offset in offsets:
                claim = self.claims.by_offset.get(offset)
                if claim is None or claim.state != READY:
                    continue
                if offset in found:
                    self._bodies[offset] = found[offset]
                else:
                    self._lose(claim)
            self.pump()

        self._queue.shelf.fetch(offsets, got)

    def _is_expired(self, entry: Entry) -> bool:
        return entry.expires is not None and entry.expires <= self._queue.clock.now()

    def _pass(self, entry: Entry) -> None:
        """This group has no use for the next message."""
        self._move(entry)
        self._queue.no_longer_needed(entry.offset, entry.size)

    def _move(self, entry: Entry) -> None:
        self._ahead.pop()
        self.cursor = entry.offset
        self._queue.shelf.place(self.number, entry.offset, None)

    def _claim(self, entry: Entry) -> Claim:
        claim = Claim(entry.offset, entry.size, entry.key, 0)
        self.claims.add(claim)
        self._move(entry)
        return claim

    def _offer(self, entry: Entry, claim: Claim | None) -> bool:
        deliveries = 1 if claim is None else claim.deliveries + 1
        for member in self._members.in_turn(None if claim is None else claim.owner):
            outcome = member.send(entry, deliveries)
            if outcome == BUSY:
                continue
            if claim is None:
                claim = self._claim(entry)
            claim.state = CLAIMED
            claim.deliveries = deliveries
            claim.owner = member
            self._members.give(member, claim.offset)
            self._bodies.pop(claim.offset, None)
            self._queue.shelf.hold(self.number, claim.offset, deliveries)
            if outcome == FINAL:
                self._settle(claim, None)
            elif outcome == UNFIT:
                self._failed(claim, "larger than the client takes", self._wait_after(deliveries))
            else:
                self.claims.alarm(claim, self._queue.clock.now() + self._queue.terms.ack_timeout)
            return True
        return False

    # -- answers -------------------------------------------------------------------------------------------

    def settle(self, verb: str, offset: int, owner: str, reason: str, done: Done | None) -> None:
        """See ``queue_port.Group``. A message that is not with a consumer of ``owner`` is refused (0x83)."""
        claim = self.claims.by_offset.get(offset)
        mine = claim is not None and claim.owner is not None and claim.owner.owner == owner and claim.state != BURIED
        if claim is None or not mine:
            raise Refused(f"message {offset} is not with this consumer, or not any more", STALE)
        if verb == "ack":
            self._settle(claim, done)
        elif verb == "nack":
            if claim.state == CLAIMED:
                self._failed(claim, reason or "nack", self._wait_after(claim.deliveries))
            if done is not None:
                done(None)
        elif verb == "reject":
            self._bury(claim, REJECTED, reason, done)
        else:
            raise Refused(f"a queue has no {verb}", STALE)
        self.pump()

    def _wait_after(self, deliveries: int) -> float:
        """Seconds until a message that was given back is delivered again."""
        retry = self._queue.terms.retry
        # Any more doublings would only overflow.
        wait: float = retry.initial * retry.multiplier ** min(deliveries - 1, 64)
        return min(wait, retry.max)

    def _settle(self, claim: Claim, done: Done | None) -> None:
        self._forget(claim)
        gone = self._queue.is_gone(claim.offset, claim.size)
        self._queue.shelf.settle(self.number, claim.offset, gone, done)

    def _forget(self, claim: Claim) -> None:
        self.claims.remove(claim)
        self._bodies.pop(claim.offset, None)
        self._members.take(claim.owner, claim.offset)

    def _failed(self, claim: Claim, reason: str, wait: float) -> None:
        """A delivery came to nothing: again after ``wait`` seconds, unless it was tried often enough."""
        self._members.take(claim.owner, claim.offset)
        claim.reason = reason
        most = self._queue.terms.max_deliveries
        if most and claim.deliveries >= most:
            self._bury(claim, TOO_OFTEN, reason, None)
        elif wait > 0:
            claim.owner = None
            claim.state = WAITING
            self.claims.alarm(claim, self._queue.clock.now() + wait)
        else:
            self.claims.make_ready(claim)

    # -- dead letters --------------------------------------------------------------------------------------

    def _bury(self, claim: Claim, cause: str, reason: str, done: Done | None) -> None:
        """To the dead letters; until that is stored the message stays a claim."""
        queue = self._queue
        self._members.take(claim.owner, claim.offset)
        claim.owner = None
        claim.state = BURIED
        claim.due = NO_ALARM
        claim.cause, claim.reason = cause, reason
        dead = queue.dead
        if dead is None:
            queue.metrics.drop("queue_rejected" if cause == REJECTED else "queue_undeliverable")
            self._settle(claim, done)
            return
        gone = not queue.is_needed(claim.offset, self)
        props = queue.dead_props(claim.offset, self.id, cause, reason, claim.deliveries)

        def buried(error: BaseException | None) -> None:
            if self.claims.by_offset.get(claim.offset) is not claim:
                pass
            elif error is None:
                self._forget(claim)
                if gone:
                    queue.shrink(1, claim.size)
                else:
                    queue.no_longer_needed(claim.offset, claim.size)
                dead.shrink(-1, -claim.size - PROPERTY_BYTES * len(props))
                queue.metrics.count("dead_letters")
            elif isinstance(error, Refused) and error.reason == STALE:
                self._lose(claim)
            else:
                queue.metrics.count("dead_letters_failed")
                self.claims.alarm(claim, queue.clock.now() + BURY_AGAIN)
            if done is not None:
                done(error)
            self.pump()

        queue.shelf.bury(self.number, claim.offset, gone, dead.shelf, props, buried)

    # -- time ----------------------------------------------------------------------------------------------

    def next_timer(self) -> float | None:
        """When ``on_timer`` has something to do next, monotonic."""
        return self.claims.next_timer()

    def on_timer(self, now: float) -> None:
        """Take back what was not answered in time, and let go what has waited."""
        claim = self.claims.next_due(now)
        while claim is not None:
            if claim.state == CLAIMED:
                self._queue.metrics.count("ack_timeouts")
                self._failed(claim, "not settled in time", 0.0)
            elif claim.state == WAITING:
                self.claims.make_ready(claim)
            else:
                self._bury(claim, claim.cause, claim.reason, None)
            claim = self.claims.next_due(now)
        self.pump()

    # -- by hand -------------------------------------------------------------------------------------------

    def seek(self, after: int) -> None:
        """Go on behind another offset; what is with consumers is not theirs any more."""
        for claim in self.claims.by_offset.values():
            self._members.take(claim.owner, claim.offset)
        self.claims.clear()
        self._bodies.clear()
        self.cursor = after
        self._ahead.restart(after)
        self._queue.shelf.seek(self.number, after)
        self.pump()

    def status(self) -> dict[str, Any]:
        """As a person wants to see it. ``waiting``: to be delivered again, or for their turn."""
        claimed = sum(claim.state == CLAIMED for claim in self.claims.by_offset.values())
        return {
            "group": self.name,
            "filter": self.pattern,
            "id": self.id,
            "consumers": len(self._members),
            "cursor": self.cursor,
            # Offsets of messages that are gone do not count.
            "lag": max(0, min(self._queue.depth, self._queue.shelf.last - self.cursor)),
            "pending": claimed,
            "waiting": len(self.claims) - claimed,
        }
