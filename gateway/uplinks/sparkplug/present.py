"""What the points publish, as it happens, for births: they tell the present, however much waits in the outbox."""

from __future__ import annotations

from collections.abc import Callable

from gateway.broker.port import Done, Subscriber
from gateway.message import Message


class Present(Subscriber):
    """Sees each message of the points and keeps none."""

    def __init__(self, take: Callable[[Message], None]) -> None:
        self._take = take

    def deliver(self, message: Message, done: Done | None) -> bool:
        self._take(message)
        return False

    def keeps(self) -> bool:
        return False
