"""The last message of each topic that is not retained, so that GET finds it. Pure, bounded, the oldest goes first."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gateway.broker.port import Done, Subscriber
from gateway.message import Message


class LastValues(Subscriber):
    """Subscribe it to what is to be remembered.

    max_count, max_bytes  bounds of what is kept
    on_drop               called for each topic that had to go
    """

    __slots__ = ("_kept", "_max_bytes", "_max_count", "_on_drop", "bytes")

    def __init__(self, max_count: int, max_bytes: int, on_drop: Callable[[], None]) -> None:
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._on_drop = on_drop
        self._kept: dict[str, Message] = {}
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def keeps(self) -> bool:
        return False

    def deliver(self, message: Message, done: Done | None) -> bool:
        self._forget(message.topic)
        # An empty retained message clears the topic [MQTT-3.3.1-6].
        if message.payload or not message.retain:
            self._kept[message.topic] = message
            self.bytes += _size(message)
            while len(self._kept) > self._max_count or self.bytes > self._max_bytes:
                self._forget(next(iter(self._kept)))
                self._on_drop()
        return False

    def get(self, topic: str) -> Message | None:
        """The last message of a topic."""
        return self._kept.get(topic)

    def __iter__(self) -> Iterator[Message]:
        return iter(self._kept.values())

    def _forget(self, topic: str) -> None:
        known = self._kept.pop(topic, None)
        if known is not None:
            self.bytes -= _size(known)


def _size(message: Message) -> int:
    return len(message.topic) + len(message.payload)
