"""Exclusive subscriptions: of all clients that subscribe to ``$exclusive/FILTER``, one has it, the others wait.

The first gets the messages of FILTER; the next is refused with 0x97 (0x80 in version 3) until the first
unsubscribes, disconnects or its session ends. A standby that tries again takes over. The subscription goes with
the connection also when the session stays: a client that comes back asks again, as it may have been replaced.

Plain subscriptions to FILTER are not touched. A client that has both gets a copy of each message for either, as
with shared subscriptions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from gateway.broker.port import Done, Router, Subscriber
from gateway.message import Message
from gateway.mqtt.reasons import QUOTA_EXCEEDED, TOPIC_FILTER_INVALID

if TYPE_CHECKING:
    from gateway.mqtt.session import Session

EXCLUSIVE: Final = "$exclusive/"


class Apart(Subscriber):
    """A session in its exclusive subscriptions: for the broker somebody else than the session itself."""

    __slots__ = ("session",)

    def __init__(self, session: Session) -> None:
        self.session = session

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Apart) and self.session is other.session

    def __hash__(self) -> int:
        return id(self.session) ^ 1

    def merge(self, options: Sequence[Any], topic: str) -> Subscriber:
        return self.session.merge(options, topic)

    def deliver(self, message: Message, done: Done | None) -> bool:
        raise AssertionError("a session receives through Delivery")


class Exclusive:
    """Who holds which filter. ``allowed = False`` refuses every ``$exclusive/`` with 0x8F."""

    __slots__ = ("_allowed", "_holders")

    def __init__(self, allowed: bool = True) -> None:
        self._allowed = allowed
        self._holders: dict[str, Session] = {}

    def refusal(self, pattern: str, session: Session) -> int:
        """Reason code against ``session`` having ``pattern``, which begins with ``$exclusive/``; 0 if it may."""
        plain = pattern[len(EXCLUSIVE) :]
        if not self._allowed or not plain or plain.startswith(("$share/", EXCLUSIVE)):
            return TOPIC_FILTER_INVALID
        holder = self._holders.get(pattern, session)
        return 0 if holder is session or pattern not in holder.subscriptions else QUOTA_EXCEEDED

    def claim(self, pattern: str, session: Session) -> None:
        """It is subscribed from now on; ``refusal`` was 0."""
        self._holders[pattern] = session

    def release(self, pattern: str, session: Session) -> None:
        """It is no longer subscribed."""
        if self._holders.get(pattern) is session:
            del self._holders[pattern]

    def leave(self, session: Session, broker: Router) -> None:
        """The connection of ``session`` ends: others may have what it had."""
        for pattern in [pattern for pattern, holder in self._holders.items() if holder is session]:
            session.unsubscribe(broker, pattern)
            del self._holders[pattern]
