"""The story of the demo, act by act: all is well, the pump falls silent, the link is cut and the gateway killed,
everything comes back, and the ledger is drawn up."""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from gateway.demo.clients import Sensor, Watcher
from gateway.demo.cloud import Cloud
from gateway.demo.ledger import Account, Ledger, balance
from gateway.demo.link import Link
from gateway.demo.picture import Plant
from gateway.demo.plant import ModbusPlant, cloud_settings, gateway_settings
from gateway.demo.processes import GatewayProcess
from gateway.errors import GatewayError
from gateway.rules.load import shipped_rules

CALM_SECONDS: Final = 6.0
SILENCE_SECONDS: Final = 6.0
CUT_SECONDS: Final = 15.0
KILL_AFTER: Final = 8.0
"""Seconds after the cut: the gateway dies with rows in its outbox that have nowhere to go."""

RETURN_SECONDS: Final = 10.0
"""The uplink's back-off may be at eight seconds when the link comes back."""
DRAIN_SECONDS: Final = 30.0
"""Patience for the last row to arrive."""

SENSORS: Final = ("hall", "roof", "yard")

Show = Callable[[str, "Story", dict[str, Any] | None, float], None]
"""Called a few times a second with the act, the story, the gateway's status and the seconds left in the act."""


class Story:
    """Everything on the stage. ``play`` is the whole demo; ``show`` draws it."""

    def __init__(self, folder: Path, show: Show) -> None:
        self._folder = folder
        self._show = show
        self.plant = ModbusPlant()
        self.picture = Plant()
        self.cloud = Cloud("site/")

    async def play(self) -> Ledger:
        """Raise the curtain, play every act, clear the stage whatever happens, and return the ledger."""
        cloud_port, local_port = _free_port(), _free_port()
        self.link = Link(cloud_port)
        cloud = GatewayProcess(self._folder / "cloud", cloud_settings(cloud_port))
        watchers = [
            Watcher("collector", f"mqtt://127.0.0.1:{cloud_port}", ["site/#"], self.cloud.take),
            Watcher(
                "operator", f"mqtt://127.0.0.1:{local_port}", ["plant/#", "sensors/#", "alarm/#"], self.picture.take
            ),
        ]
        self.sensors = [
            Sensor(name, f"mqtt://127.0.0.1:{local_port}", 0.25, _warmth(number)) for number, name in enumerate(SENSORS)
        ]
        workers = [*watchers, *self.sensors]
        await self.plant.start()
        await self.link.heal()
        settings = gateway_settings(self.plant, local_port, self.link.port, str(shipped_rules()))
        self.gateway = GatewayProcess(self._folder / "gateway", settings)
        try:
            await cloud.start()
            watchers[0].start()
            await asyncio.to_thread(watchers[0].ready.wait, 10)
            await self.gateway.start()
            for worker in workers[1:]:
                worker.start()
            return await self._acts()
        finally:
            for worker in workers:
                worker.stopping.set()
            await self.gateway.stop()
            await cloud.stop()
            await self.link.cut()
            await self.plant.stop()
            for worker in workers:
                if worker.is_alive():
                    await asyncio.to_thread(worker.join, 10)

    async def _acts(self) -> Ledger:
        await self._act("All is well", CALM_SECONDS)
        self.plant.silence_pump(True)
        await self._act("The pump has fallen silent: its values turn stale, the boiler goes on", SILENCE_SECONDS)
        self.plant.silence_pump(False)
        await self.link.cut()
        await self._act("The link to the cloud is cut: everything waits in the outbox", KILL_AFTER)
        await self.gateway.kill()
        await self.gateway.start()
        await self._act(
            "The gateway was killed with SIGKILL and is back; the link is still cut", CUT_SECONDS - KILL_AFTER
        )
        await self.link.heal()
        await self._act("The link is back: what is new goes first, what waited beside it", RETURN_SECONDS)
        for sensor in self.sensors:
            await asyncio.to_thread(sensor.stop)
        books = await self._settle()
        return self._draw_up(books)

    async def _act(self, act: str, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while (left := end - loop.time()) > 0:
            self._show(act, self, await self.gateway.status(), left)
            await asyncio.sleep(min(0.5, left))

    async def _settle(self) -> dict[str, int]:
        """End the gateway's polling with its process, and wait until the cloud has the last row.

        The gateway is stopped once, so that nothing new is produced, and started again without devices.
        """
        await self.gateway.stop()
        self.gateway.without_devices()
        await self.gateway.start()
        loop = asyncio.get_running_loop()
        end = loop.time() + DRAIN_SECONDS
        while loop.time() < end:
            status = await self.gateway.status()
            self._show("The last rows go out", self, status, end - loop.time())
            if status is not None and status["outbox"]["depth"] == 0 and self.cloud.total >= _stored(status):
                books: dict[str, int] = status["outbox"]["books"]
                return books
            await asyncio.sleep(0.2)
        raise GatewayError(f"the outbox was not empty after {DRAIN_SECONDS:g} s")

    def _draw_up(self, books: dict[str, int]) -> Ledger:
        cloud = self.cloud
        sensors, devices = balance(
            {sensor.name: sensor.acknowledged for sensor in self.sensors}, cloud.arrived, books, cloud.devices
        )
        stored = Account("rows in the outbox", books["stored"], cloud.total, 0, devices.dropped)
        return Ledger((sensors, devices, stored), cloud.repeats, cloud.strangers, cloud.disorder)


def _stored(status: dict[str, Any]) -> int:
    books: dict[str, int] = status["outbox"]["books"]
    return books["stored"] - sum(count for name, count in books.items() if name.startswith("dropped:"))


def _warmth(number: int) -> Callable[[float], float]:
    return lambda time: 20 + number + 2 * math.sin(time / (5 + number))


def _free_port() -> int:
    """A port that was free a moment ago; the two gateways bind theirs at once."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
