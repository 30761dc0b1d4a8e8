"""The CoAP connector keeps the contract, whether it polls or observes."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace

from connectors.fakes import FakePort
from contracts.connector import ConnectorContract, Rig, SimulationRig, Sleep, free_port
from gateway.clock import Clock
from gateway.connectors.base import Connector
from gateway.connectors.coap.config import CoapDevice, CoapPoint
from gateway.connectors.coap.connector import CoapConnector
from gateway.connectors.coap.sim import CoapSimulation
from gateway.connectors.points import WriteLimits
from gateway.connectors.simulation import Simulation


class CoapRig(SimulationRig):
    point = "setpoint"
    values = (-12.5, 60.0)
    refused = (True, "20")

    def __init__(self) -> None:
        super().__init__()
        point = CoapPoint(
            name=self.point, path="/3308/0/5900", content="json", field="/v", type="number", write=WriteLimits()
        )
        url = f"coap://127.0.0.1:{free_port(socket.SOCK_DGRAM)}"
        self.config = CoapDevice(url=url, poll=0.01, timeout=0.3, ack_timeout=0.1, point=(point,))

    def simulate(self) -> Simulation:
        return CoapSimulation({self.name: self.config}, Clock())

    def make(self, port: FakePort, sleep: Sleep = asyncio.sleep) -> Connector:
        return CoapConnector(self.name, self.config, port, sleep=sleep)

    async def freeze(self, is_frozen: bool) -> bool:
        assert isinstance(self.simulation, CoapSimulation)
        self.simulation.freeze(self.name, is_frozen)
        return True


class TestPolled(ConnectorContract):
    def rig(self) -> Rig:
        return CoapRig()


class ObservedRig(CoapRig):
    """The same device, which says when it changes."""

    def __init__(self) -> None:
        super().__init__()
        self.config = replace(self.config, refresh=0.1, point=(replace(self.config.point[0], observe=True),))

    async def stir(self) -> None:
        await asyncio.sleep(0.01)
        if isinstance(self.simulation, CoapSimulation):
            self.simulation.set(self.name, self.point, self.simulation.get(self.name, self.point))


class TestObserved(ConnectorContract):
    rounds = 20
    test_memory_is_flat_over_ten_thousand_polls = None  # type: ignore[assignment]

    def rig(self) -> Rig:
        return ObservedRig()
