"""What stands between delayed messages and the store that keeps them."""

from __future__ import annotations

from typing import Final, Protocol

from gateway.broker.port import Done
from gateway.message import Message

ENTRY_BYTES: Final = 200
"""What one delayed message counts beside its topic, payload and source: the row, and the objects around it."""

PROPERTY_BYTES: Final = 50
"""What one MQTT 5 property counts, whatever its kind."""


class Entry:
    """One message that waits.

    id       grows with every message, also over restarts; never given twice
    boot     the start in which it was accepted
    up       seconds since that start, on the clock that never steps
    delay    seconds from then until it is due; None when it is due at a moment
    moment   wall clock, when ``delay`` is None
    life     seconds that it is worth delivering, from when it is due; None: always
    message  as it will be delivered, but for ``expires``
    size     bytes that count against the bound
    due      monotonic clock, when its time has come; set when it is delivered for the first time
    tries    how often a keeper has refused it
    """

    __slots__ = ("boot", "delay", "due", "id", "life", "message", "moment", "size", "tries", "up")

    def __init__(
        self,
        id: int,
        boot: int,
        up: float,
        delay: float | None,
        moment: float,
        life: float | None,
        message: Message,
    ) -> None:
        self.id = id
        self.boot = boot
        self.up = up
        self.delay = delay
        self.moment = moment
        self.life = life
        self.message = message
        self.size = (
            ENTRY_BYTES
            + len(message.topic)
            + len(message.payload)
            + len(message.source)
            + PROPERTY_BYTES * len(message.props)
        )
        self.due: float | None = None
        self.tries = 0


class Shelf(Protocol):
    """Keeps entries beyond the process."""

    @property
    def boot(self) -> int:
        """Number of this start."""

    def up(self) -> float:
        """Seconds since this start, on the clock that never steps."""

    def age(self, boot: int, up: float) -> float | None:
        """Seconds since ``up`` seconds after start ``boot``; None when no clock can tell."""

    def add(self, entry: Entry, done: Done, hurry: bool) -> None:
        """Store an entry with what gathers; ``done`` follows its commit. Without ``hurry`` it may wait for others.

        Raises GatewayError when it cannot be taken; ``done`` is then never called.
        """

    def remove(self, id: int) -> None:
        """Delete an entry with what gathers; a deletion that cannot be committed is tried again with the next one."""


class Desk(Protocol):
    """What waits, for people."""

    def waiting(self) -> list[tuple[Entry, float | None]]:
        """Every message that waits, with its due time on the monotonic clock (None: the clock must be set first),
        first due first."""

    def cancel(self, id: int) -> Entry | None:
        """Take a message out; None when there is none of that id that could still be stopped."""
