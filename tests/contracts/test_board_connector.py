"""The board connector keeps the contract."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.fakes import FakePort
from contracts.connector import ConnectorContract, Rig, SimulationRig, Sleep, simulated
from gateway.connectors.base import Connector
from gateway.connectors.board.config import BoardDevice, BoardPoint
from gateway.connectors.board.connector import BoardConnector
from gateway.connectors.board.sim import simulate
from gateway.connectors.points import WriteLimits
from gateway.connectors.simulation import Simulation


class BoardRig(SimulationRig):
    point = "lamp"
    values = (0, 255)
    refused = (True, "20", 256, -1, 1.5)

    def __init__(self, root: Path) -> None:
        super().__init__()
        point = BoardPoint(name=self.point, address="led:user0", write=WriteLimits())
        self.config = BoardDevice(poll=0.01, root=str(root), point=(point,))

    def make(self, port: FakePort, sleep: Sleep = asyncio.sleep) -> Connector:
        return BoardConnector(self.name, self.config, port, sleep=sleep)

    def simulate(self) -> Simulation:
        return simulated(simulate, self.name, self.config)


class TestBoard(ConnectorContract):
    @pytest.fixture(autouse=True)
    def folder(self) -> Iterator[None]:
        with tempfile.TemporaryDirectory() as folder:
            self.root = Path(folder)
            yield

    def rig(self) -> Rig:
        return BoardRig(self.root)
