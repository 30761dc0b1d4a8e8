"""The BACnet connector keeps the contract."""

from __future__ import annotations

import asyncio
import socket

from connectors.fakes import FakePort
from contracts.connector import ConnectorContract, Rig, Sleep
from contracts.rig import SimulationRig, free_port
from gateway.clock import Clock
from gateway.connectors.bacnet.config import BacnetDevice, BacnetPoint
from gateway.connectors.bacnet.connector import BacnetConnector
from gateway.connectors.bacnet.sim import BacnetSimulation, simulate
from gateway.connectors.base import Connector
from gateway.connectors.points import WriteLimits
from gateway.connectors.simulation import Simulation


class BacnetRig(SimulationRig):
    point = "setpoint"
    values = (-12.5, 60.0)
    refused = (True, "20", 1e39)
    has_line = False

    def __init__(self) -> None:
        super().__init__()
        point = BacnetPoint(name=self.point, object="analog-value,1", scale=0.5, write=WriteLimits())
        port = free_port(socket.SOCK_DGRAM)
        url = f"bacnet://127.0.0.1:{port}"
        self._config = BacnetDevice(url=url, local="127.0.0.1:0", poll=0.01, timeout=0.1, retries=0, point=(point,))

    def make(self, port: FakePort, sleep: Sleep = asyncio.sleep) -> Connector:
        return BacnetConnector("dev", self._config, port, sleep=sleep)

    def simulate(self) -> Simulation:
        return simulate({self.name: self._config}, Clock())

    async def freeze(self, is_frozen: bool) -> bool:
        assert isinstance(self.simulation, BacnetSimulation)
        (one,) = self.simulation.simulator(self.name).objects.values()
        one.is_frozen = is_frozen
        return True


class TestBacnet(ConnectorContract):
    def rig(self) -> Rig:
        return BacnetRig()
