"""The Modbus connector and simulator against programs that others wrote: libmodbus, pymodbus, mbpoll."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import cast

import pytest
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from connectors.fakes import FakePort
from gateway.connectors.base import Quality
from gateway.connectors.modbus.config import ModbusDevice, ModbusPoint
from gateway.connectors.modbus.connector import ModbusConnector
from gateway.connectors.modbus.sim import Simulator
from gateway.connectors.points import WriteLimits

pytestmark = pytest.mark.slow

SOURCE = Path(__file__).parents[1] / "peers" / "modbusd.c"


@pytest.fixture(scope="session")
def modbusd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The libmodbus server, compiled."""
    if shutil.which("gcc") is None or not Path("/usr/include/modbus/modbus.h").exists():
        pytest.skip("needs gcc and libmodbus-dev")
    program = tmp_path_factory.mktemp("modbusd") / "modbusd"
    subprocess.run(
        ["gcc", "-O1", "-I/usr/include/modbus", str(SOURCE), "-o", str(program), "-lmodbus"], check=True, timeout=60
    )
    return program


@asynccontextmanager
async def program(path: Path) -> AsyncIterator[int]:
    """Run the server; yields its port."""
    process = await asyncio.create_subprocess_exec(path, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(10):
            yield int(await process.stdout.readline())
    finally:
        process.kill()
        await process.wait()


def device(tcp_port: int, port: FakePort) -> ModbusConnector:
    def point(name: str, address: str, type: str = "uint16", write: WriteLimits | None = None) -> ModbusPoint:
        return ModbusPoint(name=name, address=address, type=type, write=write)

    config = ModbusDevice(
        url=f"tcp://127.0.0.1:{tcp_port}",
        poll=0.02,
        point=(
            *(point(f"h{n}", f"holding:{n}") for n in range(0, 90, 10)),
            point("i", "input:7"),
            point("d", "discrete:3", "bool"),
            point("c", "coil:3", "bool", write=WriteLimits()),
            point("f", "holding:95", "float32", write=WriteLimits()),
            point("w", "holding:97", "int16", write=WriteLimits()),
        ),
    )
    return ModbusConnector("dev", config, port)


async def check(tcp_port: int) -> None:
    """Read and write everything of a device whose registers hold their address."""
    port = FakePort()
    connector = device(tcp_port, port)
    task = asyncio.create_task(connector.run(lambda: None))
    try:
        await port.until(lambda: len(port.last) == 14)
        assert {port.last[f"h{n}"].value for n in range(0, 90, 10)} == set(range(0, 90, 10))
        assert (port.last["i"].value, port.last["d"].value, port.last["c"].value) == (1007, True, True)
        for value in (71.5, -0.25, 0.0):
            assert await connector.write("f", value) == value
        for whole in (-5, 0, 32767):
            assert await connector.write("w", whole) == whole
        for bit in (False, True):
            assert await connector.write("c", bit) is bit
        emitted = port.emitted
        await port.until(lambda: port.emitted > emitted + 140)
        assert {sample.quality for sample in port.samples} == {Quality.GOOD}
        assert connector.status()["exceptions"] == connector.status()["timeouts"] == 0
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def test_a_libmodbus_server(modbusd: Path) -> None:
    async def main() -> None:
        async with program(modbusd) as tcp_port:
            await check(tcp_port)

    asyncio.run(main())


def test_the_command_that_scans_finds_a_libmodbus_server(modbusd: Path) -> None:
    async def main() -> tuple[int, int | None, bytes]:
        async with program(modbusd) as tcp_port:
            url = f"tcp://127.0.0.1:{tcp_port}"
            scan = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "gateway", "device", "scan", "modbus", url, "--json"),
                stdout=asyncio.subprocess.PIPE,
            )
            told, _ = await scan.communicate()
            return tcp_port, scan.returncode, told

    tcp_port, code, told = asyncio.run(main())
    assert code == 0
    first = json.loads(told)[0]
    assert (first["what"], first["note"]) == ("device", "holding:0 is 0")
    assert first["settings"] == {"kind": "modbus", "url": f"tcp://127.0.0.1:{tcp_port}", "unit": 1}


