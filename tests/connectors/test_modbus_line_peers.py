"""Serial lines and our server against programs that others wrote: libmodbus, npm modbus-serial, mbpoll, over real
pseudo-terminals that socat joins to a line."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from connectors.fakes import FakePort
from gateway.broker.broker import Broker
from gateway.broker.retained import Retained
from gateway.clock import Clock
from gateway.connectors.base import Quality
from gateway.connectors.modbus.config import ModbusDevice, ModbusPoint
from gateway.connectors.modbus.connector import ModbusConnector
from gateway.connectors.modbus.server import ModbusServer
from gateway.connectors.modbus.server_config import ModbusListener, ServedPoint
from gateway.connectors.modbus.sim import Simulator
from gateway.connectors.points import WriteLimits
from gateway.errors import Retry
from gateway.message import Message
from gateway.metrics import Metrics

pytestmark = pytest.mark.slow

PEERS = Path(__file__).parents[1] / "peers"
NODE_MODULES = Path(__file__).parents[2] / ".venv" / "peers" / "node_modules"

needs_socat = pytest.mark.skipif(shutil.which("socat") is None, reason="needs socat")
needs_mbpoll = pytest.mark.skipif(shutil.which("mbpoll") is None, reason="needs mbpoll")
needs_serialport = pytest.mark.skipif(not (NODE_MODULES / "serialport").is_dir(), reason="needs npm serialport")
needs_modbus_serial = pytest.mark.skipif(
    shutil.which("node") is None or not (NODE_MODULES / "modbus-serial").is_dir(), reason="needs npm modbus-serial"
)


@pytest.fixture(scope="module")
def modbusd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The libmodbus server, compiled."""
    if shutil.which("gcc") is None or not Path("/usr/include/modbus/modbus.h").exists():
        pytest.skip("needs gcc and libmodbus-dev")
    program = tmp_path_factory.mktemp("modbusd") / "modbusd"
    command = ["gcc", "-O1", "-I/usr/include/modbus", str(PEERS / "modbusd.c"), "-o", str(program), "-lmodbus"]
    subprocess.run(command, check=True, timeout=60)
    return program


