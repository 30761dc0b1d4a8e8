"""The serial connector keeps the contract: with lines on a pseudo terminal, and with binary frames over TCP."""

from __future__ import annotations

import asyncio
import os
import tempfile
import uuid
from contextlib import suppress

from connectors.fakes import FakePort
from contracts.connector import ConnectorContract, Rig, SimulationRig, Sleep, free_port
from gateway.clock import Clock
from gateway.connectors.base import Connector
from gateway.connectors.points import WriteLimits
from gateway.connectors.serial.config import SerialDevice, SerialPoint
from gateway.connectors.serial.connector import SerialConnector
from gateway.connectors.serial.frame_settings import ChecksumSettings, DecodeSettings, FrameSettings
from gateway.connectors.serial.sim import SerialSimulation, simulate


class _SerialRig(SimulationRig):
    point = "setpoint"
    values = (-12.5, 60.0)
    refused = (True, "20")
    simulation: SerialSimulation | None
    config: SerialDevice

    def make(self, port: FakePort, sleep: Sleep = asyncio.sleep) -> Connector:
        return SerialConnector(self.name, self.config, port, sleep=sleep)

    def simulate(self) -> SerialSimulation:
        return simulate({self.name: self.config}, Clock())

    async def freeze(self, is_frozen: bool) -> bool:
        assert self.simulation is not None
        self.simulation.freeze(self.name, is_frozen)
        return True


class TextRig(_SerialRig):
    """Lines on a pseudo terminal."""

    def __init__(self) -> None:
        super().__init__()
        # The simulation makes a link of that name and takes it away.
        self._path = f"{tempfile.gettempdir()}/gateway-sim-{uuid.uuid4().hex}"
        point = SerialPoint(
            name=self.point,
            address="T1",
            ask="READ {address}\r\n",
            pattern=r"^T1=([-+0-9.]+)$",
            type="number",
            set="SET {address} {value:.1f}\r\n",
            ack="^OK",
            write=WriteLimits(),
        )
        self.config = SerialDevice(url=f"serial:{self._path}", poll=0.01, timeout=0.2, quiet=0.02, point=(point,))

    @property
    def connections(self) -> int:
        """Times that the line is open, but for the simulation's own."""
        with suppress(OSError):
            name = os.readlink(self._path)
            found = 0
            for number in os.listdir("/proc/self/fd"):
                with suppress(OSError):
                    found += os.readlink(f"/proc/self/fd/{number}") == name
            return found - 1
        return 0


class BinaryRig(_SerialRig):
    """Frames that say how long they are, with a CRC, behind a serial server."""

    def __init__(self) -> None:
        super().__init__()
        point = SerialPoint(
            name=self.point,
            ask="hex: AA 03 01",
            field=0,
            scale=0.1,
            type="number",
            set="hex: AA 05 02 {value:04X}",
            ack=r"^\xaa\x03\x02",
            write=WriteLimits(),
        )
        self.config = SerialDevice(
            url=f"tcp://127.0.0.1:{free_port()}",
            poll=0.01,
            timeout=0.2,
            quiet=0.02,
            framed=True,
            frame=FrameSettings(by="length", start="hex:AA", at=1, extra=2),
            checksum=ChecksumSettings(by="crc16-modbus", order="little"),
            decode=DecodeSettings(as_="struct", format=">h", at=2),
            point=(point,),
        )

    values = (12.5, 60.0)


class TestSerialLines(ConnectorContract):
    def rig(self) -> Rig:
        return TextRig()


class TestSerialFrames(ConnectorContract):
    def rig(self) -> Rig:
        return BinaryRig()
