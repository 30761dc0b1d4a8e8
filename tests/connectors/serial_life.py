"""Simulated serial devices and their connectors, kept alive for a test."""

from __future__ import annotations

import asyncio
import tempfile
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from connectors.fakes import FakePort
from gateway.clock import Clock
from gateway.connectors.serial.config import SerialDevice, SerialPoint
from gateway.connectors.serial.connector import SerialConnector
from gateway.connectors.serial.sim import SerialSimulation, simulate
from gateway.errors import Retry


def path() -> str:
    """Of a device file that is not there; the simulation makes it, and takes it away."""
    return f"{tempfile.gettempdir()}/gateway-sim-{uuid.uuid4().hex}"


class Life:
    """Simulated devices, and their connectors that are kept alive."""

    def __init__(self, devices: Mapping[str, SerialDevice]) -> None:
        self.simulation: SerialSimulation = simulate(devices, Clock())
        shared: dict[str, Any] = {}
        self.ports = {name: FakePort(name, shared=shared) for name in devices}
        self.connectors = {name: SerialConnector(name, config, self.ports[name]) for name, config in devices.items()}
        self.retries: list[str] = []

    async def keep(self, name: str) -> None:
        while True:
            try:
                await self.connectors[name].run(lambda: None)
            except Retry as retry:
                self.retries.append(str(retry))
            await asyncio.sleep(0.01)


@asynccontextmanager
async def living(**devices: SerialDevice) -> AsyncIterator[Life]:
    life = Life(devices)
    await life.simulation.start()
    tasks = [asyncio.create_task(life.keep(name)) for name in devices]
    try:
        yield life
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
        await life.simulation.stop()


def asked(name: str, **more: Any) -> SerialPoint:
    return SerialPoint(name=name, address=name.upper(), ask="?{address}\r\n", type="number", **more)


def text(url: str, *points: SerialPoint, **more: Any) -> SerialDevice:
    settings: dict[str, Any] = {"poll": 0.01, "timeout": 0.1, "quiet": 0.02, **more}
    return SerialDevice(url=url, point=points or (asked("a"), asked("b")), **settings)