def test_a_libmodbus_server_that_lacks_some_registers(modbusd: Path) -> None:
    """It refuses a block that runs over its end; what exists is read all the same."""

    async def main() -> None:
        async with program(modbusd) as tcp_port:
            points = tuple(ModbusPoint(name=f"h{n}", address=f"holding:{n}") for n in range(190, 210))
            config = ModbusDevice(url=f"tcp://127.0.0.1:{tcp_port}", poll=0.02, point=points)
            port = FakePort()
            task = asyncio.create_task(ModbusConnector("dev", config, port).run(lambda: None))
            await port.until(lambda: len(port.last) == 20)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            assert [n for n in range(190, 210) if port.good(f"h{n}")] == list(range(190, 200))

    asyncio.run(main())


def test_a_pymodbus_server() -> None:
    async def main() -> None:
        bits = [bool(n % 2) for n in range(96)]
        registers = list(range(120))
        blocks = (
            [SimData(0, values=bits, datatype=DataType.BITS)],
            [SimData(0, values=bits, datatype=DataType.BITS)],
            [SimData(0, values=registers, datatype=DataType.REGISTERS)],
            [SimData(0, values=[1000 + n for n in registers], datatype=DataType.REGISTERS)],
        )
        server = ModbusTcpServer(SimDevice(id=1, simdata=blocks), address=("127.0.0.1", 0))
        await server.serve_forever(background=True)
        try:
            listener = cast(asyncio.Server, server.transport)
            await check(listener.sockets[0].getsockname()[1])
        finally:
            await server.shutdown()  # type: ignore[no-untyped-call]

    asyncio.run(main())


async def mbpoll(tcp_port: int, *arguments: str) -> tuple[int, str]:
    """Run mbpoll once with addresses counted from 0; its exit code and output."""
    process = await asyncio.create_subprocess_exec(
        "mbpoll", "-m", "tcp", "-p", str(tcp_port), "-0", "-1", "-o", "0.3", "127.0.0.1", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await asyncio.wait_for(process.communicate(), 10)
    return process.returncode or 0, output.decode()


@pytest.mark.skipif(shutil.which("mbpoll") is None, reason="needs mbpoll")
def test_mbpoll_reads_and_writes_the_simulator() -> None:
    async def main() -> None:
        simulator = Simulator()
        unit = simulator.unit(2)
        unit.holding.update({n: 100 + n for n in range(10)})
        unit.input[5] = 55
        unit.coil.update({n: n % 2 for n in range(10)})
        unit.discrete[1] = 1
        port = await simulator.start()
        try:
            code, text = await mbpoll(port, "-a", "2", "-t", "4", "-r", "0", "-c", "3")
            assert code == 0 and all(f"[{n}]: \t{100 + n}" in text for n in range(3)), text
            code, text = await mbpoll(port, "-a", "2", "-t", "3", "-r", "5")
            assert code == 0 and "[5]: \t55" in text, text
            code, text = await mbpoll(port, "-a", "2", "-t", "1", "-r", "1")
            assert code == 0 and "[1]: \t1" in text, text
            code, text = await mbpoll(port, "-a", "2", "-t", "4", "-r", "1", "7", "8")
            assert code == 0 and (unit.holding[1], unit.holding[2]) == (7, 8), text
            code, text = await mbpoll(port, "-a", "2", "-t", "4", "-r", "3", "9")
            assert code == 0 and unit.holding[3] == 9, text
            code, text = await mbpoll(port, "-a", "2", "-t", "0", "-r", "2", "1")
            assert code == 0 and unit.coil[2] == 1, text
            code, text = await mbpoll(port, "-a", "2", "-t", "0", "-r", "4", "1", "0", "1")
            assert code == 0 and [unit.coil[n] for n in (4, 5, 6)] == [1, 0, 1], text
            _, text = await mbpoll(port, "-a", "2", "-t", "4", "-r", "10")
            assert "Illegal data address" in text
            _, text = await mbpoll(port, "-a", "9", "-t", "4", "-r", "0")
            assert "timed out" in text.lower(), text
        finally:
            await simulator.stop()

    asyncio.run(main())
