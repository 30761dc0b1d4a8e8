"""``$SYS/gateway/queues | streams | dlq/NAME``: what ``gateway status`` says of each, for who listens.

Retained, QoS 0, JSON; looked at once in an interval, and published again only when something has changed.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, Final

from gateway.broker.port import Publisher
from gateway.broker.queue_port import DEAD, QUEUE, STREAM, OverseenDesk
from gateway.clock import Clock
from gateway.message import Message
from gateway.store.errors import StoreError
from gateway.store.queues import QueueStore

ROOT: Final = "$SYS/gateway"
FOLDERS: Final = {QUEUE: "queues", STREAM: "streams", DEAD: "dlq"}

SHOWN: Final = ("depth", "bytes", "pending", "consumers")
OF_A_GROUP: Final = ("id", "consumers", "lag", "pending", "waiting")


class QueueTopics:
    """See the module's docstring. ``interval`` in seconds; 0 publishes nothing."""

    def __init__(
        self, desk: OverseenDesk, store: QueueStore, publisher: Publisher, clock: Clock, interval: float
    ) -> None:
        self._desk = desk
        self._store = store
        self._publisher = publisher
        self._clock = clock
        self._interval = interval
        self._due = 0.0
        self._asks = False
        self._said: dict[str, bytes] = {}

    def tick(self) -> None:
        """Look, when an interval has passed. Call about once a second."""
        now = self._clock.now()
        if self._interval and now >= self._due and not self._asks and self._desk.parts:
            self._due = now + self._interval
            self._asks = True
            with suppress(StoreError):  # closed: nobody listens any more
                self._store.database.ask(self._store.read_ages(), self._answer)

    def _answer(self, found: Any, error: BaseException | None) -> None:
        """A disk that cannot be read has no ages; the rest is said all the same."""
        self._asks = False
        self.publish(self._store.by_address(found) if error is None else {})

    def publish(self, ages: dict[str, float | None]) -> None:
        """Say what has changed; ``ages`` are those of the oldest messages, in seconds, by address."""
        texts = {_topic(address): _text(status, ages.get(address)) for address, status in self._desk.statuses()}
        # A queue in memory that has gone leaves nothing behind.
        gone = dict.fromkeys(self._said.keys() - texts.keys(), b"")
        for topic, text in {**texts, **gone}.items():
            if self._said.get(topic) != text:
                message = Message(f"{ROOT}/{topic}", text, retain=True, time=self._clock.time())
                self._publisher.publish(message)
        self._said = texts


def _topic(address: str) -> str:
    place, _, name = address.partition("/")
    return f"{FOLDERS[place]}/{name}"


def _text(status: dict[str, Any], age: float | None) -> bytes:
    said = {key: status[key] for key in SHOWN}
    said["oldest_age"] = None if age is None else round(age)
    said["groups"] = [{key: group[key] for key in OF_A_GROUP} for group in status["groups"]]
    return json.dumps(said).encode()
