"""One face for the MQTT clients of other people, so that each scenario runs over all of them.

A client here can subscribe, publish, and be one that dies with a will set.
"""

from __future__ import annotations

import queue
from pathlib import Path
from typing import NamedTuple, Protocol

from e2e.rig.waiting import NotInTime

ANSWER_SECONDS = 10.0
WEBSOCKET_PATH = "/mqtt"


class Got(NamedTuple):
    """A message as the client showed it."""

    qos: int
    retain: bool
    payload: str


class Target(NamedTuple):
    """Where the broker listens on 127.0.0.1; ``ca`` makes it TLS."""

    port: int
    ca: Path | None = None
    is_websocket: bool = False


class Subscription(Protocol):
    """A live subscription in some client."""

    def get(self) -> Got:
        """The next message. Raises NotInTime."""

    def close(self) -> None:
        """End the client."""


class Client(Protocol):
    """One client program in one protocol version."""

    def subscribe(self, target: Target, topic: str, qos: int) -> Subscription: ...

    def publish(self, target: Target, topic: str, payload: str, qos: int, retain: bool = False) -> None:
        """Publish, and return when it is acknowledged."""

    def die_with_will(self, target: Target, topic: str, payload: str, qos: int) -> None:
        """Connect with a will, then end without DISCONNECT."""


class Inbox:
    """Messages that a library hands over in its own thread."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._messages: queue.SimpleQueue[Got] = queue.SimpleQueue()

    def put(self, qos: int, retain: bool, payload: bytes) -> None:
        """One more message."""
        self._messages.put(Got(qos, retain, payload.decode()))

    def get(self) -> Got:
        """The next message. Raises NotInTime."""
        try:
            return self._messages.get(timeout=ANSWER_SECONDS)
        except queue.Empty:
            raise NotInTime(f"{self._owner}: no message") from None
