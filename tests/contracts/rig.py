"""What the contract suite needs of a kind: a device that can be switched off, and connectors for it.

A rig is written for each kind, in one small file. Where the kind's ``sim.py`` keeps to ``Simulation``,
``SimulationRig`` is nearly all of it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from connectors.fakes import FakePort
from gateway.clock import Clock
from gateway.connectors.base import Connector
from gateway.connectors.simulation import Simulation
from gateway.message import Value

Sleep = Callable[[float], Awaitable[None]]


class Rig(ABC):
    """A device of one kind, and connectors for it.

    point      a point that can be read and written
    values     two good values for it, the first one is what it has
    refused    values that its type can never hold
    has_line   there is a connection, which breaks when the device is switched off; False where a device that is
               off is only silent: behind a serial line, over UDP
    """

    point: str
    values: tuple[Value, Value]
    refused: tuple[Value, ...]
    has_line = True

    @abstractmethod
    def make(self, port: FakePort, sleep: Sleep = asyncio.sleep) -> Connector:
        """A connector with a short poll. Must do no I/O."""

    @abstractmethod
    async def start(self) -> None:
        """Switch the device on, with the same address each time."""

    @abstractmethod
    async def stop(self) -> None:
        """Switch it off."""

    @property
    @abstractmethod
    def connections(self) -> int:
        """Connections that the device sees now; 0 where it cannot tell."""

    async def stir(self) -> None:
        """Make the device say something, for kinds that do not poll: called again and again."""
        await asyncio.Event().wait()

    async def mute(self, is_mute: bool) -> bool:
        """Let the device take questions and answer none. False: this rig cannot."""
        return False

    async def freeze(self, is_frozen: bool) -> bool:
        """Let the device say yes to a write and keep its value. False: this rig cannot."""
        return False


class SimulationRig(Rig):
    """A rig from the simulator of a kind. Subclasses give ``name``, the name of the device in ``devices``."""

    name = "dev"

    def __init__(self) -> None:
        self.simulation: Simulation | None = None

    @abstractmethod
    def simulate(self) -> Simulation:
        """The simulator, not started, at the address that ``make`` uses; the same each time."""

    async def start(self) -> None:
        self.simulation = self.simulate()
        await self.simulation.start()
        self.simulation.set(self.name, self.point, self.values[0])

    async def stop(self) -> None:
        if self.simulation is not None:
            await self.simulation.stop()
            self.simulation = None

    @property
    def connections(self) -> int:
        return int(getattr(self.simulation, "connections", 0))

    async def mute(self, is_mute: bool) -> bool:
        assert self.simulation is not None
        try:
            self.simulation.fault(self.name, "mute" if is_mute else "none")
        except ValueError:
            return False
        return True


def simulated(simulate: Callable[[Mapping[str, Any], Clock], Simulation], name: str, config: Any) -> Simulation:
    """A simulator for one device."""
    return simulate({name: config}, Clock())


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port of this machine that nobody has now."""
    with socket.socket(socket.AF_INET, kind) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def open_things() -> set[str]:
    """Sockets, pipes and terminals that this process has open, and its threads."""
    found = {f"thread {thread.name}" for thread in threading.enumerate()}
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            target = os.readlink(f"/proc/self/fd/{number}")
            if target.startswith(("socket:", "pipe:", "/dev/pts", "/dev/tty", "/dev/ptmx")):
                found.add(f"{number} {target}")
    return found


_WATCHING: list[list[str]] = []
_TOUCHES = (
    "socket.connect",
    "socket.bind",
    "socket.getaddrinfo",
    "socket.sendto",
    "subprocess.Popen",
    "os.posix_spawn",
)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _WATCHING:
        return
    if event in _TOUCHES or (event == "open" and str(arguments[0]).startswith("/dev/")):
        _WATCHING[-1].append(f"{event} {arguments}")


sys.addaudithook(_hook)  # cannot be taken away again; it does nothing while nobody watches


@contextmanager
def no_io() -> Iterator[None]:
    """Fails when the block asks the network, opens a device or starts a program."""
    _WATCHING.append([])
    try:
        yield
    finally:
        seen = _WATCHING.pop()
    assert seen == []
