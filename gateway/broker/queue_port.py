"""What queues and streams see of the disk and of their consumers, and what those see of them.

The machines (``queue.py``, ``queue_group.py``, ``stream.py``) decide; a *shelf* keeps the messages of one queue; a
*consumer* is somebody who takes them, over whatever protocol. Bodies stay on the shelf: a machine holds offsets, and a
few messages that it has read ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from gateway.broker.port import Done
from gateway.config.queue import Queue, Stream
from gateway.errors import Refused
from gateway.message import USER_PROPERTY, Properties
from gateway.metrics import Metrics

ENTRY_BYTES: Final = 100
"""What a stored message costs beside its topic, payload and properties."""

PROPERTY_BYTES: Final = 50

QUEUE: Final = "$queue"
STREAM: Final = "$stream"
DEAD: Final = "$dlq"
PLACES: Final = (QUEUE, STREAM, DEAD)
"""The first level of the address of a queue, a stream, a dead letter queue; the second is its name."""

STALE: Final = 0x83
"""Implementation specific error (MQTT 5 section 2.4): the message is not with this consumer, or not any more."""

INVALID_TOPIC: Final = 0x90
FULL: Final = 0x97


class Entry:
    """One message of a queue.

    offset   place in the queue; grows by one with each message, never used again
    topic    as published: an ordinary topic that was captured, or an address
    key      what it is ordered by; None when by nothing
    time     wall clock, when it was stored
    expires  monotonic clock, from when on it is not delivered; None never
    size     bytes that count against the bounds
    """

    __slots__ = ("expires", "key", "offset", "payload", "props", "size", "time", "topic")

    def __init__(
        self,
        offset: int,
        topic: str,
        key: str | None,
        payload: bytes,
        props: Properties,
        time: float,
        expires: float | None,
        size: int,
    ) -> None:
        self.offset = offset
        self.topic = topic
        self.key = key
        self.payload = payload
        self.props = props
        self.time = time
        self.expires = expires
        self.size = size


class NewEntry(NamedTuple):
    """A message that has no offset yet. ``life``: seconds until it expires; None never."""

    topic: str
    key: str | None
    payload: bytes
    props: Properties
    time: float
    life: float | None
    size: int


class HeldEntry(NamedTuple):
    """A message that a group had claimed or set aside and not settled when the last run ended."""

    offset: int
    deliveries: int
    key: str | None
    size: int


class StoredGroup(NamedTuple):
    """A group as the last run left it. ``number`` is its name on the shelf."""

    number: int
    name: str
    pattern: str
    cursor: int
    held: Sequence[HeldEntry]


class Listener(Protocol):
    """Who is told what the shelf did: the queue."""

    def appended(self, entries: list[Entry]) -> None:
        """These were stored, in order, right behind those before."""

    def evicted(self, gone: list[tuple[int, int]], reason: str) -> None:
        """These (offset, size) are gone; ``reason`` is why they were lost, "" if nobody needed them."""


Got = Callable[[list[Entry]], None]
"""Called once with what was read; what is missing is gone. Not called when the store is lost."""


Purged = Callable[[int, BaseException | None], None]
"""Called once with how many messages have gone, or with the error when nobody can tell."""


class Shelf(Protocol):
    """What one queue needs of the store. Nothing here waits; ``done`` and ``got`` are called now or later.

    What one callback of the event loop does on several shelves is stored together or not at all.
    """

    last: int
    """Offset of the newest message stored; 0 when there never was one."""

    def append(self, new: NewEntry, done: Done | None, lazily: bool) -> None:
        """Store a message at the end; ``lazily``: it may wait for others. Raises Refused and StoreError."""

    def read(self, after: int, limit: int, got: Got) -> None:
        """Messages behind ``after``, in order; at least one if there is one."""

    def fetch(self, offsets: list[int], got: Got) -> None:
        """These messages, as far as they are still there."""

    def open_group(self, name: str, pattern: str, cursor: int) -> int:
        """A new group; its number."""

    def close_group(self, group: int) -> None:
        """Forget a group, and what only it needed."""

    def place(self, group: int, cursor: int, done: Done | None) -> None:
        """Every message up to ``cursor`` is settled or held."""

    def hold(self, group: int, offset: int, deliveries: int) -> None:
        """A message behind the cursor that is not settled yet."""

    def settle(self, group: int, offset: int, gone: bool, done: Done | None) -> None:
        """A held message is done with; ``gone``: nobody else needs it."""

    def remove(self, offset: int) -> None:
        """Nobody needs this message."""

    def bury(self, group: int, offset: int, gone: bool, to: Any, props: Properties, done: Done) -> None:
        """Copy a held message, with ``props`` added, to the end of the shelf ``to`` and settle it: both or neither."""

    def sweep(self) -> None:
        """Let go what is too old."""

    def seek(self, group: int, cursor: int) -> None:
        """Put a group somewhere else; what it held is not held any more, and what nobody needs goes."""

    def purge(self, up_to: int, limit: int, told: Purged) -> None:
        """Let the oldest messages go, whoever needs them: those up to this offset, at most ``limit``."""

    def find(self, time: float, got: Callable[[int], None]) -> None:
        """The offset of the first message stored at or after a wall clock time; behind the newest if there is none."""

    def take_back(self, offset: int, to: Any, done: Done) -> None:
        """Move a dead letter to the end of the shelf ``to``, without what was written on it: both or neither."""


class Group(Protocol):
    """What a consumer sees of its group."""

    id: str
    name: str
    pattern: str

    def settle(self, verb: str, offset: int, owner: str, reason: str, done: Done | None) -> None:
        """``ack``, ``nack``, ``reject`` or ``commit`` one message for the consumers of ``owner``. Raises Refused."""

    def pump(self) -> None:
        """Deliver what can be delivered: a consumer has room."""

    def release(self, consumer: Consumer) -> None:
        """The consumer is away; what it did not settle goes to others at once."""

    def leave(self, consumer: Consumer) -> None:
        """The consumer is no longer a member."""


SENT: Final = 0
BUSY: Final = 1
UNFIT: Final = 2
FINAL: Final = 3
"""What became of an entry that was offered to a consumer: it has it; it has no room; it can never take it; it has it
and will never answer."""


class Consumer(Protocol):
    """One member of a group.

    owner  who it is, as ``Message.source`` of what it publishes
    """

    owner: str

    def window(self) -> int:
        """How many messages it may have and not settle."""

    def send(self, entry: Entry, deliveries: int) -> int:
        """Write one message to it; see SENT. After BUSY it calls ``Group.pump`` when it has room."""


class Desk(Protocol):
    """What a protocol sees of all queues."""

    def join(self, place: str, name: str, pattern: str, asked: Asked, consumer: Consumer) -> Group:
        """Become a member of a group, whose ``pump`` then delivers.

        Raises Refused: no such queue, too many groups, a start that means nothing.
        """


class OverseenGroup(Protocol):
    """A consumer group as whoever looks after the queues sees it."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def cursor(self) -> int: ...

    def seek(self, after: int) -> None:
        """Go on behind another offset; what is with consumers is not theirs any more."""


