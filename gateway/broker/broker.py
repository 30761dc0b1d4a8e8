"""The router: one message in, every matching subscriber out.

``publish`` keeps the retained value, finds the receivers (from a cache by topic), and hands each the message.
A publish from inside a ``deliver`` waits until the current message has reached everybody, so that all
subscribers see a cause before its effect, and a chain of rules cannot grow the stack.

It does not know clients, sessions, files or time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Final

from gateway.broker.batch import refusal
from gateway.broker.port import Done, Gate, Gather, Generation, Guard, Later, Subscriber
from gateway.broker.retained import Retained
from gateway.broker.trie import Trie
from gateway.delay import DELAYED
from gateway.errors import GatewayError, Refused
from gateway.message import Message
from gateway.metrics import Metrics

CACHE_TOPICS: Final = 8192
"""Topics whose receivers are remembered. A plant has hundreds to a few thousand; past the bound it starts anew."""

MAX_NESTED: Final = 10_000
"""Messages published in answer to one message. Rules are cut by their hop limit long before."""


class Broker:
    """Routes messages to subscribers; implements ``broker.port.Publisher``.

    gate    the store, to be asked before a batch; None: there is none that could be behind
    keeper  gets every message that has changed what is retained, to keep it beyond the process; None: nobody does
    """

    __slots__ = (
        "gate", "generation", "keeper", "metrics",
        "_cache", "_guard", "_later", "_nested", "_publishing", "_retained", "_trie",
    )  # fmt: skip

    def __init__(self, metrics: Metrics | None = None, retained: Retained | None = None) -> None:
        self.gate: Gate | None = None
        self.metrics = metrics or Metrics()
        self._trie = Trie()
        self._retained = retained or Retained()
        self._cache: dict[str, tuple[Subscriber, ...]] = {}
        self.generation = Generation()
        self._guard: Guard | None = None
        self._later: Later | None = None
        self.keeper: Subscriber | None = None
        self._publishing = False
        self._nested: deque[tuple[Sequence[Message], Done | None, bool]] = deque()

    def publish(self, message: Message, done: Done | None = None) -> int:
        """Route one message; see ``Publisher.publish``."""
        if self._publishing:
            self._publish_later((message,), done, False)
            return 0
        self._publishing = True
        try:
            receivers = self._route(message, done, message.source)
            if self._nested:
                self._route_nested(message.source)
        finally:
            self._publishing = False
        return receivers

    def publish_batch(self, messages: Sequence[Message], done: Done | None = None) -> int:
        """Route several messages, all or none; see ``Publisher.publish_batch``."""
        if self._publishing:
            self._publish_later(messages, done, True)
            return 0
        self._publishing = True
        try:
            lane = messages[0].source if messages else ""
            receivers = self._route_batch(messages, done, lane)
            if self._nested:
                self._route_nested(lane)
        finally:
            self._publishing = False
        return receivers

    def _publish_later(self, messages: Sequence[Message], done: Done | None, is_batch: bool) -> None:
        if len(self._nested) < MAX_NESTED:
            self._nested.append((messages, done, is_batch))
            return
        self.metrics.drop("nested_full", len(messages))
        if done is not None:
            done(Refused("too many messages published in answer to one", 0x97))

    def _route_nested(self, lane: str) -> None:
        # What a message brings about goes where it goes, so that it cannot come before it.
        while self._nested:
            messages, done, is_batch = self._nested.popleft()
            if is_batch:
                self._route_batch(messages, done, lane)
            else:
                self._route(messages[0], done, lane)

    def _route_batch(self, messages: Sequence[Message], done: Done | None, lane: str) -> int:
        gate = self.gate
        error: GatewayError | None = refusal(self.receivers, messages)
        if error is None and self._guard is not None:
            error = next(filter(None, map(self._guard.refuse, messages)), None)
        if error is None and gate is not None:
            try:
                gate.begin_batch(sum(len(message.topic) + len(message.payload) for message in messages))
            except GatewayError as behind:
                error = behind
        if error is not None:
            if done is not None:
                done(error)
            else:
                self.metrics.drop("batch_refused", len(messages))
            return 0
        gather = Gather(done) if done is not None else None
        receivers = 0
        try:
            for message in messages:
                if gather is not None:
                    gather.expect()
                receivers += self._hand_out(message, gather, lane)
        finally:
            if gate is not None:
                gate.end_batch()
        if gather is not None:
            gather.close()
        return receivers

    def _route(self, message: Message, done: Done | None, lane: str) -> int:
        if self._guard is not None:
            refused = self._guard.refuse(message)
            if refused is not None:
                if done is not None:
                    done(refused)
                return 0
        return self._hand_out(message, done, lane)

    def _hand_out(self, message: Message, done: Done | None, lane: str) -> int:
        keeper: Subscriber | None = None
        # A delayed message is retained when it is delivered, under its target.
        if message.retain and not message.topic.startswith(DELAYED):
            if self._retained.put(message):
                keeper = self.keeper
            else:
                self.metrics.drop("retained_full")
        receivers = everybody = self.receivers(message.topic)
        later = self._later
        if later is not None and later.wants(lane, len(everybody)):
            later.take(lane, message, [receiver for receiver in everybody if not receiver.keeps()])
            receivers = tuple(receiver for receiver in everybody if receiver.keeps())
        if done is None:
            if keeper is not None:
                keeper.deliver(message, None)
            for receiver in receivers:
                receiver.deliver(message, None)
        elif len(receivers) == 1 and keeper is None:
            if not receivers[0].deliver(message, done):
                done(None)
        else:
            gather = Gather(done)
            if keeper is not None:
                gather.expect()
                if not keeper.deliver(message, gather):
                    gather.cancel()
            for receiver in receivers:
                gather.expect()
                if not receiver.deliver(message, gather):
                    gather.cancel()
            gather.close()
        return len(everybody)

    def receivers(self, topic: str) -> tuple[Subscriber, ...]:
        """Who would get a message on ``topic`` now."""
        receivers = self._cache.get(topic)
        return self._find(topic) if receivers is None else receivers

    def _find(self, topic: str) -> tuple[Subscriber, ...]:
        options_of: dict[Subscriber, list[Any]] = {}
        for subscriber, options in self._trie.match(topic):
            options_of.setdefault(subscriber, []).append(options)
        receivers = tuple(subscriber.merge(options, topic) for subscriber, options in options_of.items())
        if len(self._cache) >= CACHE_TOPICS:
            self._cache.clear()
        self._cache[topic] = receivers
        return receivers

    def subscribe(self, pattern: str, subscriber: Subscriber, options: Any = None) -> bool:
        """Add or replace one subscription; True when it is new."""
        self._cache.clear()
        self.generation.number += 1
        return self._trie.add(pattern, subscriber, options)

    def unsubscribe(self, pattern: str, subscriber: Subscriber) -> bool:
        """Remove one subscription; False when there was none."""
        self._cache.clear()
        self.generation.number += 1
        return self._trie.remove(pattern, subscriber)

    def deliver_later(self, later: Later) -> None:
        """Give ``later`` what it wants from here on."""
        self._later = later

    def guard_with(self, guard: Guard | None) -> None:
        """Let ``guard`` look at everything from here on; None: nobody does."""
        self._guard = guard
        self.forget()

    def is_guarded(self, topic: str) -> bool:
        """Whether a guard looks at each message on ``topic``."""
        return self._guard is not None and self._guard.covers(topic)

    def spelling(self, pattern: str) -> str:
        """The filter as the text that is kept, if it is."""
        return self._trie.spelling(pattern)

    def forget(self) -> None:
        """What ``merge`` answered may not hold any more."""
        self._cache.clear()
        self.generation.number += 1

    def retained(self, pattern: str) -> Iterable[Message]:
        """The retained messages that match a filter, in topic order."""
        return self._retained.match(pattern)

    def restore(self, message: Message) -> bool:
        """Retain what was retained before a restart; nobody gets it. False when there is no room."""
        return self._retained.put(message)

    def status(self) -> dict[str, int]:
        """Sizes of what the broker keeps."""
        return {
            "subscriptions": self._trie.size,
            "retained": self._retained.count,
            "retained_bytes": self._retained.bytes,
        }
