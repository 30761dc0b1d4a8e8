"""The way into the outbox: from a message to a row in the block that gathers.

A ``Lane`` is the outbox as the broker sees it from one topic: it knows the class of the rows and which uplinks must
have them, so that this is found out once for a topic and not for each message.

What waits is announced to the database some rows at a time, and at once when a row must go sooner than the
transaction knows. Pure but for the two callables that it is given; compiled with the hot chain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from gateway.broker.port import Done, Keeper
from gateway.errors import GatewayError, Refused
from gateway.message import Message
from gateway.store.block import PROPERTY_BYTES, Block, Head

ANNOUNCE_ROWS: Final = 32
ANNOUNCE_BYTES: Final = 16 << 10
"""Rows and bytes that the database need not know of yet: a call for each row costs more than the row."""

MAX_HEADS: Final = 64
"""Sources remembered for one topic; past it they start anew."""

Begin = Callable[[int, float, int], Block]
"""Takes the size of the first row, how long it may wait, and its class; raises GatewayError when it cannot be kept."""

Announce = Callable[[int, int, float], None]
"""Takes rows, bytes, and how long they may wait; raises GatewayError when they cannot be kept."""

AWAITED: Final = -1.0
"""How long a row may wait when its publisher waits for it: as short as the window allows."""

EXACTLY_ONCE: Final = -2.0
"""The same with QoS 2: no uplink can have it before it is written, see ``Block.rows``."""


class Intake:
    """See the module's docstring.

    database  for its ``transaction``
    wall      reads the wall clock, for messages without a time; ``offset`` the wall clock less the monotonic one
    instant   by class: answers are given at once
    lingers   by class: seconds that a row may wait when nobody waits for it
    largest   by class: bytes of a row that may be kept
    rouse     called once when there are rows to read, until ``is_roused`` is reset
    lost      counts a message that was not kept and that nobody waits for
    """

    __slots__ = (
        "_announce", "_begin", "_lost", "_offset", "_rouse", "_shortest", "_unsaid", "_unsaid_bytes", "_wall", "block",
        "database", "instant", "is_roused", "largest", "lingers",
    )  # fmt: skip

    def __init__(
        self,
        database: Any,
        begin: Begin,
        announce: Announce,
        rouse: Callable[[], None],
        wall: Callable[[], float],
        offset: Callable[[], float],
        lost: Callable[[], None],
    ) -> None:
        self.database = database
        self.block = Block(0, 1, 0, 0)
        self.instant: list[bool] = []
        self.lingers: list[float] = []
        self.largest: list[int] = []
        self.is_roused = False
        self._shortest = 0.0
        self._begin = begin
        self._announce = announce
        self._rouse = rouse
        self._wall = wall
        self._offset = offset
        self._lost = lost
        self._unsaid = 0
        self._unsaid_bytes = 0

    def add(self, head: Head, payload: bytes, time: float, done: Done | None, size: int) -> Block:
        """A row of ``size`` bytes at the end of the gathering block. Raises GatewayError when it cannot be kept."""
        if done is None:
            within = self.lingers[head.room]
        else:
            within = AWAITED if head.qos < 2 else EXACTLY_ONCE
        block = self.block
        if block.transaction != self.database.transaction:
            block = self._begin(size, within, head.room)
            self.block = block
            self._shortest = within
            self._unsaid = 0
            self._unsaid_bytes = 0
        else:
            rows = self._unsaid + 1
            total = self._unsaid_bytes + size
            if rows >= ANNOUNCE_ROWS or total >= ANNOUNCE_BYTES or within < self._shortest:
                self._announce(rows, total, within)
                self._shortest = min(within, self._shortest)
                rows = total = 0
            self._unsaid = rows
            self._unsaid_bytes = total
        block.add(head, payload, time, done)
        if not self.is_roused:
            self.is_roused = True
            self._rouse()
        return block

    def resume(self, block: Block, within: float) -> None:
        """Go on with a block that has been taken over from the transaction before."""
        self.block = block
        self._shortest = within
        self._unsaid = 0
        self._unsaid_bytes = 0

    def take(self, lane: Lane, message: Message, done: Done | None) -> bool:
        """As ``Subscriber.deliver``."""
        try:
            head = lane.head(message.source, message.qos, message.retain)
            if head is None:
                return False
            size = self.size_of(head, message)
            is_instant = self.instant[head.room]
            time = message.time if message.time > 0 else self._wall()  # also for NaN, which SQLite takes for NULL
            block = self.add(head, message.payload, time, None if is_instant else done, size)
        except GatewayError as error:
            if done is not None:
                done(error)
            else:
                self._lost()
            return True
        expires = message.expires
        props = message.props
        if props or expires is not None:
            block.add_extras(None if expires is None else expires + self._offset(), props)
        if is_instant and done is not None:
            done(None)
        return True

    def admit(self, lane: Lane, messages: Sequence[Message]) -> Refused | None:
        """As ``Subscriber.admit``: only what could never be stored is refused, since others make room."""
        try:
            for message in messages:
                head = lane.head(message.source, message.qos, message.retain)
                if head is not None:
                    self.size_of(head, message)
        except Refused as refused:
            return refused
        return None

    def size_of(self, head: Head, message: Message) -> int:
        """What a message counts. Raises Refused (0x97) when it is more than its class may ever hold."""
        size = head.size + len(message.payload) + PROPERTY_BYTES * len(message.props)
        if size > self.largest[head.room]:
            text = f"{message.topic}: {len(message.payload)} bytes are more than the outbox may hold"
            raise Refused(text, 0x97)
        return size

    def keep(self, lane: Lane, payload: bytes, time: float, source: str, done: Done) -> bool:
        """As ``Keeper.keep``."""
        try:
            head = lane.head(source, 1, False)
            if head is None:
                return False
            size = head.size + len(payload)
            if size > self.largest[head.room] or not time > 0:
                return False
            is_instant = self.instant[head.room]
            self.add(head, payload, time, None if is_instant else done, size)
        except GatewayError:
            return False
        if is_instant:
            done(None)
        return True


class Lane(Keeper):
    """The outbox for one topic.

    room   class of its rows
    needs  bit and name of each uplink that must have them
    """

    __slots__ = ("_heads", "_intake", "_last", "_needs", "_room", "_topic")

    def __init__(self, intake: Intake, topic: str, room: int, needs: list[tuple[int, str]]) -> None:
        self._intake = intake
        self._topic = topic
        self._room = room
        self._needs = needs
        self._heads: dict[tuple[str, int, bool], Head | None] = {}
        self._last: Head | None = None

    def deliver(self, message: Message, done: Done | None) -> bool:
        """Keep one message for the uplinks; ``done`` follows its commit, or comes when all uplinks have it.

        False when there is no uplink but the one that it came from: it would only go round.
        """
        return self._intake.take(self, message, done)

    def keep(self, payload: bytes, time: float, source: str, done: Done) -> bool:
        return self._intake.keep(self, payload, time, source, done)

    def admit(self, messages: Sequence[Message]) -> Refused | None:
        return self._intake.admit(self, messages)

    def express(self, version: int, qos: int) -> Any:
        """Itself: plain QoS 1 messages need not be decoded for the outbox."""
        return self if qos == 1 else None

    def head(self, source: str, qos: int, retain: bool) -> Head | None:
        """What rows of one source have in common; None when nobody else must have them.

        Raises Refused (0x90) when topic or source is not valid text.
        """
        last = self._last
        if last is not None and last.qos == qos and last.retain == retain and last.source == source:
            return last
        key = (source, qos, retain)
        if key in self._heads:
            head = self._heads[key]
        else:
            head = self._new_head(source, qos, retain)
            if len(self._heads) >= MAX_HEADS:
                self._heads.clear()
            self._heads[key] = head
        self._last = head
        return head

    def _new_head(self, source: str, qos: int, retain: bool) -> Head | None:
        needs = [(bit, name) for bit, name in self._needs if source != f"uplink:{name}"]
        if not needs:
            return None
        try:
            self._topic.encode()
            source.encode()
        except UnicodeEncodeError:
            # SQLite stores UTF-8; a topic that a rule made may hold what is not, and must not spoil the transaction.
            raise Refused(f"{self._topic!r} from {source!r} is not valid text", 0x90) from None
        need = 0
        for bit, _ in needs:
            need |= bit
        names = tuple([name for _, name in needs])
        return Head(self._room, need, names, self._topic, source, qos, retain)
