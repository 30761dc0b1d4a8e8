"""The contract of simulated devices: what ``gateway sim``, the demo and the tests ask of every kind's ``sim.py``.

The module ``sim`` beside a kind's settings offers ``simulate(devices, clock)``: all devices of that kind of one
settings file, at the addresses that the settings name, holding the points that the settings name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from gateway.clock import Clock
from gateway.message import Value

FAULTS: Final = ("none", "mute", "late", "garbage", "exception", "reboot")
"""What can be wrong with a device:

    none       nothing any more
    mute       takes questions and answers none
    late       answers ``amount`` seconds late
    garbage    answers bytes that mean nothing
    exception  refuses every question; ``amount`` is the code where the protocol has codes
    reboot     loses its connections and its memory, and is back after ``amount`` seconds
"""


class Simulation(Protocol):
    """Devices of one kind. Values are in the unit of their points, as the gateway publishes them."""

    async def start(self) -> None:
        """Be reachable. Raises OSError when an address is taken or no device can be made there."""

    async def stop(self) -> None:
        """Be gone, with all connections."""

    def set(self, device: str, point: str, value: Value) -> None:
        """What the next question finds. Raises Rejected for a value that the point cannot hold."""

    def get(self, device: str, point: str) -> Value:
        """What stands there; what a command has written."""

    def fault(self, device: str, kind: str, amount: float = 0.0) -> None:
        """One of FAULTS, in place of the one before. Raises ValueError for one that the kind does not have."""


class Simulate(Protocol):
    """The function ``simulate`` of a kind's module ``sim``. Binds nothing yet."""

    def __call__(self, devices: Mapping[str, Any], clock: Clock) -> Simulation: ...
