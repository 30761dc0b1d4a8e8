"""Subscribers that look at messages and let an action run only for some: a change, another quality, or silence."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

from gateway.broker.port import Done, Subscriber
from gateway.message import Message, Value
from gateway.rules.timers import Timer, Timers

T = TypeVar("T")

MAX_TOPICS: Final = 10_000
"""Topics that one trigger remembers; the one not heard from for longest is forgotten first."""

LONGEST_KEPT: Final = 4096
"""Bytes of a payload that is remembered as it is; of a longer one only a digest."""


class Fire(Protocol):
    """Lets an action run. The result is that of ``Subscriber.deliver``."""

    def __call__(self, message: Message, done: Done | None, was: Value = None) -> bool: ...


class Recent(Generic[T]):
    """Something about each of the topics heard from last."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: OrderedDict[str, T] = OrderedDict()

    def swap(self, topic: str, value: T) -> T | None:
        """Remember ``value``; what was remembered before, None for a new topic."""
        before = self._known.pop(topic, None)
        self._known[topic] = value
        if len(self._known) > MAX_TOPICS:
            self._known.popitem(last=False)
        return before

    def get(self, topic: str) -> T | None:
        return self._known.get(topic)

    def drop(self, topic: str) -> None:
        self._known.pop(topic, None)


class ChangeWatch(Subscriber):
    """Fires when the payload differs from the one before on the same topic, byte for byte. The first one differs."""

    __slots__ = ("_fire", "_last")

    def __init__(self, fire: Fire) -> None:
        self._fire = fire
        self._last: Recent[bytes | int] = Recent()

    def deliver(self, message: Message, done: Done | None) -> bool:
        payload = message.payload
        mark = payload if len(payload) <= LONGEST_KEPT else hash(payload)
        before = self._last.swap(message.topic, mark)
        if before == mark:
            return False
        return self._fire(message, done, _value_of(before) if isinstance(before, bytes) else None)


class QualityWatch(Subscriber):
    """Fires when the quality of a point differs from the one before; the first time only when it is not good."""

    __slots__ = ("_fire", "_last")

    def __init__(self, fire: Fire) -> None:
        self._fire = fire
        self._last: Recent[str] = Recent()

    def deliver(self, message: Message, done: Done | None) -> bool:
        value = message.value
        quality = value.get("q") if isinstance(value, dict) else None
        if not isinstance(quality, str):
            return False
        before = self._last.swap(message.topic, quality)
        if quality == (before or "good"):
            return False
        return self._fire(message, done, before)


class SilenceWatch(Subscriber):
    """Fires once when nothing has come on a topic for so long; with the last message, or an empty one.

    A filter with wildcards watches each topic from its first message on; a topic without is watched from the start.
    """

    __slots__ = ("_fire", "_after", "_now", "_timers", "_seen", "_waiting")

    def __init__(self, pattern: str, after: float, fire: Fire, now: Callable[[], float], timers: Timers) -> None:
        self._fire = fire
        self._after = after
        self._now = now
        self._timers = timers
        self._seen: Recent[tuple[float, Message]] = Recent()
        self._waiting: dict[str, Timer] = {}
        if "+" not in pattern and "#" not in pattern:
            self._expect(pattern, now(), Message(pattern, b"", qos=1))

    def deliver(self, message: Message, done: Done | None) -> bool:
        self._expect(message.topic, self._now(), message)
        return False

    def keeps(self) -> bool:
        return False

    def close(self) -> None:
        """Watch no more."""
        for timer in self._waiting.values():
            timer.cancel()
        self._waiting.clear()

    def _expect(self, topic: str, now: float, message: Message) -> None:
        self._seen.swap(topic, (now, message))
        # One timer for each topic, put anew when it is due: messages come more often than silences.
        if topic not in self._waiting:
            self._wait(topic, now + self._after)

    def _wait(self, topic: str, at: float) -> None:
        self._waiting[topic] = self._timers.put(at, lambda: self._look(topic))

    def _look(self, topic: str) -> None:
        del self._waiting[topic]
        seen = self._seen.get(topic)
        if seen is None:
            return  # forgotten for want of room
        since, message = seen
        if self._now() < since + self._after:
            self._wait(topic, since + self._after)
            return
        self._seen.drop(topic)
        self._fire(message, None)


def _value_of(payload: bytes) -> Value:
    value = Message("", payload).value
    return value.get("v") if isinstance(value, dict) else value
