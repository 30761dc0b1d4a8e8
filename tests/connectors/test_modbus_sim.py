"""The devices of a settings file, simulated: in the unit of their points, on every kind of url, with every fault."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from connectors.fakes import FakePort, run
from gateway.clock import Clock
from gateway.connectors.base import Quality
from gateway.connectors.modbus.config import ModbusDevice, ModbusPoint
from gateway.connectors.modbus.connector import ModbusConnector
from gateway.connectors.modbus.sim import ModbusSimulation, simulate
from gateway.connectors.points import WriteLimits
from gateway.connectors.simulation import FAULTS, Simulation
from gateway.errors import Rejected, Retry

POINTS = (
    ModbusPoint(name="temperature", address="holding:100", type="int16", scale=0.1, write=WriteLimits()),
    ModbusPoint(name="energy", address="input:20", type="float32", order="CDAB"),
    ModbusPoint(name="state", address="holding:104", bits="8..11", values={"0": "off", "5": "run"}),
    ModbusPoint(name="door", address="holding:104", bits=3, write=WriteLimits()),
    ModbusPoint(name="pump", address="coil:3", type="bool", write=WriteLimits()),
    ModbusPoint(name="serial", address="holding:110", type="string:6"),
    ModbusPoint(name="hours", address="input:30", type="bcd32"),
)
VALUES = {"temperature": -12.5, "energy": 1.5, "state": "run", "door": True, "pump": True, "serial": "ab1", "hours": 99}


def device(url: str, **fields: Any) -> ModbusDevice:
    defaults: dict[str, Any] = {"poll": 0.02, "timeout": 0.1, "point": POINTS}
    fields = defaults | fields
    return ModbusDevice(url=url, **fields)


def play(
    devices: dict[str, ModbusDevice], main: Callable[[ModbusSimulation, dict[str, FakePort]], Awaitable[None]]
) -> None:
    """Simulate the devices and run a connector for each."""

    async def whole() -> None:
        simulation: Simulation = simulate(devices, Clock())
        assert isinstance(simulation, ModbusSimulation)
        await simulation.start()
        shared: dict[str, Any] = {}
        ports = {name: FakePort(name, shared=shared) for name in devices}
        connectors = {name: ModbusConnector(name, config, ports[name]) for name, config in devices.items()}

        async def keep(connector: ModbusConnector) -> None:
            while True:
                with suppress(Retry):
                    await connector.run(lambda: None)
                await asyncio.sleep(0.01)

        tasks = [asyncio.create_task(keep(connector)) for connector in connectors.values()]
        for name, port in ports.items():
            port.connector = connectors[name]  # type: ignore[attr-defined]
        try:
            await main(simulation, ports)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await simulation.stop()

    run(whole())


def urls(tmp_path: Path, port: int) -> dict[str, str]:
    return {
        "tcp": f"tcp://127.0.0.1:{port}",
        "rtu+tcp": f"rtu+tcp://127.0.0.1:{port}",
        "rtu": f"serial:{tmp_path / 'tty'}?baud=115200&parity=N",
        "ascii": f"serial:{tmp_path / 'tty'}?baud=115200&parity=N&framing=ascii",
    }


def free_port() -> int:
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        number: int = one.getsockname()[1]
        return number


@pytest.mark.parametrize("kind", ["tcp", "rtu+tcp", "rtu", "ascii"])
def test_what_is_set_is_read_and_what_is_written_stands_there(kind: str, tmp_path: Path) -> None:
    async def main(simulation: ModbusSimulation, ports: dict[str, FakePort]) -> None:
        port = ports["one"]
        for point, value in VALUES.items():
            simulation.set("one", point, value)
        for point, value in VALUES.items():
            assert simulation.get("one", point) == value
            await port.value(point, value)
        connector: ModbusConnector = port.connector  # type: ignore[attr-defined]
        for point, value in (("temperature", 60.0), ("pump", False), ("door", False)):
            assert await connector.write(point, value) == value
            assert simulation.get("one", point) == value
        assert simulation.get("one", "state") == "run", "the other bits of its register stay"
        await ports["two"].value("temperature", 0)

    url = urls(tmp_path, free_port())[kind]
    play({"one": device(url), "two": device(url, unit=2)}, main)


@pytest.mark.slow
def test_every_fault_and_its_end(tmp_path: Path) -> None:
    async def main(simulation: ModbusSimulation, ports: dict[str, FakePort]) -> None:
        port = ports["one"]
        simulation.set("one", "temperature", 20.0)
        await port.value("temperature", 20.0)
        for kind, amount, quality in (
            ("mute", 0.0, Quality.STALE),
            ("late", 0.3, Quality.STALE),
            ("garbage", 0.0, Quality.STALE),
            ("exception", 6, Quality.STALE),
            ("exception", 4, Quality.BAD),
        ):
            simulation.fault("one", kind, amount)
            await port.quality("temperature", quality)
            simulation.fault("one", "none")
            await port.value("temperature", 20.0)
        simulation.fault("one", "reboot", 0.05)
        await port.value("temperature", 0)
        with pytest.raises(ValueError, match='no fault "fire"'):
            simulation.fault("one", "fire")
        assert {"none", "mute", "late", "garbage", "exception", "reboot"} == set(FAULTS)

    play({"one": device(urls(tmp_path, 0)["rtu"])}, main)


def test_what_cannot_be_made_is_said_and_nothing_is_left(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "tty").touch()
        serial = device(urls(tmp_path, 0)["rtu"])
        for devices in ({"a": serial}, {"b": device("tls://127.0.0.1:802")}):
            with pytest.raises(OSError):
                await simulate(devices, Clock()).start()
        assert (tmp_path / "tty").is_file()
        simulation = simulate({"a": serial}, Clock())
        with pytest.raises(Rejected):
            simulation.set("a", "temperature", 4000)
        (tmp_path / "tty").unlink()
        (tmp_path / "tty").symlink_to("/dev/pts/none")
        await simulation.start()  # a link that leads nowhere is one that a killed simulation left
        await simulation.stop()
        assert not (tmp_path / "tty").is_symlink()

    run(main())


def test_gaps_that_the_gateway_reads_along_exist(tmp_path: Path) -> None:
    async def main(simulation: ModbusSimulation, ports: dict[str, FakePort]) -> None:
        port = ports["one"]
        await port.until(lambda: len(port.last) == len(POINTS))
        connector: ModbusConnector = port.connector  # type: ignore[attr-defined]
        assert connector.status()["exceptions"] == 0
        assert connector.status()["requests_per_scan"] == 3

    play({"one": device(f"tcp://127.0.0.1:{free_port()}")}, main)
