"""One consumer group of a stream: a position in the log, and what its consumers have not acknowledged.

Nothing is handed back one by one: there is no nack and no dead letter. What a consumer had when it left is delivered
again to another one, and after a restart everything behind the stored position is.
"""

from __future__ import annotations

from collections.abc import Set
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from gateway.broker.members import Members
from gateway.broker.port import Done
from gateway.broker.queue_port import BUSY, FINAL, STALE, UNFIT, Consumer, Entry, StoredGroup, group_id, rest_of
from gateway.broker.read_ahead import ReadAhead
from gateway.errors import Refused
from gateway.topic import matches

if TYPE_CHECKING:
    from gateway.broker.stream import Stream


class StreamGroup:
    """See the module's docstring.

    cursor      last offset that was handed out or passed over
    committed   where it goes on after a restart: everything up to there is stored as done
    idle_since  monotonic: when its last consumer left; None while it has one
    """

    __slots__ = (
        "_again", "_ahead", "_bodies", "_fetching", "_members", "_open", "_pumping", "_redo", "_seeking", "_stream",
        "committed", "cursor", "id", "idle_since", "name", "number", "pattern",
    )  # fmt: skip

    def __init__(self, stream: Stream, stored: StoredGroup, now: float) -> None:
        self._stream = stream
        self.number = stored.number
        self.name = stored.name
        self.pattern = stored.pattern
        self.id = group_id(stored.name, stored.pattern)
        self.cursor = self.committed = stored.cursor
        self.idle_since: float | None = now
        self._members = Members()
        self._ahead = ReadAhead(stream.shelf, stored.cursor, self.pump)
        self._open: dict[int, Consumer | None] = {}
        """Handed out and not acknowledged: who has it; None: it is to be delivered again."""
        self._redo: list[int] = []
        self._bodies: dict[int, Entry] = {}
        self._fetching = False
        self._pumping = False
        self._again = False
        self._seeking = False

    @property
    def consumers(self) -> int:
        """How many there are."""
        return len(self._members)

    @property
    def done_up_to(self) -> int:
        """Everything up to this offset is acknowledged or was passed over."""
        return min(self._open) - 1 if self._open else self.cursor

    # -- members -------------------------------------------------------------------------------------------

    def join(self, consumer: Consumer) -> None:
        """A new member; ``pump`` then delivers."""
        self._members.add(consumer)
        self.idle_since = None

    def release(self, consumer: Consumer) -> None:
        self._give_back(self._members.take_back(consumer))

    def leave(self, consumer: Consumer) -> None:
        if consumer in self._members:
            self._give_back(self._members.remove(consumer))
            if not len(self._members):
                self.idle_since = self._stream.clock.now()

    def _give_back(self, offsets: list[int]) -> None:
        for offset in offsets:
            self._open[offset] = None
            heappush(self._redo, offset)
        self.pump()

    # -- messages ------------------------------------------------------------------------------------------

    def appended(self, entries: list[Entry]) -> None:
        """These were stored."""
        self._ahead.appended(entries)
        self.pump()

    def evicted(self, offsets: Set[int]) -> None:
        """These are too old or too much."""
        self._ahead.evict(offsets)
        for offset in offsets & self._open.keys():
            self._close(offset)

    def _close(self, offset: int) -> None:
        self._members.take(self._open.pop(offset), offset)
        self._bodies.pop(offset, None)

    def pump(self) -> None:
        if self._pumping:
            self._again = True
            return
        self._pumping = True
        try:
            self._again = True
            while self._again:
                self._again = False
                while len(self._members) and not self._seeking and self._step():
                    pass
        finally:
            self._pumping = False

    def _step(self) -> bool:
        """Deliver or pass over one message; False when nothing can be done."""
        offset = self._first_again()
        if offset:
            entry = self._bodies.get(offset)
            if entry is None:
                self._fetch()
                return offset in self._bodies
            return self._offer(entry, True)
        if len(self._open) >= self._stream.max_open:
            return False
        following = self._ahead.peek()
        if following is None:
            return False
        if following.offset > self.cursor + 1:
            # Offsets of a stream have no gaps: what is missing went before this group had come to it.
            self._stream.metrics.count("stream_missed", following.offset - self.cursor - 1)
        is_expired = following.expires is not None and following.expires <= self._stream.clock.now()
        if is_expired or (self.pattern != "#" and not matches(self.pattern, rest_of(following.topic))):
            self._move(following)
            return True
        return self._offer(following, False)

    def _first_again(self) -> int:
        while self._redo:
            offset = self._redo[0]
            if offset in self._open and self._open[offset] is None:
                return offset
            heappop(self._redo)
        return 0

    def _fetch(self) -> None:
        if self._fetching:
            return
        self._fetching = True
        offsets = sorted({offset for offset in self._redo if offset in self._open})[:32]

        def got(entries: list[Entry]) -> None:
            self._fetching = False
            found = {entry.offset: entry for entry in entries}
            for offset in offsets:
                if offset in self._open and self._open[offset] is None:
                    if offset in found:
                        self._bodies[offset] = found[offset]
                    else:
                        self._close(offset)
            self.pump()

        self._stream.shelf.fetch(offsets, got)

    def _move(self, entry: Entry) -> None:
        self._ahead.pop()
        self.cursor = entry.offset

    def _offer(self, entry: Entry, again: bool) -> bool:
        for member in self._members.in_turn(None):
            outcome = member.send(entry, 2 if again else 1)
            if outcome == BUSY:
                continue
            if not again:
                self._move(entry)
            self._open[entry.offset] = member
            self._members.give(member, entry.offset)
            self._bodies.pop(entry.offset, None)
            if outcome == UNFIT:
                self._stream.metrics.drop("too_large_for_client")
            if outcome in (UNFIT, FINAL):
                self._close(entry.offset)
            return True
        return False

    # -- answers -------------------------------------------------------------------------------------------

    def settle(self, verb: str, offset: int, owner: str, reason: str, done: Done | None) -> None:
        """See ``queue_port.Group``. ``ack`` is one message, ``commit`` everything up to it; others mean nothing.

        Raises Refused: an offset that was not handed out, or not to a consumer of ``owner``.
        """
        if verb == "commit":
            if not 0 < offset <= self.cursor:
                raise Refused(f"offset {offset} was not handed out yet; the last one was {self.cursor}", STALE)
            for one in [one for one in self._open if one <= offset]:
                self._close(one)
            self.commit(done)
        elif verb == "ack":
            consumer = self._open.get(offset)
            if consumer is None or consumer.owner != owner:
                raise Refused(f"message {offset} is not with this consumer, or not any more", STALE)
            self._close(offset)
            if done is not None:
                done(None)
        else:
            raise Refused(f"a stream has no {verb}", STALE)
        self.pump()

    def commit(self, done: Done | None = None) -> None:
        """Store how far the group is. Backwards only by ``seek``."""
        position = self.done_up_to
        if position > self.committed:
            self.committed = position
            self._stream.shelf.place(self.number, position, done)
        elif done is not None:
            done(None)

    def seek(self, after: int) -> None:
        """Go on behind another offset."""
        for offset in list(self._open):
            self._close(offset)
        self._redo.clear()
        self.cursor = self.committed = after
        self._ahead.restart(after)
        self._stream.shelf.seek(self.number, after)
        self.pump()

    def seek_time(self, time: float) -> None:
        """Go on at the first message stored at or after a wall clock time; until it is found nothing is delivered."""
        self._seeking = True

        def got(offset: int) -> None:
            self._seeking = False
            self.seek(offset - 1)

        self._stream.shelf.find(time, got)

    def status(self) -> dict[str, Any]:
        """As a person wants to see it."""
        return {
            "group": self.name,
            "filter": self.pattern,
            "id": self.id,
            "consumers": len(self._members),
            "cursor": self.cursor,
            "committed": self.committed,
            "lag": max(0, min(self._stream.depth, self._stream.shelf.last - self.cursor)),
            "pending": len(self._open),
            "waiting": 0,
        }