class OverseenQueue(Protocol):
    """A queue or stream as whoever looks after it sees it."""

    @property
    def place(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def address(self) -> str: ...
    @property
    def depth(self) -> int: ...
    @property
    def shelf(self) -> Shelf: ...
    @property
    def terms(self) -> Queue | Stream: ...
    @property
    def groups(self) -> Mapping[str, OverseenGroup]: ...

    def holders(self, offset: int) -> dict[str, Any]:
        """By group id: how far it is with a message that it has passed and did not settle."""


class OverseenDesk(Protocol):
    """All of them."""

    @property
    def parts(self) -> Mapping[str, OverseenQueue]: ...
    @property
    def metrics(self) -> Metrics: ...

    def statuses(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """(address, status) of each, in the order of their addresses."""

    def parse_start(self, start: str, last: int) -> tuple[int | None, float | None]:
        """See ``start.parse_start``. Raises Refused."""

    def replay(self, name: str, entry: Entry, to: str | None, done: Done) -> None:
        """Move a dead letter of ``$dlq/name`` to the queue that it came from, or to the queue ``to``; ``done`` is told
        when both are committed, or why it stays."""


class Asked(NamedTuple):
    """How a consumer wants to join: group, whether it can only take QoS 0, and where a new group of a stream starts
    (``first``, ``last``, ``next``, a number, ``time=SECONDS``; empty: where it was, else first)."""

    group: str
    unacknowledged: bool = False
    start: str = ""


def group_id(name: str, pattern: str) -> str:
    """Name and filter in one word. An ``@`` in the name is written %40, so that no two groups share an id."""
    return f"{name.replace('%', '%25').replace('@', '%40')}@{pattern}"


def rest_of(topic: str) -> str:
    """The topic as consumers see it below the address of their queue: without an address of its own."""
    if topic[:1] != "$":
        return topic
    place, _, below = topic.partition("/")
    return below.partition("/")[2] if place in PLACES else topic


def is_address(topic: str) -> bool:
    """Whether a topic or filter begins like the address of a queue, a stream or a dead letter queue."""
    return topic[:1] == "$" and topic.partition("/")[0] in PLACES


def size_of(topic: str, payload: bytes, props: Properties) -> int:
    """Bytes that a message counts."""
    return ENTRY_BYTES + len(topic) + len(payload) + PROPERTY_BYTES * len(props)


def check_text(topic: str, key: str | None) -> None:
    """What is stored is UTF-8; what a rule made may hold what is not, and must not spoil the transaction of others.

    Raises Refused.
    """
    if topic.isascii() and (key is None or key.isascii()):
        return
    try:
        f"{topic}{key}".encode()
    except UnicodeEncodeError as error:
        raise Refused(f"{topic!r} is not UTF-8: {error}", INVALID_TOPIC) from None


DEAD_LETTER: Final = "dlq-"
"""How the user properties begin that say where a dead letter comes from."""


def without_dead_letter(props: Properties) -> Properties:
    """Properties as they were before the message became a dead letter."""
    return tuple(one for one in props if one[0] != USER_PROPERTY or not one[1][0].startswith(DEAD_LETTER))
