"""What is true for one turn of the event loop: the time, and which receiver is full."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.mqtt.pressure import Pressure


class Turn:
    """One cached reading of both clocks, set by the shell once for each wake-up.

    now      monotonic seconds
    time     wall clock, seconds since 1970
    pressed  set while a message is routed: a receiver that has enough for now, so that its publisher waits
    """

    __slots__ = ("now", "pressed", "time")

    def __init__(self, now: float = 0.0, time: float = 0.0) -> None:
        self.now = now
        self.time = time
        self.pressed: Pressure | None = None

    def forget_pressure(self) -> None:
        """What others published to a full receiver (a device, a rule, a will) is nothing to the client that is next."""
        self.pressed = None

    def is_pressed(self) -> bool:
        """Whether a receiver has had enough. A method, because a checker that narrows the attribute after one look
        would take it for unchanged at the next."""
        return self.pressed is not None
