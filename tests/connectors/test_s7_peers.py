"""The S7 connector and simulator against what others wrote: python-snap7's server, the Snap7 library in C, nodes7."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from connectors.fakes import FakePort
from contracts.rig import free_port
from gateway.connectors.base import Quality
from gateway.connectors.points import WriteLimits
from gateway.connectors.s7 import doctor
from gateway.connectors.s7.config import S7Device, S7Point
from gateway.connectors.s7.connector import S7Connector
from gateway.connectors.s7.sim import Simulator
from gateway.errors import Rejected, Retry

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PEERS = ROOT / "tests" / "peers"
MODULES = ROOT / ".venv" / "peers" / "node_modules"
C_LIBRARY = Path(os.environ.get("SNAP7_C", ROOT / ".venv" / "peers" / "snap7c")) / "bin" / "python"
"""A Python with python-snap7 2, which brings the library in C; ``make peers`` makes it."""

W = WriteLimits()


def python(which: str) -> str:
    if which == "pure":
        return sys.executable
    if not C_LIBRARY.exists():
        pytest.skip("needs python-snap7 2 with the C library of Snap7 (make peers)")
    return str(C_LIBRARY)


@asynccontextmanager
async def server(which: str) -> AsyncIterator[int]:
    """python-snap7's server in a process of its own; yields its port."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        python(which), str(PEERS / "s7_server.py"), str(port), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20):
            assert (await process.stdout.readline()).strip() == b"ready"
        yield port
    finally:
        process.kill()
        await process.wait()


def config(port: int, *points: S7Point) -> S7Device:
    return S7Device(url=f"s7://127.0.0.1:{port}?slot=1", poll=0.02, point=points)


def point(name: str, address: str, type: str | None = None) -> S7Point:
    return S7Point(name=name, address=address, type=type, write=W)


POINTS = (
    point("int", "DB1.DBW0", "int"),
    point("dint", "DB1.DBB2", "dint"),
    point("real", "DB1.DBD8", "real"),
    *(point(f"bit{n}", f"DB1.DBX12.{n}") for n in range(8)),
    point("text", "DB1.DBB20", "string:10"),
    point("lreal", "DB1.DBB40", "lreal"),
    point("all", "DB2.DBB0", "chars:300"),
    point("flag", "MB3"),
    point("none", "DB3.DBW0"),
    point("beyond", "DB1.DBW63"),
)


@asynccontextmanager
async def running(device: S7Device) -> AsyncIterator[tuple[S7Connector, FakePort]]:
    port = FakePort()
    connector = S7Connector("dev", device, port)
    task = asyncio.create_task(connector.run(lambda: None))
    try:
        yield connector, port
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.mark.parametrize("which", ["pure", "c"])
def test_a_server_of_snap7(which: str) -> None:
    async def main() -> None:
        async with server(which) as tcp_port, running(config(tcp_port, *POINTS)) as (connector, port):
            await port.until(lambda: len(port.last) == len(POINTS))
            found = {name: sample.value for name, sample in port.last.items()}
            assert (found["int"], found["dint"], found["real"], found["lreal"]) == (-1234, 70_000, 3.5, -2.25)
            assert [found[f"bit{n}"] for n in range(8)] == [bool(0b10100101 >> n & 1) for n in range(8)]
            assert (found["text"], found["flag"]) == ("Hi", 3)
            assert found["all"] == bytes(n % 251 for n in range(300)).decode("latin-1").rstrip("\0 ")
            for name in ("none", "beyond"):
                assert port.last[name].quality is Quality.BAD and port.last[name].reason.startswith("error 0x")
            for value in (71.3, -0.25, 0.0):
                assert await connector.write("real", value) == value
            for text in ("Hello", "", "0123456789"):
                assert await connector.write("text", text) == text
            if which == "c":
                for bit in (True, False):
                    assert await connector.write("bit1", bit) is bit
                    await port.value("bit0", True)
                    await port.value("bit2", True)
            else:
                # The pure server writes a byte where a bit is meant: the read-back finds it out.
                with pytest.raises(Retry, match="the controller keeps False"):
                    await connector.write("bit1", True)
            with pytest.raises((Rejected, Retry), match="error 0x"):
                await connector.write("none", 1)
            emitted = port.emitted
            await port.until(lambda: port.emitted > emitted + 300)
            status = connector.status()
            assert status["timeouts"] == 0 and status["state"] == "up"

    asyncio.run(main())


@pytest.mark.parametrize("which", ["pure", "c"])
def test_the_doctor_at_a_server_of_snap7(which: str) -> None:
    async def main() -> None:
        async with server(which) as tcp_port:
            (found,) = [one async for one in doctor.scan(f"127.0.0.1:{tcp_port}", lambda text: None)]
            assert "CPU 315-2 PN/DP" in found.note
            device = config(tcp_port, *POINTS)
            blocks = [(one.address, one.note) async for one in doctor.browse(device)]
            assert [address for address, _ in blocks] == ["DB1", "DB2"]
            assert blocks[0][1] == "64 bytes" and blocks[1][1] == "300 bytes"
            points = {one.address: one.value async for one in doctor.browse(device, "DB1")}
            assert points["DB1.DBD8"] == 3.5
            samples = await doctor.read(device, ["int", "none"])
            assert (samples[0].value, samples[1].quality) == (-1234, Quality.BAD)

    asyncio.run(main())


async def nodes7(tcp_port: int) -> dict[str, dict[str, object]]:
    node = shutil.which("node")
    if node is None or not (MODULES / "nodes7").exists():
        pytest.skip("needs npm nodes7 (make peers)")
    process = await asyncio.create_subprocess_exec(
        node,
        str(PEERS / "s7_client.js"),
        str(tcp_port),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "NODE_PATH": str(MODULES)},
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20):
            out = await process.stdout.read()
            assert await process.wait() == 0, out
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    told: dict[str, dict[str, object]] = json.loads(out.splitlines()[-1])
    return told


BEFORE = {
    "int": -1234,
    "dint": 70_000,
    "real": 3.5,
    "bit": True,
    "neighbour": False,
    "text": "Hi",
    "far": 200,
    "flag": 3,
}
AFTER = {**BEFORE, "real": 71.5, "bit": False, "text": "Hello"}


def test_nodes7_and_the_connector_see_the_same_in_a_server_of_snap7() -> None:
    """The one in C: the pure one takes one variable a write."""

    async def main() -> None:
        async with server("c") as tcp_port:
            assert await nodes7(tcp_port) == {"before": BEFORE, "after": AFTER}
            async with running(config(tcp_port, *POINTS)) as (_, port):
                await port.value("real", 71.5)
                await port.value("text", "Hello")
                await port.value("bit0", False)
                await port.value("bit2", True)

    asyncio.run(main())


def test_nodes7_reads_and_writes_the_simulator() -> None:
    async def main() -> None:
        simulator = Simulator()
        memory = simulator.memory
        db1 = memory.area("DB", 1, 64)
        db1[0:6] = (-1234 & 0xFFFF).to_bytes(2) + (70_000).to_bytes(4)
        db1[8:12] = b"\x40\x60\x00\x00"
        db1[12] = 0b10100101
        db1[20:24] = b"\x0a\x02Hi"
        memory.area("DB", 2, 300)[200] = 200
        memory.area("M", 0, 16)[3] = 3
        tcp_port = await simulator.start()
        try:
            assert await nodes7(tcp_port) == {"before": BEFORE, "after": AFTER}
            assert db1[12] == 0b10100100
        finally:
            await simulator.stop()

    asyncio.run(main())
