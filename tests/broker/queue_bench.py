"""What the tests of queues share: a clock that stands still, consumers that note what they get, shelves that fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.broker.memory_shelf import MemoryShelf
from gateway.broker.queue import Queue
from gateway.broker.queue_desk import dead_terms
from gateway.broker.queue_port import BUSY, DEAD, QUEUE, SENT, Entry, Got
from gateway.broker.stream import Stream
from gateway.clock import FixedClock
from gateway.config.queue import DeadLetter
from gateway.config.queue import Queue as QueueTerms
from gateway.config.queue import Stream as StreamTerms
from gateway.errors import Refused
from gateway.message import USER_PROPERTY, Message
from gateway.metrics import Metrics


class Taker:
    """A consumer. ``got`` are (offset, deliveries); ``room`` bounds what it may have and not settle."""

    def __init__(self, name: str = "a", room: int = 100) -> None:
        self.owner = f"client:{name}"
        self.room = room
        self.answer = SENT
        self.got: list[tuple[int, int]] = []
        self.entries: list[Entry] = []

    def window(self) -> int:
        return self.room

    def send(self, entry: Entry, deliveries: int) -> int:
        if self.answer != BUSY:
            self.got.append((entry.offset, deliveries))
            self.entries.append(entry)
        return self.answer

    def take(self) -> list[int]:
        """Offsets since the last call."""
        offsets = [offset for offset, _ in self.got]
        self.got.clear()
        return offsets


class SlowShelf(MemoryShelf):
    """Reads are answered when the test says so, and dead letters may fail."""

    def __init__(self, clock: FixedClock, max_count: int = 10**6, max_bytes: int = 10**9, max_age: float = 0.0) -> None:
        super().__init__(clock, max_count, max_bytes, max_age)
        self.is_slow = False
        self.is_full = False
        self.questions: list[Callable[[], None]] = []
        self.reads = 0

    def read(self, after: int, limit: int, got: Got) -> None:
        self.reads += 1
        self._later(lambda: MemoryShelf.read(self, after, limit, got))

    def fetch(self, offsets: list[int], got: Got) -> None:
        self._later(lambda: MemoryShelf.fetch(self, offsets, got))

    def bury(self, group: int, offset: int, gone: bool, to: Any, props: Any, done: Any) -> None:
        if self.is_full:
            done(Refused("the disk is full", 0x97))
        else:
            super().bury(group, offset, gone, to, props, done)

    def _later(self, question: Callable[[], None]) -> None:
        if self.is_slow:
            self.questions.append(question)
        else:
            question()

    def answer(self) -> None:
        questions, self.questions = self.questions, []
        for question in questions:
            question()


class Bench:
    """One queue with its dead letters, or one stream."""

    def __init__(self) -> None:
        self.clock = FixedClock()
        self.metrics = Metrics()
        self.wakes: list[float] = []
        self.shelf = SlowShelf(self.clock)

    def queue(self, dead: bool = True, **terms: Any) -> Queue:
        settings = QueueTerms(**terms)
        self.shelf = SlowShelf(self.clock, max_age=settings.ttl)
        target = None
        if dead:
            shelf = SlowShelf(self.clock)
            target = Queue(DEAD, "q", dead_terms(DeadLetter()), shelf, self.clock, self.metrics, self.wakes.append)
            shelf.listener = target
        queue = Queue(QUEUE, "q", settings, self.shelf, self.clock, self.metrics, self.wakes.append, target)
        self.shelf.listener = queue
        return queue

    def stream(self, max_count: int = 10**6, **terms: Any) -> Stream:
        settings = StreamTerms(**terms)
        self.shelf = SlowShelf(self.clock, max_count, max_age=settings.max_age)
        stream = Stream("s", settings, self.shelf, self.clock, self.metrics, self.wakes.append)
        self.shelf.listener = stream
        return stream

    def put(self, part: Queue | Stream, *topics: str, key: str | None = None, **more: Any) -> None:
        props = ((USER_PROPERTY, ("unit", key)),) if key is not None else ()
        for topic in topics or ("t",):
            part.append(Message(topic, b"x", 1, props=props, **more), None, False)

    def join(self, part: Any, taker: Taker, group: str = "g", pattern: str = "#") -> Any:
        joined = part.join(group, pattern, taker) if isinstance(part, Queue) else part.join(group, pattern, "", taker)
        joined.pump()
        return joined

    def pass_time(self, part: Queue | Stream, seconds: float, step: float | None = None) -> None:
        """Let time pass from timer to timer, as the shell does."""
        end = self.clock.now() + seconds
        while True:
            due = part.next_timer()
            if due is None or due > end:
                break
            self.clock.advance(max(0.0, due - self.clock.now()))
            part.on_timer(self.clock.now())
        self.clock.advance(end - self.clock.now())


def props_of(entry: Entry) -> dict[str, str]:
    return {value[0]: value[1] for identifier, value in entry.props if identifier == USER_PROPERTY}
