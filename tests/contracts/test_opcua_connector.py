"""The OPC-UA connector keeps the contract, subscribed and polled."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from typing import Literal

import pytest

from connectors.fakes import FakePort, run
from contracts.connector import ConnectorContract, Rig, Sleep
from gateway.clock import Clock
from gateway.connectors.base import Connector
from gateway.connectors.opcua.config import OpcuaDevice, OpcuaPoint
from gateway.connectors.opcua.connector import OpcuaConnector
from gateway.connectors.opcua.sim import Station
from gateway.connectors.points import WriteLimits
from gateway.opcua.stack import ua
from opcua.elsewhere import Elsewhere


class OpcuaRig(Rig):
    point = "setpoint"
    values = (-12.5, 60.0)
    refused = (True, "20", [1.0])

    def __init__(self, mode: Literal["subscribe", "poll"]) -> None:
        self._mode = mode
        self._station: Station | None = None
        self._elsewhere: Elsewhere
        self._port = 0

    def _config(self) -> OpcuaDevice:
        point = OpcuaPoint(name=self.point, node="ns=2;s=SetPoint", write=WriteLimits())
        # A point that changes by itself, so that a subscription has something to say.
        ticks = OpcuaPoint(name="ticks", node="ns=2;s=Ticks")
        # Nobody listens on port 9 of this machine, and a constructor does not ask.
        url = f"opc.tcp://127.0.0.1:{self._port or 9}"
        return OpcuaDevice(url=url, poll=0.01, timeout=2.0, keep_alive=1.0, mode=self._mode, point=(point, ticks))

    def make(self, port: FakePort, sleep: Sleep = asyncio.sleep) -> Connector:
        return OpcuaConnector("dev", self._config(), port, sleep=sleep)

    async def start(self) -> None:
        if self._port == 0:
            free = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
            self._port = free.sockets[0].getsockname()[1]
            free.close()
        self._elsewhere = Elsewhere()
        await self._elsewhere.do(self._start())

    async def _start(self) -> None:
        self._station = Station("opc.tcp://127.0.0.1/", {"dev": self._config()}, Clock())
        await self._station.start()
        self._station.put(("dev", "setpoint"), self.values[0])
        self._ticking = asyncio.get_running_loop().create_task(self._tick(self._station))

    @staticmethod
    async def _tick(station: Station) -> None:
        count = 0.0
        while True:
            count += 1.0
            station.put(("dev", "ticks"), count)
            await asyncio.sleep(0.02)

    async def stop(self) -> None:
        await self._elsewhere.do(self._stop())
        await self._elsewhere.close()

    async def _stop(self) -> None:
        self._ticking.cancel()
        assert self._station is not None
        await self._station.stop()

    async def mute(self, is_mute: bool) -> bool:
        await self._elsewhere.do(self._mute(is_mute))
        return True

    async def _mute(self, is_mute: bool) -> None:
        assert self._station is not None
        self._station.front.is_mute = is_mute

    async def freeze(self, is_frozen: bool) -> bool:
        await self._elsewhere.do(self._freeze(is_frozen))
        return True

    async def _freeze(self, is_frozen: bool) -> None:
        """A node that takes a write and keeps its value, as when the controller's program writes it."""
        assert self._station is not None
        node = self._station.server.iserver.aspace[ua.NodeId("SetPoint", 2)]
        held = node.attributes[ua.AttributeIds.Value]
        held.value_setter = (lambda node, attribute, value: None) if is_frozen else None

    @property
    def connections(self) -> int:
        return self._station.front.connections if self._station is not None else 0


class TestSubscribed(ConnectorContract):
    def rig(self) -> Rig:
        return OpcuaRig("subscribe")

    @pytest.mark.slow
    def test_memory_is_flat_over_ten_thousand_polls(self) -> None:
        """Nothing is polled here: flat over reports."""

        async def main() -> None:
            async with self.started() as (rig, port):
                port.keep = 0
                async with self.running(rig.make(port)):
                    sizes: list[int] = []
                    tracemalloc.start()
                    try:
                        for mark in (100, 400):
                            await self._until(lambda mark=mark: port.emitted >= mark, 60)  # type: ignore[misc]
                            gc.collect()
                            sizes.append(tracemalloc.get_traced_memory()[0])
                    finally:
                        tracemalloc.stop()
                    assert sizes[1] - sizes[0] < self.growth, sizes

        run(main())


class TestPolled(ConnectorContract):
    def rig(self) -> Rig:
        return OpcuaRig("poll")
