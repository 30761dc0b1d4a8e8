"""The rows of one transaction as columns: no object is made for a row until somebody reads it.

A block is filled while its transaction gathers. A row whose uplinks have all acknowledged it before the hand-over is
*settled*: its payload leaves the block, it is never written, and its publisher is answered at once. What is left is
written, and the block stays in memory for the uplinks as long as there is room (``tail.py``).

Pure: no clock, no I/O. Compiled with the hot chain.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gateway.broker.port import Done
from gateway.message import Properties
from gateway.outbound import Row
from gateway.store.segment import head_text

ROW_BYTES: Final = 48
"""What a row costs beside its topic and payload: numbers, time, its share of a page."""

GRAIN: Final = 0.01
"""Seconds that moments are kept apart: of a rush of rows only some have one of their own."""

PROPERTY_BYTES: Final = 50
"""What one MQTT 5 property counts against the bound, whatever its kind."""


KIND_BITS: Final = 3
"""Of ``Head.kind``, for the class."""

KIND_MASK: Final = (1 << KIND_BITS) - 1


class Head:
    """What many rows have in common.

    room    class of the rows, an index into ``rooms.ROOMS``
    need    uplinks that must have the rows, as bits by their place in the settings
    kind    both of these in one number
    text    how it is stored: topic, source, QoS, retain, and the uplinks by name, as JSON
    place   where it is in the block that begins with row ``block``
    """

    __slots__ = ("block", "kind", "need", "place", "qos", "retain", "room", "size", "source", "text", "topic")

    def __init__(
        self, room: int, need: int, names: tuple[str, ...], topic: str, source: str, qos: int, retain: bool
    ) -> None:
        self.room = room
        self.need = need
        self.kind = need << KIND_BITS | room
        self.text = head_text((topic, source, qos, retain, names))
        self.topic = topic
        self.source = source
        self.qos = qos
        self.retain = retain
        self.size = ROW_BYTES + len(topic)
        self.place = 0
        self.block = 0


class Block:
    """Rows ``first``, ``first + 1``, ...; the columns have one entry each.

    transaction  of the database, the one they are written in
    boot, up     number of this start, and whole seconds since it
    heads        those in use; ``places`` says for each row which one it has
    payloads     None once settled
    dones        waiters; None when nobody waits
    extras       moment of expiry (wall clock) and properties, by index, of the few rows that have them
    bytes        of what is not settled
    kept         rows that are not settled
    kinds        each ``kind`` among the heads
    rooms        classes of the rows, as bits
    stamps       (index, moment): the row and those behind it came then or later
    written      whether the commit is over, well or not
    is_held      a read met a row that must be written first
    ended        see ``ends``, once it is written
    """

    __slots__ = (
        "boot", "bytes", "dones", "ended", "extras", "first", "heads", "is_held", "kept", "kinds", "marks", "payloads",
        "places", "rooms", "stamps", "times", "transaction", "up", "written",
    )  # fmt: skip

    def __init__(self, transaction: int, first: int, boot: int, up: int) -> None:
        self.transaction = transaction
        self.first = first
        self.boot = boot
        self.up = up
        self.heads: list[Head] = []
        self.places: list[int] = []
        self.payloads: list[bytes | None] = []
        self.times: list[float] = []
        self.dones: list[Done | None] = []
        self.extras: dict[int, tuple[float | None, Properties]] = {}
        self.bytes = 0
        self.kept = 0
        self.marks: dict[int, int] = {}
        self.kinds: set[int] = set()
        self.rooms = 0
        self.stamps: list[tuple[int, float]] = []
        self.written = False
        self.is_held = False
        self.ended: list[tuple[int, int]] | None = None

    @property
    def last(self) -> int:
        """Number of the last row; ``first - 1`` when there is none."""
        return self.first + len(self.payloads) - 1

    @property
    def count(self) -> int:
        """Rows, settled ones too."""
        return len(self.payloads)

    def add(self, head: Head, payload: bytes, time: float, done: Done | None) -> None:
        """One more row."""
        if head.block != self.first:
            head.block = self.first
            head.place = len(self.heads)
            self.heads.append(head)
            self.kinds.add(head.kind)
            self.rooms |= 1 << head.room
        self.places.append(head.place)
        self.payloads.append(payload)
        self.times.append(time)
        self.dones.append(done)
        self.bytes += head.size + len(payload)
        self.kept += 1

    def add_extras(self, expires: float | None, props: Properties) -> None:
        """The row just added expires, or has properties."""
        self.extras[len(self.payloads) - 1] = (expires, props)
        self.bytes += PROPERTY_BYTES * len(props)

    def settle(self, kind: int, seq: int) -> list[Done]:
        """The uplinks that must have rows of a ``kind`` have all of them up to ``seq``: they are settled.

        The waiters of these rows, in order; call them when the block is in order.
        """
        waiters: list[Done] = []
        start = self.marks.get(kind, 0)
        end = min(seq - self.first + 1, len(self.payloads))
        for index in range(start, end):
            if self.heads[self.places[index]].kind == kind:
                done = self.dones[index]
                self.remove(index)
                if done is not None:
                    waiters.append(done)
        if end > start:
            self.marks[kind] = end
        return waiters

    def remove(self, index: int) -> None:
        """The row is not to be written or read any more, whatever the reason."""
        payload = self.payloads[index]
        if payload is None:
            return
        self.bytes -= self.heads[self.places[index]].size + len(payload)
        extra = self.extras.pop(index, None)
        if extra is not None:
            self.bytes -= PROPERTY_BYTES * len(extra[1])
        self.payloads[index] = None
        self.dones[index] = None
        self.kept -= 1

    def stamp(self, now: float) -> None:
        """The row just added came now."""
        if now - self.stamps[-1][1] >= GRAIN:
            self.stamps.append((len(self.payloads) - 1, now))

    def since(self, index: int) -> float:
        """When a row came, or a little before."""
        found = self.stamps[0][1]
        for first, moment in self.stamps:
            if first > index:
                break
            found = moment
        return found

    def rest(self, now: float, patience: float, lingers: list[float]) -> float:
        """Seconds that the rows which are not settled may still wait, all of them: awaited ones ``patience``, others
        what ``lingers`` says of their class. Awaited ones of QoS 2 may not wait at all."""
        rest = float("inf")
        seen: set[tuple[int, bool]] = set()
        for index, payload in enumerate(self.payloads):
            if payload is None:
                continue
            place, is_awaited = self.places[index], self.dones[index] is not None
            if (place, is_awaited) in seen:  # the first of its kind has waited longest
                continue
            seen.add((place, is_awaited))
            if not is_awaited:
                most = lingers[self.heads[place].room]
            else:
                most = patience if self.heads[place].qos < 2 else 0.0
            rest = min(rest, self.since(index) + most - now)
        return rest

    @property
    def unsettled(self) -> int:
        """Index of the first row that is not settled; ``count`` when all are."""
        for index, payload in enumerate(self.payloads):
            if payload is not None:
                return index
        return len(self.payloads)

    def give_back(self, is_taken: Callable[[int, int, int], bool]) -> tuple[list[Done], int, int]:
        """Nothing of the block was kept: take out what nobody has, and what somebody waits for.

        ``is_taken``: whether every uplink of a need has got the row of a class with a number. Returns the waiters,
        how many rows nobody waits for are lost, and how many are not: settled, or with every uplink that needs them.
        """
        waiters: list[Done] = []
        lost = taken = 0
        for index, payload in enumerate(self.payloads):
            if payload is None:
                taken += 1
                continue
            done, head = self.dones[index], self.heads[self.places[index]]
            if done is not None:
                waiters.append(done)
            elif is_taken(head.need, head.room, self.first + index):
                taken += 1
            else:
                lost += 1
            self.remove(index)
        return waiters, lost, taken

    def split(self, index: int) -> Block:
        """Take the rows from ``index`` on out of this block; they are the block that is returned."""
        rest = Block(self.transaction, self.first + index, self.boot, self.up)
        rest.stamps = [(0, self.since(index))]
        rest.stamps += [(first - index, moment) for first, moment in self.stamps if first > index]
        for head in self.heads:
            head.block = 0  # their places are those in the other block from here on
        for at in range(index, len(self.payloads)):
            head, payload, done = self.heads[self.places[at]], self.payloads[at], self.dones[at]
            rest.add(head, payload or b"", self.times[at], done)
            extra = self.extras.get(at)
            if extra is not None:
                rest.add_extras(extra[0], extra[1])
            if payload is None:
                rest.remove(at - index)
            self.remove(at)
        del self.places[index:], self.payloads[index:], self.times[index:], self.dones[index:]
        return rest

    def ends(self) -> list[tuple[int, int]]:
        """Each class in it, and the number of its last row."""
        ended = self.ended
        if ended is not None:
            return ended
        found: list[tuple[int, int]] = []
        rooms = self.rooms
        for index in range(len(self.places) - 1, -1, -1):
            room = self.heads[self.places[index]].room
            if rooms >> room & 1:
                found.append((room, self.first + index))
                rooms &= ~(1 << room)
                if not rooms:
                    break
        if self.written:  # nothing comes any more
            self.ended = found
        return found

    def rows(
        self, room: int, after: int, upto: int, limit: int, max_bytes: int, at_least: int
    ) -> tuple[list[Row], int]:
        """Rows of a class with ``after < seq <= upto``: at most ``limit`` and about ``max_bytes`` of payload, but
        ``at_least`` so many. And the number up to which all rows of the class have been read.

        What was published with QoS 2 is not read before it is written, nor what is behind it: after a crash its
        publisher would send it again, and it would be another row.
        """
        found: list[Row] = []
        left = max_bytes
        end = min(len(self.payloads), upto + 1 - self.first)
        for index in range(max(0, after + 1 - self.first), end):
            payload = self.payloads[index]
            if payload is None:
                continue
            head = self.heads[self.places[index]]
            if head.room != room:
                continue
            left -= len(payload)
            if len(found) >= limit or (left < 0 and len(found) >= at_least):
                return found, self.first + index - 1
            if head.qos == 2 and not self.written and self.dones[index] is not None:
                self.is_held = True
                return found, self.first + index - 1
            expires: float | None = None
            props: Properties = ()
            extra = self.extras.get(index)
            if extra is not None:
                expires, props = extra
            found.append(
                Row(
                    self.first + index, self.boot, head.topic, payload, head.qos, head.retain, props,
                    self.times[index], expires, head.source,
                )
            )  # fmt: skip
        return found, max(after, self.first + end - 1)
