"""Delayed messages: what is published to ``$delayed/<delay>/<target>`` is kept, and published to its target when due.

The desk is the one subscriber of ``$delayed/#``, so a client, a will, a rule and an uplink all use it the same way. A
message is acknowledged when it is on disk. When its time has come it is offered to everybody as any other message,
retained then and not before, and deleted when all who keep it have it safe: after a crash in between it comes again
(at least once). A refusal of one of them is tried again, later and later; what nobody can keep is dropped and counted.

Delays are measured on the clock that never steps, over a restart as ``store/boots.py`` can tell. Messages whose time
came while the gateway was off follow at the start, in the order in which they were due.

It keeps every message in memory too: the bounds are on both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

from gateway.broker.delayed_port import Entry, Shelf
from gateway.broker.port import Done, Publisher, Subscriber
from gateway.broker.schedule import Schedule
from gateway.clock import Clock
from gateway.delay import DELAYED, TOPIC_NAME_INVALID, Delay, read_delay
from gateway.errors import GatewayError, Refused
from gateway.message import Message
from gateway.metrics import Metrics

MAX_UNDER_WAY: Final = 256
"""Messages that are due and not yet safe with everybody; more of them wait, so that a start does not flood anyone."""

MAX_TRIES: Final = 10
"""Deliveries of one message in one run of the gateway; with the pauses between them about five minutes."""

LONGEST_PAUSE: Final = 60.0

SOON: Final = 1.5
"""Seconds. What is due later than this is found by a tick before, which also sees a step of the clock."""

QUOTA_EXCEEDED: Final = 0x97

Alarm = Callable[[float, Callable[[], None]], object]


class DelayedDesk(Subscriber):
    """Takes delayed messages and publishes them when they are due. Use it between ``open`` and ``close``.

    enabled    False: nothing is taken any more; what was taken before is still delivered
    max_count  messages that may wait
    max_bytes  sum of their ``Entry.size``
    max_delay  seconds until the farthest moment a message may ask for
    earliest   a wall clock before this was never set: no moment has come, and no delay is too long
    alarm      set by the shell: calls back after so many seconds; without it ``tick`` has to do
    """

    __slots__ = (
        "_armed", "_bytes", "_clock", "_earliest", "_enabled", "_entries", "_is_open", "_last", "_max_bytes",
        "_max_count", "_max_delay", "_metrics", "_publisher", "_schedule", "_shelf", "_ticking", "_under_way",
        "_unsure", "alarm",
    )  # fmt: skip

    def __init__(
        self,
        publisher: Publisher,
        clock: Clock,
        metrics: Metrics,
        enabled: bool,
        max_count: int,
        max_bytes: int,
        max_delay: float,
        earliest: float,
    ) -> None:
        self.alarm: Alarm | None = None
        self._publisher = publisher
        self._clock = clock
        self._metrics = metrics
        self._enabled = enabled
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._max_delay = max_delay
        self._earliest = earliest
        self._schedule = Schedule(earliest)
        self._shelf: Shelf | None = None
        self._is_open = False
        self._entries: dict[int, Entry] = {}
        self._under_way: set[int] = set()
        self._unsure: set[int] = set()
        self._bytes = 0
        self._last = 0
        self._ticking = False
        self._armed: float | None = None

    def open(self, shelf: Shelf, stored: Iterable[Entry], last: int) -> None:
        """Take up what the last stop left, and subscribe. ``last``: the newest id ever given. The bounds do not hold
        for what was taken before they were lowered."""
        self._shelf = shelf
        self._is_open = True
        self._last = last
        now, time = self._clock.now(), self._clock.time()
        for entry in stored:
            self._entries[entry.id] = entry
            self._bytes += entry.size
            self._put(entry, now, time)
        self._publisher.subscribe(DELAYED + "#", self)

    def close(self) -> None:
        """Take nothing and begin no delivery any more; what is under way is deleted when it is safe."""
        self._is_open = False

    # -- messages in ---------------------------------------------------------------------------------------

    def read(self, topic: str) -> Delay:
        """What a topic below ``$delayed/`` asks for. Raises Refused (0x90) when it makes no sense here."""
        if not self._enabled:
            raise Refused("delayed messages are switched off (mqtt.delayed.enabled)", TOPIC_NAME_INVALID)
        delay = read_delay(topic)
        ahead = delay.number
        if delay.is_moment:
            time = self._clock.time()
            ahead = delay.number - time if time >= self._earliest else 0.0
        if ahead > self._max_delay:
            raise Refused(f"a delay may be {self._max_delay:g} s long (mqtt.delayed.max_delay)", TOPIC_NAME_INVALID)
        return delay

    def deliver(self, message: Message, done: Done | None) -> bool:
        """Keep one message until it is due; ``done`` follows its commit. See ``Subscriber.deliver``."""
        try:
            shelf = self._open_shelf()
            entry = self._entry(message, shelf)
            if not self._has_room(1, entry.size):
                self._metrics.drop("delayed_full")
                if done is not None:
                    done(self._full())
                return True
            shelf.add(entry, partial(self._stored, entry, done), hurry=done is not None)
        except GatewayError as error:
            if done is not None:
                done(error)
            else:
                self._metrics.drop("delayed_refused")
            return True
        self._last = entry.id
        self._entries[entry.id] = entry
        self._bytes += entry.size
        return True

    def admit(self, messages: Sequence[Message]) -> Refused | None:
        """Whether all of them make sense and fit. See ``Subscriber.admit``."""
        size = 0
        try:
            shelf = self._open_shelf()
            for message in messages:
                size += self._entry(message, shelf).size
        except Refused as refused:
            return refused
        return None if self._has_room(len(messages), size) else self._full()

    def _open_shelf(self) -> Shelf:
        shelf = self._shelf
        if shelf is None or not self._is_open:
            raise Refused("the gateway is stopping", QUOTA_EXCEEDED)
        return shelf

    def _entry(self, message: Message, shelf: Shelf) -> Entry:
        wanted = self.read(message.topic)
        life = None if message.expires is None else max(0.0, message.expires - self._clock.now())
        waiting = message.replace(wanted.target)
        if not message.time > 0:  # NaN too, for which a column has no word
            waiting.time = self._clock.time()
        try:
            message.topic.encode()
            message.source.encode()
        except UnicodeEncodeError:
            # A rule may make half of a surrogate pair; it must not spoil the transaction of others.
            raise Refused(f"{message.topic!r} is not valid text", TOPIC_NAME_INVALID) from None
        return Entry(
            self._last + 1,
            shelf.boot,
            shelf.up(),
            None if wanted.is_moment else wanted.number,
            wanted.number if wanted.is_moment else 0.0,
            life,
            waiting,
        )

    def _has_room(self, count: int, size: int) -> bool:
        return len(self._entries) + count <= self._max_count and self._bytes + size <= self._max_bytes

    def _full(self) -> Refused:
        return Refused(
            f"{len(self._entries)} delayed messages ({self._bytes} bytes) wait already "
            "(mqtt.delayed.max_count, max_bytes)",
            QUOTA_EXCEEDED,
        )

    def _stored(self, entry: Entry, done: Done | None, error: BaseException | None) -> None:
        """Committed, or not: only what is on disk is waited for."""
        if error is None:
            self._put(entry, self._clock.now(), self._clock.time())
            self._arm()
        else:
            self._forget(entry)
            if done is None:
                self._metrics.drop("delayed_refused")
        if done is not None:
            done(error)

    # -- time ----------------------------------------------------------------------------------------------

    def _put(self, entry: Entry, now: float, time: float) -> None:
        shelf = self._shelf
        if shelf is None:
            return
        if entry.delay is None:
            self._schedule.at(entry.id, entry.moment)
            return
        since = shelf.since(entry.boot, entry.up, now, time)
        if since is None:
            # Nobody knows how long the gateway was off until the clock is set. Never too early: as if it was not.
            self._unsure.add(entry.id)
            since = shelf.since(shelf.boot, 0.0, now, time) or 0.0
        self._schedule.after(entry.id, since + entry.delay)

    def next_timer(self) -> float | None:
        """When ``tick`` has something to do, on the monotonic clock; a step of the wall clock may move it."""
        if len(self._under_way) >= MAX_UNDER_WAY:
            return None
        return self._schedule.next_timer(self._clock.now(), self._clock.time())

    def tick(self) -> None:
        """Publish what is due. Call it about once a second, and at ``next_timer``."""
        if not self._is_open or self._ticking:
            return
        now, time = self._clock.now(), self._clock.time()
        if self._unsure and min(time, self._clock.surely(now)) >= self._earliest:
            for id in list(self._unsure):
                self._put(self._entries[id], now, time)
            self._unsure.clear()  # who is still without an age gets none in this start
        self._ticking = True
        try:
            room = MAX_UNDER_WAY - len(self._under_way)
            for id, due in self._schedule.take_due(now, time, room):
                self._publish(self._entries[id], due, now)
        finally:
            self._ticking = False
        self._arm()

    def _arm(self) -> None:
        """Wake up in time for what is due before the tick after the next."""
        due = self.next_timer()
        now = self._clock.now()
        if self.alarm is None or not self._is_open or self._ticking or due is None or due > now + SOON:
            return
        if self._armed is None or due < self._armed:
            self._armed = due
            self.alarm(max(0.0, due - now), self._wake)

    def _wake(self) -> None:
        self._armed = None
        self.tick()

    # -- messages out --------------------------------------------------------------------------------------

    def _publish(self, entry: Entry, due: float, now: float) -> None:
        self._unsure.discard(entry.id)
        if entry.due is None:
            entry.due = due
        message = entry.message
        if entry.life is not None:
            if now - entry.due >= entry.life:
                self._metrics.drop("delayed_expired")
                self._end(entry)
                return
            message = message.replace()
            message.expires = entry.due + entry.life
        self._under_way.add(entry.id)
        # A batch of one: refused as a whole, so that a second try is no repeat for those who would take it.
        self._publisher.publish_batch((message,), partial(self._published, entry))

    def _published(self, entry: Entry, error: BaseException | None) -> None:
        self._under_way.discard(entry.id)
        if error is None:
            self._metrics.count("delayed_delivered")
            self._end(entry)
        else:
            entry.tries += 1
            if entry.tries >= MAX_TRIES:
                self._metrics.drop("delayed_failed")
                self._end(entry)
            else:
                self._metrics.count("delayed_repeats")
                pause = min(LONGEST_PAUSE, 2.0 ** (entry.tries - 1))
                self._schedule.after(entry.id, self._clock.now() + pause)
        self._arm()

    def _end(self, entry: Entry) -> None:
        self._forget(entry)
        if self._shelf is not None:
            self._shelf.remove(entry.id)

    def _forget(self, entry: Entry) -> None:
        if self._entries.pop(entry.id, None) is not None:
            self._bytes -= entry.size
            self._unsure.discard(entry.id)
            self._schedule.remove(entry.id)

    # -- for people ----------------------------------------------------------------------------------------

    def waiting(self) -> list[tuple[Entry, float | None]]:
        """Every message that waits, with its due time on the monotonic clock (None: the clock must be set first),
        first due first."""
        now, time = self._clock.now(), self._clock.time()
        found = [(one, self._schedule.due(one.id, now, time)) for one in self._entries.values()]
        return sorted(found, key=lambda pair: (pair[1] is None, pair[1] or 0.0, pair[0].id))

    def cancel(self, id: int) -> Entry | None:
        """Take a message out; None when there is none of that id that could still be stopped."""
        entry = self._entries.get(id)
        if entry is None or id in self._under_way:
            return None
        if self._schedule.due(id, self._clock.now(), self._earliest) is None:
            return None  # not on disk yet: its publisher has no answer, so nobody knows of it
        self._end(entry)
        return entry

    def status(self) -> dict[str, int]:
        """How many wait, and how much of the bounds they use."""
        return {"count": len(self._entries), "bytes": self._bytes, "under_way": len(self._under_way)}
