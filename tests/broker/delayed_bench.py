"""Delayed messages on a shelf of paper: what is committed, and when, is the test's decision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.broker.broker import Broker
from gateway.broker.delayed import DelayedDesk
from gateway.broker.delayed_port import Entry
from gateway.broker.port import Done, Subscriber
from gateway.clock import FixedClock
from gateway.errors import Refused
from gateway.message import Message
from gateway.metrics import Metrics

EARLIEST = 1_704_067_200.0


class Paper:
    """A shelf. ``auto``: everything is committed at once; else ``commit`` or ``fail`` does it."""

    def __init__(self, clock: FixedClock) -> None:
        self.boot = 1
        self.auto = True
        self.behind = False
        self.known = True
        self.last = 0
        self.rows: dict[int, Entry] = {}
        self.waiting: list[tuple[Entry, Done]] = []
        self.log: list[Any] = []
        self._clock = clock
        self._began = clock.now()
        self._wall: dict[int, float] = {1: clock.time()}

    def restart(self) -> None:
        """Another start, on the clocks as they are."""
        self.boot += 1
        self._began = self._clock.now()
        self._wall[self.boot] = self._clock.time()
        self.waiting.clear()

    def up(self) -> float:
        return self._clock.now() - self._began

    def age(self, boot: int, up: float) -> float | None:
        if boot == self.boot:
            return self.up() - up
        time = self._clock.time()
        return max(0.0, time - self._wall[boot] - up) if self.known and time >= EARLIEST else None

    def add(self, entry: Entry, done: Done, hurry: bool) -> None:
        if self.behind:
            raise Refused("behind", 0x97)
        self.log.append(("add", entry.id, hurry))
        self.waiting.append((entry, done))
        if self.auto:
            self.commit()

    def remove(self, id: int) -> None:
        self.log.append(("remove", id))
        del self.rows[id]

    def commit(self) -> None:
        waiting, self.waiting = self.waiting, []
        for entry, done in waiting:
            self.rows[entry.id] = entry
            self.last = entry.id  # a table with AUTOINCREMENT remembers it too
            done(None)

    def fail(self) -> None:
        waiting, self.waiting = self.waiting, []
        for _, done in waiting:
            done(Refused("no room on the disk", 0x97))


class Watcher(Subscriber):
    """Takes messages; keeps them, and answers when told to, if asked to."""

    def __init__(self, keeps: bool = False) -> None:
        self.is_keeper = keeps
        self.got: list[Message] = []
        self.waiting: list[Done] = []
        self.refusal: Refused | None = None

    def admit(self, messages: Any) -> Refused | None:
        return self.refusal

    def deliver(self, message: Message, done: Done | None) -> bool:
        self.got.append(message)
        if self.is_keeper and done is not None:
            self.waiting.append(done)
        return self.is_keeper

    @property
    def topics(self) -> list[str]:
        return [message.topic for message in self.got]


class DelayedBench:
    """A broker with a desk; ``watcher`` sees every plain topic."""

    def __init__(self, time: float = 1_800_000_000.0, **bounds: Any) -> None:
        self.clock = FixedClock(time)
        self.paper = Paper(self.clock)
        self.bounds = {"enabled": True, "max_count": 1000, "max_bytes": 1 << 20, "max_delay": 1e6, **bounds}
        self.alarms: list[tuple[float, Callable[[], None]]] = []
        self.start()

    def start(self) -> None:
        self.metrics = Metrics()
        self.broker = Broker(self.metrics)
        self.desk = DelayedDesk(self.broker, self.clock, self.metrics, earliest=EARLIEST, **self.bounds)
        self.watcher = Watcher()
        self.broker.subscribe("#", self.watcher)
        rows = [self.paper.rows[id] for id in sorted(self.paper.rows)]
        # As they come from a table: nothing of the last run is in them.
        stored = [Entry(one.id, one.boot, one.up, one.delay, one.moment, one.life, one.message) for one in rows]
        self.desk.open(self.paper, stored, self.paper.last)

    def restart(self, after: float = 0.0) -> None:
        """kill -9, and a start ``after`` seconds later."""
        self.clock.advance(after)
        self.paper.restart()
        self.start()

    def publish(self, topic: str, payload: bytes = b"x", qos: int = 1, **more: Any) -> list[BaseException | None]:
        answers: list[BaseException | None] = []
        self.broker.publish(Message(topic, payload, qos, **more), answers.append if qos else None)
        return answers

    def wait(self, seconds: float, step: float = 1.0) -> None:
        """Let time pass with a tick each ``step``."""
        end = self.clock.now() + seconds
        while self.clock.now() < end:
            self.clock.advance(min(step, end - self.clock.now()))
            self.desk.tick()
