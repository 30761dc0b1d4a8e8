"""Observations (RFC 7641): one client that wants to know of one topic. Pure; time is passed in.

Notifications leave in the order of the messages. Most are not confirmable; every ``confirm``-th is, and one that has
had nothing confirmed for ``confirm_after`` seconds, so that a client that is gone is found out (section 4.5). While
one waits to be confirmed the next ones wait too, within a bound; then the oldest of them is dropped: the client ends
with what is true now (section 1.3).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from gateway.broker.port import Done, Subscriber
from gateway.message import Message

SEQUENCE_BITS: Final = 24
"""An Observe option counts modulo 2**24 (RFC 7641 section 4.4)."""


class Observation(Subscriber):
    """One observation; subscribe it to its topic.

    wake      called when there is something to send
    on_drop   called for each notification that had no room
    waiting   what is still to be sent
    sent      notifications that have left
    """

    __slots__ = (
        "_bound", "_confirm", "_confirm_after", "_confirmed", "_on_drop", "_unconfirmed", "sent", "topic",
        "waiting", "wake",
    )  # fmt: skip

    def __init__(
        self,
        topic: str,
        bound: int,
        confirm: int,
        confirm_after: float,
        on_drop: Callable[[], None],
        now: float,
    ) -> None:
        self.topic = topic
        self.waiting: deque[Message] = deque()
        self.wake: Callable[[], None] = lambda: None
        self.sent = 0
        self._bound = bound
        self._confirm = confirm
        self._confirm_after = confirm_after
        self._on_drop = on_drop
        self._unconfirmed = 0
        self._confirmed = now

    def keeps(self) -> bool:
        return False

    def deliver(self, message: Message, done: Done | None) -> bool:
        if len(self.waiting) >= self._bound:
            self.waiting.popleft()
            self._on_drop()
        self.waiting.append(message)
        self.wake()
        return False

    def next(self, now: float) -> Message | None:
        """What to send now; None when there is nothing. What is not worth delivering any more is left out."""
        while self.waiting:
            message = self.waiting.popleft()
            if message.expires is None or message.expires > now:
                return message
        return None

    def begins(self, now: float) -> bool:
        """One notification leaves: whether it is to be confirmed."""
        self.sent += 1
        self._unconfirmed += 1
        return self._unconfirmed >= self._confirm or self.is_due(now)

    def confirmed(self, now: float) -> None:
        """The client has confirmed one."""
        self._unconfirmed = 0
        self._confirmed = now

    def is_due(self, now: float) -> bool:
        """Whether nothing has been confirmed for too long."""
        return now >= self._confirmed + self._confirm_after

    def due(self) -> float:
        """When something must be confirmed (monotonic)."""
        return self._confirmed + self._confirm_after


class Sequence:
    """Numbers for the Observe option: each is newer than the one before (RFC 7641 section 3.4), whoever gets it, also
    when a client registers again with the token that it had."""

    __slots__ = ("_number",)

    def __init__(self, start: int) -> None:
        self._number = start & ((1 << SEQUENCE_BITS) - 1)

    def next(self) -> int:
        """One more."""
        self._number = (self._number + 1) & ((1 << SEQUENCE_BITS) - 1)
        return self._number


class Places:
    """How many may observe: in total, and of each client."""

    __slots__ = ("_most", "_most_of_one", "_of", "count")

    def __init__(self, most: int, most_of_one: int) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._of: dict[str, int] = {}
        self.count = 0

    def take(self, client: str) -> bool:
        """Take a place for a client, if there is one."""
        mine = self._of.get(client, 0)
        if self.count >= self._most or mine >= self._most_of_one:
            return False
        self._of[client] = mine + 1
        self.count += 1
        return True

    def give(self, client: str) -> None:
        """Give it back."""
        self.count -= 1
        self._of[client] -= 1
        if not self._of[client]:
            del self._of[client]
