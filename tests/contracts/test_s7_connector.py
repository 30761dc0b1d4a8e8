"""The S7 connector keeps the contract."""

from __future__ import annotations

import asyncio

from connectors.fakes import FakePort
from contracts.connector import ConnectorContract, Rig, Sleep
from gateway.connectors.base import Connector
from gateway.connectors.points import WriteLimits
from gateway.connectors.s7.config import S7Device, S7Point
from gateway.connectors.s7.connector import S7Connector
from gateway.connectors.s7.sim import Simulator


class S7Rig(Rig):
    point = "setpoint"
    values = (-12.5, 60.0)
    refused = (True, "20", 5000, -5000)

    def __init__(self) -> None:
        self._simulator = Simulator()
        self._simulator.memory.area("DB", 1, 10)[4:6] = (-125 & 0xFFFF).to_bytes(2)
        self._port = 0

    def make(self, port: FakePort, sleep: Sleep = asyncio.sleep) -> Connector:
        point = S7Point(name=self.point, address="DB1.DBW4", type="int", scale=0.1, write=WriteLimits())
        # Nobody listens on port 9 of this machine, and a constructor does not ask.
        url = f"s7://127.0.0.1:{self._port or 9}?slot=1"
        config = S7Device(url=url, poll=0.01, timeout=0.2, point=(point,))
        return S7Connector("dev", config, port, sleep=sleep)

    async def start(self) -> None:
        self._port = await self._simulator.start(port=self._port)

    async def stop(self) -> None:
        await self._simulator.stop()

    async def mute(self, is_mute: bool) -> bool:
        self._simulator.is_mute = is_mute
        return True

    async def freeze(self, is_frozen: bool) -> bool:
        self._simulator.memory.frozen = {("DB", 1, 4), ("DB", 1, 5)} if is_frozen else set()
        return True

    @property
    def connections(self) -> int:
        return self._simulator.connections


class TestS7(ConnectorContract):
    def rig(self) -> Rig:
        return S7Rig()