@asynccontextmanager
async def program(*command: str | Path, until: str = "up", **environment: str) -> AsyncIterator[None]:
    """Run a program that says when it is ready."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, env=environment or None, start_new_session=True
    )
    assert process.stdout is not None
    try:
        if until:
            async with asyncio.timeout(20):
                assert (await process.stdout.readline()).decode().strip() == until
        yield
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]


@asynccontextmanager
async def joined(folder: Path) -> AsyncIterator[tuple[Path, Path]]:
    """Two pseudo-terminals, joined to a line."""
    ends = folder / "ours", folder / "theirs"
    async with program("socat", *(f"pty,raw,echo=0,link={end}" for end in ends), until=""):
        for _ in range(1000):
            if all(end.exists() for end in ends):
                break
            await asyncio.sleep(0.01)
        yield ends


@asynccontextmanager
async def running(*connectors: ModbusConnector) -> AsyncIterator[None]:
    async def keep(connector: ModbusConnector) -> None:
        while True:
            with suppress(Retry):
                await connector.run(lambda: None)
            await asyncio.sleep(0.02)

    tasks = [asyncio.create_task(keep(connector)) for connector in connectors]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def listening(tcp_port: int) -> None:
    """Wait until a program that does not say so accepts connections."""
    for _ in range(400):
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", tcp_port)
            writer.close()
            await writer.wait_closed()
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it does not listen")


def point(name: str, address: str, type: str = "uint16", **fields: Any) -> ModbusPoint:
    return ModbusPoint(name=name, address=address, type=type, **fields)


def device(url: str, unit: int = 1, shared: dict[str, Any] | None = None, **fields: Any) -> tuple[Any, FakePort]:
    writable: dict[str, Any] = {"write": WriteLimits()}
    points = (
        *(point(f"h{n}", f"holding:{n}") for n in range(0, 60, 10)),
        point("i", "input:7"),
        point("d", "discrete:3", "bool"),
        point("c", "coil:3", "bool"),
        point("w", "holding:65", "int16", **writable),
        point("f", "holding:70", "float32", order="CDAB", **writable),
        point("b", "holding:75", bits=9, **writable),
    )
    defaults: dict[str, Any] = {"poll": 0.05, "timeout": 1.0, "point": points}
    config = ModbusDevice(url=url, unit=unit, **defaults | fields)
    port = FakePort(f"unit{unit}", shared=shared)
    return ModbusConnector(f"unit{unit}", config, port), port


async def check(connector: ModbusConnector, port: FakePort, *, masks: bool = True) -> None:
    """Read and write everything of a device whose holding registers hold their address."""
    await port.until(lambda: len(port.last) == 12)
    assert {port.last[f"h{n}"].value for n in range(0, 60, 10)} == set(range(0, 60, 10))
    assert port.last["c"].value is True
    for value in (-5, 0, 32767):
        assert await connector.write("w", value) == value
    for number in (71.5, -0.25, 0.0):
        assert await connector.write("f", number) == number
    if masks:
        for bit in (True, False):
            assert await connector.write("b", bit) is bit
    emitted = port.emitted
    await port.until(lambda: port.emitted > emitted + 60)
    assert {sample.quality for sample in port.samples} == {Quality.GOOD}
    assert connector.status()["exceptions"] == connector.status()["timeouts"] == 0


@needs_socat
@pytest.mark.parametrize("baud", [9600, 115_200])
def test_a_libmodbus_slave_on_a_line(modbusd: Path, baud: int, tmp_path: Path) -> None:
    async def main() -> None:
        async with joined(tmp_path) as (ours, theirs), program(modbusd, theirs, str(baud), "N", "17"):
            connector, port = device(f"serial:{ours}?baud={baud}&parity=N", 17)
            async with running(connector):
                await check(connector, port)
                assert port.last["i"].value == 1007

    asyncio.run(main())


@needs_socat
def test_a_line_whose_other_end_is_unplugged_and_plugged_in_again(modbusd: Path, tmp_path: Path) -> None:
    async def main() -> None:
        connector, port = device(f"serial:{tmp_path / 'ours'}?baud=115200&parity=N", 17)
        async with running(connector):
            for _ in range(2):
                async with joined(tmp_path) as (_, theirs), program(modbusd, theirs, "115200", "N", "17"):
                    await port.until(lambda: "w" in port.last and port.good("w"))
                    assert await connector.write("w", 5) == 5
                await port.quality("w", Quality.STALE)
                assert connector.status()["state"] in ("down", "mute")
                for name in ("ours", "theirs"):
                    (tmp_path / name).unlink(missing_ok=True)

    asyncio.run(main())


@needs_socat
@needs_modbus_serial
@needs_serialport
def test_units_of_one_line_at_different_polls_beside_a_mute_one(tmp_path: Path) -> None:
    """npm modbus-serial is all units; 4 is mute. The good ones get at least four fifths of their polls (M1)."""

    async def main() -> None:
        async with joined(tmp_path) as (ours, theirs):
            node = program("node", PEERS / "modbus_units.js", theirs, NODE_PATH=str(NODE_MODULES), PATH="/usr/bin:/bin")
            async with node:
                url, shared = f"serial:{ours}?baud=9600&parity=N", {}  # type: tuple[str, dict[str, Any]]
                fast, fast_port = device(url, 1, shared, poll=0.25, timeout=0.3)
                slow, slow_port = device(url, 2, shared, poll=1.0, timeout=0.3)
                mute, mute_port = device(url, 4, shared, poll=0.25, timeout=0.3)
                async with running(fast, slow, mute):
                    await fast_port.value("h10", 10)
                    await slow_port.value("i", 2007)
                    assert await slow.write("w", -7) == -7
                    for _ in range(100):
                        await asyncio.sleep(0.08)
                    scans = fast.status()["scans"], slow.status()["scans"]
                assert scans[0]["due"] >= 25
                assert all(one["done"] >= 0.8 * one["due"] for one in scans), scans
                assert {sample.value for sample in mute_port.samples} <= {None}
                assert mute.status()["breaker"] == "open"

    asyncio.run(main())


@needs_modbus_serial
def test_modbus_serial_over_tcp(tmp_path: Path) -> None:
    async def main() -> None:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            tcp_port = one.getsockname()[1]
        arguments = (PEERS / "modbus_units.js", str(tcp_port))
        async with program("node", *arguments, until="", NODE_PATH=str(NODE_MODULES), PATH="/usr/bin:/bin"):
            await listening(tcp_port)
            connector, port = device(f"tcp://127.0.0.1:{tcp_port}", 1)
            async with running(connector):
                await check(connector, port, masks=False)

    asyncio.run(main())


async def mbpoll(*arguments: str) -> tuple[int, str]:
    """Run mbpoll once with addresses counted from 0; its exit code and output."""
    process = await asyncio.create_subprocess_exec(
        "mbpoll", "-0", "-1", "-o", "1", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await asyncio.wait_for(process.communicate(), 20)
    return process.returncode or 0, output.decode()


@needs_mbpoll
def test_mbpoll_reads_and_writes_the_simulator_on_a_line(tmp_path: Path) -> None:
    async def main() -> None:
        simulator = Simulator()
        unit = simulator.unit(2)
        unit.holding.update({n: 100 + n for n in range(10)})
        simulator.plug(str(tmp_path / "tty"))
        line = ("-m", "rtu", "-b", "115200", "-P", "none", "-a", "2")
        try:
            code, text = await mbpoll(*line, "-t", "4", "-r", "0", "-c", "3", str(tmp_path / "tty"))
            assert code == 0 and all(f"[{n}]: \t{100 + n}" in text for n in range(3)), text
            code, text = await mbpoll(*line, "-t", "4", "-r", "1", str(tmp_path / "tty"), "7", "8")
            assert code == 0 and (unit.holding[1], unit.holding[2]) == (7, 8), text
            _, text = await mbpoll(*line, "-t", "4", "-r", "10", str(tmp_path / "tty"))
            assert "Illegal data address" in text
        finally:
            await simulator.stop()

    asyncio.run(main())


@needs_mbpoll
def test_mbpoll_reads_and_writes_our_server() -> None:
    class Site:
        broker = Broker(Metrics(), Retained(100, 100_000))

    async def main() -> None:
        points = (
            ServedPoint(topic="plant/power", address="input:0", type="float32", order="CDAB"),
            ServedPoint(topic="plant/level", address="holding:5", type="int16", scale=0.1, write=True),
            ServedPoint(topic="plant/pump", address="coil:1", type="bool", write=True),
        )
        seen: list[tuple[str, Any]] = []
        clock = Clock()
        server = ModbusServer("m", ModbusListener(bind="127.0.0.1:0", register=points), Site(), clock)
        server._command = lambda topic, value: seen.append((topic, value))  # type: ignore[method-assign]
        server._registers._command = server._command
        up = asyncio.Event()
        task = asyncio.create_task(server.run(up.set))
        await up.wait()
        port = server.bound[0].rpartition(":")[2]
        try:
            for topic, value in (("power", 230.5), ("level", -1.5)):
                Site.broker.publish(Message(f"plant/{topic}", value={"v": value, "q": "good"}))
            tcp = ("-m", "tcp", "-p", port, "-a", "1")
            code, text = await mbpoll(*tcp, "-t", "3:float", "-r", "0", "127.0.0.1")
            assert code == 0 and "[0]: \t230.5" in text, text
            code, text = await mbpoll(*tcp, "-t", "4", "-r", "5", "127.0.0.1")
            assert code == 0 and "(-15)" in text, text
            code, text = await mbpoll(*tcp, "-t", "4", "-r", "5", "127.0.0.1", "713")
            assert code == 0, text
            code, text = await mbpoll(*tcp, "-t", "0", "-r", "1", "127.0.0.1", "1")
            assert code == 0, text
            assert seen == [("plant/level", 71.3), ("plant/pump", True)]
            _, text = await mbpoll(*tcp, "-t", "0", "-r", "1", "127.0.0.1")
            assert "Slave device or server failure" in text, text
            _, text = await mbpoll(*tcp, "-t", "4", "-r", "6", "127.0.0.1")
            assert "Illegal data address" in text, text
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    asyncio.run(main())
