"""All queues and streams: where their addresses lead, who may join, and what time does to them.

A publish to ``$queue/NAME/...`` or ``$stream/NAME/...`` appends; with a verb as its last level, ``$queue/NAME/$ack``,
it settles a message for its publisher. ``$dlq/NAME`` takes verbs only. For all addresses this is one subscriber of the
broker; each queue that captures ordinary topics is one more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from gateway.broker.memory_shelf import MemoryShelf
from gateway.broker.port import Done, Publisher, Subscriber
from gateway.broker.queue import Queue
from gateway.broker.queue_entrance import Capture, Entrance
from gateway.broker.queue_port import (
    DEAD,
    DEAD_LETTER,
    FULL,
    INVALID_TOPIC,
    PLACES,
    QUEUE,
    STALE,
    STREAM,
    Asked,
    Consumer,
    Entry,
    Group,
    Shelf,
    StoredGroup,
)
from gateway.broker.start import parse_start
from gateway.broker.stream import Stream
from gateway.clock import Clock
from gateway.config.queue import DeadLetter, Queues, Retry, dead_letter_names
from gateway.config.queue import Queue as QueueTerms
from gateway.config.queue import Stream as StreamTerms
from gateway.errors import Refused
from gateway.message import USER_PROPERTY, Message
from gateway.metrics import Metrics

VERBS: Final = ("$ack", "$nack", "$reject", "$commit")

NO_SUCH_FILTER: Final = 0x8F
UNSPECIFIED: Final = 0x80

Alarm = Callable[[float, Callable[[], None]], object]


class Stored(Protocol):
    """A queue as the last run left it."""

    @property
    def depth(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    @property
    def groups(self) -> list[StoredGroup]: ...


class QueueDesk(Subscriber):
    """See the module's docstring. Use it after ``open``.

    queues, streams, terms  as the settings have them
    alarm  set by the shell: calls back after so many seconds; without it ``tick`` has to do
    """

    __slots__ = (
        "_armed",
        "_clock",
        "_emptied",
        "_entrances",
        "metrics",
        "_queues",
        "_streams",
        "_terms",
        "alarm",
        "parts",
    )

    def __init__(
        self,
        queues: Mapping[str, QueueTerms],
        streams: Mapping[str, StreamTerms],
        terms: Queues,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._queues = queues
        self._streams = streams
        self._terms = terms
        self._clock = clock
        self.metrics = metrics
        self._emptied: dict[str, float | None] = {}
        """Queues in memory: since when they have no consumer."""
        self._entrances: dict[str, Entrance] = {}
        self._armed: float | None = None
        self.alarm: Alarm | None = None
        self.parts: dict[str, Queue | Stream] = {}

    # -- building ------------------------------------------------------------------------------------------

    def open(self, shelf_of: Callable[[str], Shelf], stored: Mapping[str, Stored], broker: Publisher) -> None:
        """Build the queues on their shelves, with what the last run left, and let messages in."""
        dead: dict[str, Queue] = {}
        for name, letters in dead_letter_names(self._queues).items():
            dead[name] = self._add(self._queue(DEAD, name, dead_terms(letters), shelf_of(f"{DEAD}/{name}"), None))
        for name, terms in self._queues.items():
            letters = terms.dead_letter
            target = dead[letters.target or name] if letters.enabled else None
            self._add(self._queue(QUEUE, name, terms, shelf_of(f"{QUEUE}/{name}"), target))
        for name, log in self._streams.items():
            shelf = shelf_of(f"{STREAM}/{name}")
            self._add(Stream(name, log, shelf, self._clock, self.metrics, self._wake))
        for address, part in self.parts.items():
            left = stored[address]
            part.restore(left.groups, left.depth, left.bytes)
            entrance = self._entrances[address] = Entrance(part)
            capture = Capture(part, entrance)
            for pattern in self._topics(part):
                broker.subscribe(pattern, capture)
        for place in PLACES:
            broker.subscribe(f"{place}/#", self)

    def _queue(self, place: str, name: str, terms: QueueTerms, shelf: Shelf, dead: Queue | None) -> Queue:
        return Queue(place, name, terms, shelf, self._clock, self.metrics, self._wake, dead)

    def _add(self, part: Any) -> Any:
        self.parts[part.address] = part
        part.shelf.listener = part
        return part

    @staticmethod
    def _topics(part: Queue | Stream) -> tuple[str, ...]:
        return part.terms.topics

    def close(self) -> None:
        """The gateway stops: how far the streams are read is stored."""
        for part in self.parts.values():
            if isinstance(part, Stream):
                part.close()

    # -- messages in ---------------------------------------------------------------------------------------

    def merge(self, options: Sequence[Any], topic: str) -> Subscriber:
        """A topic below a queue or stream of the settings leads straight to it; the rest is for this desk."""
        place, _, below = topic.partition("/")
        name, _, rest = below.partition("/")
        if place == DEAD or any(level in VERBS for level in rest.split("/")):
            return self
        return self._entrances.get(f"{place}/{name}", self)

    def admit(self, messages: Sequence[Message]) -> Refused | None:
        """What comes here and not to an ``Entrance`` is no message for a queue of the settings: a verb, a dead letter,
        a name that means nothing, or a queue in memory, which has kept its part when the transaction of the others
        fails. Alone, a message may be any of these."""
        if len(messages) < 2:
            return None
        return Refused(f"{messages[0].topic} cannot be part of a batch: it is no queue of the settings", INVALID_TOPIC)

    def deliver(self, message: Message, done: Done | None) -> bool:
        """Append or settle; see the module's docstring."""
        refused: Refused | None = None
        try:
            self._take(message, done)
        except Refused as error:
            refused = error
        if refused is not None:
            self.metrics.drop("queue_refused")
            if done is not None:
                done(refused)
        return True

    def _take(self, message: Message, done: Done | None) -> None:
        place, _, below = message.topic.partition("/")
        name, _, rest = below.partition("/")
        part = self.parts.get(f"{place}/{name}")
        verb = _verb(rest)
        if part is None:
            if place != QUEUE or verb:
                raise Refused(f"there is no {place}/{name}", INVALID_TOPIC)
            part = self._make(name)
        if verb:
            self._settle(part, verb, message, done)
        elif place == DEAD:
            raise Refused("dead letters come from queues only", INVALID_TOPIC)
        else:
            part.append(message, done, False)

    def _settle(self, part: Queue | Stream, verb: str, message: Message, done: Done | None) -> None:
        group = part.groups.get(message.user_property("group-id") or "")
        if group is None:
            raise Refused("the user property group-id names no consumer group", STALE)
        offset = _offset(message, part.name)
        group.settle(verb[1:], offset, message.source, message.user_property("reason") or "", done)

    def _make(self, name: str) -> Queue:
        """A queue in memory."""
        terms = self._terms
        if not terms.auto_create or not name or name.startswith("$"):
            raise Refused(f"there is no queue {name!r}; the settings have no [queue.{name}]", INVALID_TOPIC)
        if len(self._emptied) >= terms.max_ephemeral:
            raise Refused(f"there are {terms.max_ephemeral} ephemeral queues already", FULL)
        shelf = MemoryShelf(self._clock, terms.max_depth, terms.max_bytes)
        queue: Queue = self._add(self._queue(QUEUE, name, ephemeral_terms(terms), shelf, None))
        self._emptied[name] = self._clock.now()
        return queue

    # -- consumers -----------------------------------------------------------------------------------------

    def join(self, place: str, name: str, pattern: str, asked: Asked, consumer: Consumer) -> Group:
        """See ``queue_port.Desk``."""
        part = self.parts.get(f"{place}/{name}")
        if part is None:
            if place != QUEUE or not self._terms.auto_create:
                raise Refused(f"there is no {place}/{name}", NO_SUCH_FILTER)
            part = self._make(name)
        if isinstance(part, Stream):
            return part.join(asked.group, pattern, asked.start, consumer)
        if asked.unacknowledged and name not in self._emptied:
            raise Refused(f"{part.address} needs QoS 1: a consumer must answer", UNSPECIFIED)
        return part.join(asked.group, pattern, consumer)

    def is_ephemeral(self, part: Queue | Stream) -> bool:
        """Whether it is in memory only."""
        return part.place == QUEUE and part.name in self._emptied

    # -- by hand -------------------------------------------------------------------------------------------

    def parse_start(self, start: str, last: int) -> tuple[int | None, float | None]:
        """See ``start.parse_start``."""
        return parse_start(start, last)

    def replay(self, name: str, entry: Entry, to: str | None, done: Done) -> None:
        """See ``queue_port.OverseenDesk``."""
        dead = self.parts.get(f"{DEAD}/{name}")
        wanted = to if to is not None else origin_of(entry)
        address = f"{QUEUE}/{wanted}"
        target = self.parts.get(address) if address in self._entrances else None
        if isinstance(dead, Queue) and isinstance(target, Queue):
            dead.replay(entry, target, done)
        else:
            done(Refused(f"there is no queue {wanted!r} in the settings", INVALID_TOPIC))

    # -- time ----------------------------------------------------------------------------------------------

    def _wake(self, due: float) -> None:
        if self.alarm is not None and (self._armed is None or due < self._armed):
            self._armed = due
            self.alarm(max(0.0, due - self._clock.now()), self.tick)

    def tick(self) -> None:
        """Do what is due. Called by the alarm, and about once a second."""
        now = self._clock.now()
        self._armed = None
        for part in list(self.parts.values()):
            due = part.next_timer()
            if due is not None and due <= now:
                part.on_timer(now)
        self._let_go(now)
        due = self.next_timer()
        if due is not None:
            self._wake(due)

    def next_timer(self) -> float | None:
        """When ``tick`` has something to do next, monotonic."""
        times = (part.next_timer() for part in self.parts.values())
        return min((time for time in times if time is not None), default=None)

    def _let_go(self, now: float) -> None:
        for name, since in list(self._emptied.items()):
            queue = self.parts[f"{QUEUE}/{name}"]
            if queue.consumers:
                self._emptied[name] = None
            elif since is None:
                self._emptied[name] = now
            elif now - since > self._terms.linger:
                if queue.depth:
                    self.metrics.drop("queue_ephemeral_gone", queue.depth)
                del self._emptied[name], self.parts[queue.address]

    def statuses(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """(address, status) of each queue and stream, in the order of their addresses."""
        for address in sorted(self.parts):
            part = self.parts[address]
            yield address, {"address": address, **part.status(), "ephemeral": self.is_ephemeral(part)}


def dead_terms(letters: DeadLetter) -> QueueTerms:
    """A queue of dead letters: tried for ever, and never chained to another."""
    return QueueTerms(
        max_deliveries=0,
        dead_letter=DeadLetter(enabled=False),
        ttl=0.0,
        max_depth=letters.max_depth,
        max_bytes=letters.max_bytes,
        when_full="drop_oldest",
        retry=Retry(),
    )


def ephemeral_terms(terms: Queues) -> QueueTerms:
    """A queue in memory."""
    return QueueTerms(
        dead_letter=DeadLetter(enabled=False),
        ttl=0.0,
        max_depth=terms.max_depth,
        max_bytes=terms.max_bytes,
        when_full="drop_oldest",
    )


def origin_of(letter: Entry) -> str | None:
    """The queue that a dead letter came from."""
    for identifier, value in letter.props:
        if identifier == USER_PROPERTY and value[0] == f"{DEAD_LETTER}queue":
            name: str = value[1]
            return name
    return None


def _verb(rest: str) -> str:
    """The verb of an address below its queue, or "". Raises Refused when it is not all there is."""
    if "$" not in rest:
        return ""
    if rest in VERBS:
        return rest
    if any(level in VERBS for level in rest.split("/")):
        raise Refused(f"{rest!r}: a verb must be the last level, right below the queue", INVALID_TOPIC)
    return ""


def _offset(message: Message, name: str) -> int:
    """The message that is meant: user property message-id, ``NAME:OFFSET``, or ``offset``. Raises Refused."""
    asked = message.user_property("message-id")
    text = message.user_property("offset") or ""
    if asked is not None:
        queue, _, text = asked.rpartition(":")
        if queue != name:
            raise Refused(f"message {asked!r} is none of {name!r}", STALE)
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise Refused("the user property message-id must be NAME:OFFSET, as it was delivered", STALE)
    return int(text)
