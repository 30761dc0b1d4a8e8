"""How messages come to one queue or stream: by its address, or because it captures their topic.

Both ways use the same room, so both have one owner, which says whether the whole of a batch fits. Only what was sent to
the address can make it refuse: a queue that captures holds up nobody, and drops and counts what it has no room for.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.broker.port import Done, Subscriber
from gateway.broker.queue import Queue
from gateway.broker.queue_port import is_address
from gateway.broker.stream import Stream
from gateway.errors import Refused
from gateway.message import Message


class Entrance(Subscriber):
    """What is published to the address of a queue or stream, below which no level is one of ours."""

    __slots__ = ("_part",)

    def __init__(self, part: Queue | Stream) -> None:
        self._part = part

    def deliver(self, message: Message, done: Done | None) -> bool:
        self._part.append(message, done, False)
        return True

    def admit(self, messages: Sequence[Message]) -> Refused | None:
        for message in messages:
            if is_address(message.topic):
                return self._part.admit(messages)
        return self._part.unfit(messages)


class Capture(Subscriber):
    """Ordinary topics into one queue or stream."""

    __slots__ = ("_entrance", "_part")

    def __init__(self, part: Queue | Stream, entrance: Entrance) -> None:
        self._part = part
        self._entrance = entrance

    def deliver(self, message: Message, done: Done | None) -> bool:
        self._part.append(message, done, True)
        return True

    def owner(self) -> Subscriber:
        return self._entrance
