"""The contract of a connector, and the port through which it sees the gateway.

A connector's constructor does no I/O: ``gateway check`` builds every one of them on a live plant.
``run(up)`` is the whole life of one connection: connect, call ``up()``, work, close in ``finally``. It never
loops over reconnects; it raises ``Retry`` and ``supervise()`` decides when to come back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeVar

from gateway.clock import Clock
from gateway.message import Value

T = TypeVar("T")

NO_ALARMS: Final[Mapping[str, str | None]] = MappingProxyType({})


class Quality(StrEnum):
    """How far a value can be trusted. A bad status is never a value: ``bad`` and ``stale`` carry no new value."""

    GOOD = "good"
    UNCERTAIN = "uncertain"
    BAD = "bad"
    STALE = "stale"


class Sample:
    """One reading of one point.

    point    name of the point within its device
    value    scaled value in the point's unit; None when quality is bad; the last good one when stale
    quality  see Quality
    time     wall clock, seconds since 1970, at the source: when the answer arrived (or the device's own stamp)
    reason   why the quality is not good, in a few words; empty when it is
    raw      what the device said where that made no value, for the trace: a number, or bytes in hexadecimal; not
             published
    """

    __slots__ = ("point", "value", "quality", "time", "reason", "raw")

    def __init__(
        self, point: str, value: Value, quality: Quality, time: float, reason: str = "", raw: str = ""
    ) -> None:
        self.point = point
        self.value = value
        self.quality = quality
        self.time = time
        self.reason = reason
        self.raw = raw

    def __repr__(self) -> str:
        return f"Sample({self.point}={self.value!r} {self.quality} {self.reason})"


class Port(Protocol):
    """All that a connector sees of the gateway; tests pass a fake."""

    @property
    def name(self) -> str:
        """Name of the device in the settings."""

    @property
    def clock(self) -> Clock:
        """The only clock a connector may read."""

    def emit(self, samples: Sequence[Sample]) -> None:
        """Hand over readings; deadband, format and publishing are the port's affair."""

    def share(self, key: str, make: Callable[[], T]) -> T:
        """The object that all devices with this ``key`` share (a bus); made by ``make`` on first use."""


class Connector(ABC):
    """One device. Built with its checked settings and a port; see the module's docstring."""

    @abstractmethod
    async def run(self, up: Callable[[], None]) -> None:
        """Connect, call ``up()``, work until cancelled. Raises Retry when the device is away."""

    @abstractmethod
    async def write(self, point: str, value: Value) -> Value:
        """Write one point and return the value read back from the device.

        Raises Rejected when it can never work, Retry when the device is away. Limits (min, max, read-only)
        are checked by the command desk before this is called.
        """

    async def ready(self) -> None:  # noqa: B027
        """Return when something can be written. A kind whose devices sleep waits here until one shows itself; raises
        Retry when it has not for too long. The desk bounds the wait by what its command is good for."""

    def alarms(self) -> Mapping[str, str | None]:
        """What somebody should look at, by name: a text, or None where all is well. Asked every second; the names
        are few, and always the same ones."""
        return NO_ALARMS

    def status(self) -> dict[str, Any]:
        """What a person wants to see: state of the device, counts, last error. Plain JSON types."""
        return {}
