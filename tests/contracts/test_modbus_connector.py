"""The Modbus connector keeps the contract."""

from __future__ import annotations

import asyncio
from collections import deque

from connectors.fakes import FakePort
from contracts.connector import ConnectorContract, Rig, Sleep
from gateway.connectors.base import Connector
from gateway.connectors.modbus.config import ModbusDevice, ModbusPoint
from gateway.connectors.modbus.connector import ModbusConnector
from gateway.connectors.modbus.sim import Simulator
from gateway.connectors.points import WriteLimits


class ModbusRig(Rig):
    point = "setpoint"
    values = (-12.5, 60.0)
    refused = (True, "20", 5000, -5000)

    def __init__(self) -> None:
        self._simulator = Simulator()
        self._simulator.questions = deque(maxlen=10)
        self._simulator.unit(1).holding[0] = -125 & 0xFFFF
        self._port = 0

    def make(self, port: FakePort, sleep: Sleep = asyncio.sleep) -> Connector:
        point = ModbusPoint(name=self.point, address="holding:0", type="int16", scale=0.1, write=WriteLimits())
        # Nobody listens on port 9 of this machine, and a constructor does not ask.
        url = f"tcp://127.0.0.1:{self._port or 9}"
        config = ModbusDevice(url=url, poll=0.01, timeout=0.2, point=(point,))
        return ModbusConnector("dev", config, port, sleep=sleep)

    async def start(self) -> None:
        self._port = await self._simulator.start(port=self._port)

    async def stop(self) -> None:
        await self._simulator.stop()

    async def mute(self, is_mute: bool) -> bool:
        self._simulator.unit(1).is_mute = is_mute
        return True

    async def freeze(self, is_frozen: bool) -> bool:
        self._simulator.unit(1).frozen = {0} if is_frozen else set()
        return True

    @property
    def connections(self) -> int:
        return self._simulator.connections


class TestModbus(ConnectorContract):
    def rig(self) -> Rig:
        return ModbusRig()
