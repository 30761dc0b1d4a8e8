"""What the tests of the BACnet connector share: a simulated device and a connector for it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from connectors.fakes import FakePort, run
from contracts.rig import free_port
from gateway.clock import Clock
from gateway.connectors.bacnet.config import BacnetDevice, BacnetPoint
from gateway.connectors.bacnet.connector import BacnetConnector
from gateway.connectors.bacnet.sim import BacnetSimulation, simulate
from gateway.connectors.bacnet.values import Flags
from gateway.connectors.points import WriteLimits
from gateway.errors import Retry

W = WriteLimits()
FINE = Flags(False, False, False, False)


def point(name: str, object: str, **fields: Any) -> BacnetPoint:
    return BacnetPoint(name=name, object=object, **fields)


class Plant:
    """One simulated device, and the connector for it."""

    def __init__(self, *points: BacnetPoint, query: str = "", clock: Clock | None = None, **fields: Any) -> None:
        self.port = FakePort("d")
        fields = {"poll": 0.02, "timeout": 0.5, "retries": 0, "local": "127.0.0.1:0", **fields}
        url = f"bacnet://127.0.0.1:{free_port(socket.SOCK_DGRAM)}{query}"
        self.config = BacnetDevice(url=url, point=points, **fields)
        self.simulation: BacnetSimulation = simulate({"d": self.config}, clock or self.port.clock)
        self.simulator = self.simulation.simulator("d")
        self.connector = BacnetConnector("d", self.config, self.port)
        self.events: list[str] = []

    def play(self, main: Callable[[], Awaitable[None]]) -> None:
        async def whole() -> None:
            await self.simulation.start()
            try:
                async with self.running():
                    await main()
            finally:
                await self.simulation.stop()

        run(whole())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async def supervise() -> None:
            while True:
                try:
                    await self.connector.run(lambda: self.events.append("up"))
                except Retry as retry:
                    self.events.append(str(retry))
                await asyncio.sleep(0.01)

        task = asyncio.create_task(supervise())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def until(true: Callable[[], bool]) -> None:
    for _ in range(1000):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen")


def numbers(count: int) -> list[BacnetPoint]:
    return [point(f"p{n}", f"av,{n}") for n in range(count)]
