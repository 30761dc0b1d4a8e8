"""How messages come to one queue or stream: by its address, or because it captures their topic.

Both ways use the same room, so both have one owner, which says whether the whole of a batch fits.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.broker.port import Done, Subscriber
from gateway.broker.queue import Queue
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
        """Also a message that was only captured counts: a batch is kept everywhere or nowhere."""
        return self._part.admit(messages)


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
