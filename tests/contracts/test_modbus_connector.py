"""The Modbus connector keeps the contract, over TCP, through a device server and on a serial line."""

from __future__ import annotations

import asyncio
import os
import secrets
import tempfile
from collections import deque
from pathlib import Path

from connectors.fakes import FakePort
from contracts.connector import ConnectorContract, Rig, Sleep
from gateway.connectors.base import Connector
from gateway.connectors.modbus.config import ModbusDevice, ModbusPoint
from gateway.connectors.modbus.connector import ModbusConnector
from gateway.connectors.modbus.sim import Simulator
from gateway.connectors.points import WriteLimits


class ModbusRig(Rig):
    """``more`` points are read beside the one that is written: on a line a poll has its pauses, and what counts for
    the memory is how often values came."""

    more = 0
    point = "setpoint"
    values = (-12.5, 60.0)
    refused = (True, "20", 5000, -5000)

    def __init__(self) -> None:
        self._simulator = Simulator()
        self._simulator.questions = deque(maxlen=10)
        self._simulator.unit(1).holding.update({0: -125 & 0xFFFF} | {n: n for n in range(1, 1 + self.more)})
        self._port = 0

    def make(self, port: FakePort, sleep: Sleep = asyncio.sleep) -> Connector:
        point = ModbusPoint(name=self.point, address="holding:0", type="int16", scale=0.1, write=WriteLimits())
        more = (ModbusPoint(name=f"p{n}", address=f"holding:{n}") for n in range(1, 1 + self.more))
        config = ModbusDevice(url=self.url(), poll=0.01, timeout=0.2, point=(point, *more))
        return ModbusConnector("dev", config, port, sleep=sleep)

    def url(self) -> str:
        # Nobody listens on port 9 of this machine, and a constructor does not ask.
        return f"tcp://127.0.0.1:{self._port or 9}"

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


class DeviceServerRig(ModbusRig):
    more = 9

    def url(self) -> str:
        return f"rtu+tcp://127.0.0.1:{self._port or 9}"

    async def start(self) -> None:
        self._port = await self._simulator.start(port=self._port, framing="rtu")


class LineRig(ModbusRig):
    more = 9

    def __init__(self) -> None:
        super().__init__()
        self._path = Path(tempfile.gettempdir()) / f"line-{secrets.token_hex(8)}"  # gone with the simulator

    def url(self) -> str:
        return f"serial:{self._path}?baud=115200&parity=N"

    async def start(self) -> None:
        self._simulator.plug(str(self._path))

    @property
    def connections(self) -> int:
        """How often this process has the gateway's end open, beside the simulator itself."""
        if not self._path.exists():
            return 0
        end = os.readlink(self._path)
        files = [Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd")]
        return sum(os.readlink(file) == end for file in files if file.is_symlink()) - 1


class TestModbusDeviceServer(ConnectorContract):
    def rig(self) -> Rig:
        return DeviceServerRig()


class TestModbusLine(ConnectorContract):
    def rig(self) -> Rig:
        return LineRig()
