"""The BACnet connector against bacpypes3's own device in another process; node-bacnet against the simulator."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from connectors.fakes import FakePort
from contracts.rig import free_port
from gateway.connectors.bacnet import doctor
from gateway.connectors.bacnet.config import BacnetDevice, BacnetPoint
from gateway.connectors.bacnet.connector import BacnetConnector
from gateway.connectors.bacnet.objects import Object
from gateway.connectors.bacnet.sim import Simulator
from gateway.connectors.bacnet.values import encode
from gateway.connectors.base import Quality
from gateway.connectors.points import WriteLimits
from gateway.errors import Rejected

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PEERS = ROOT / "tests" / "peers"
MODULES = ROOT / ".venv" / "peers" / "node_modules"

W = WriteLimits()


@asynccontextmanager
async def device(*points: BacnetPoint, query: str = "", **fields: Any) -> AsyncIterator[BacnetDevice]:
    """bacpypes3's device in a process of its own, and settings for it."""
    port = free_port(socket.SOCK_DGRAM)
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PEERS / "bacnet_device.py"), str(port), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20):
            assert (await process.stdout.readline()).strip() == b"ready"
        fields = {"poll": 0.05, "local": "127.0.0.1:0", "timeout": 1.0, **fields}
        yield BacnetDevice(url=f"bacnet://127.0.0.1:{port}{query}", point=points, **fields)
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def running(config: BacnetDevice) -> AsyncIterator[tuple[BacnetConnector, FakePort]]:
    port = FakePort()
    connector = BacnetConnector("dev", config, port)
    task = asyncio.create_task(connector.run(lambda: None))
    try:
        yield connector, port
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def point(name: str, object: str, **fields: Any) -> BacnetPoint:
    return BacnetPoint(name=name, object=object, **fields)


@pytest.mark.parametrize("batch", [True, False])
def test_a_device_of_bacpypes3_is_read_and_commanded(batch: bool) -> None:
    async def main() -> None:
        points = (
            point("value", "av,1", write=W, priority=8),
            point("held", "ao,1", held=True, priority=8, write=W),
            point("out", "ao,1", write=W, priority=8),
            point("bit", "bv,1", write=W),
            point("state", "mv,1", values={"1": "off", "2": "on", "3": "auto"}, write=W),
            point("text", "characterstring-value,1"),
            point("fault", "ai,2"),
            point("none", "av,77", write=W),
            point("units", "av,1", property="units"),
            *(point(f"p{n}", f"av,{n}") for n in range(100, 160)),
        )
        async with device(*points, batch=batch) as config, running(config) as (connector, port):
            await port.until(lambda: len(port.last) == len(points))
            found = {name: sample.value for name, sample in port.last.items()}
            assert (found["value"], found["bit"], found["state"], found["text"]) == (20.0, False, "on", "Ölkessel")
            assert found["units"] == 62
            assert [found[f"p{n}"] for n in range(100, 160)] == [*map(float, range(100, 160))]
            assert (port.last["fault"].quality, port.last["fault"].reason) == (Quality.BAD, "fault: no-sensor")
            assert port.last["none"].reason == "object: unknown-object"
            for number in (71.25, -3.0):
                assert await connector.write("value", number) == number
            assert await connector.write("state", "auto") == "auto"
            assert await connector.write("bit", True) is True
            assert await connector.write("out", 60.0) == 60.0
            await port.value("held", True)
            assert await connector.write("held", False) is False
            await port.value("out", 5.0)
            with pytest.raises(Rejected, match="unknown-object"):
                await connector.write("none", 1.0)
            assert connector.status()["timeouts"] == 0

    asyncio.run(main())


def test_a_device_of_bacpypes3_tells_changes_and_is_found_by_its_number() -> None:
    async def main() -> None:
        points = (point("value", "av,1", write=W), point("shown", "ai,1", mode="cov"))
        async with (
            device(*points, query="?device=599", poll=60, lifetime=4) as config,
            running(config) as (connector, port),
        ):
            await port.value("shown", 20.0)
            for number in (21.0, 25.5):
                await connector.write("value", number)
                await port.value("shown", number)
            status = connector.status()["subscriptions"]
            assert status["live"] == 1 and status["changes"] >= 3
            await asyncio.sleep(4.5)  # the subscription has been renewed in the meantime
            await connector.write("value", 30.0)
            await port.value("shown", 30.0)

    asyncio.run(main())


def test_the_doctor_at_a_device_of_bacpypes3() -> None:
    async def main() -> None:
        async with device(point("value", "av,1"), query="?device=599") as config:
            address = config.url.partition("?")[0]
            (found,) = [one async for one in doctor.scan(address, lambda text: None, local="127.0.0.1:0", wait=0.3)]
            assert found.settings["url"] == config.url and found.name == "peer"
            listed = {one.address: one async for one in doctor.browse(config)}
            assert listed["analog-value,1"].settings == {"object": "analog-value,1", "unit": "Cel"}
            assert listed["characterstring-value,1"].value == "Ölkessel"
            assert len(listed) >= 67
            (sample,) = await doctor.read(config, ["value"])
            assert sample.value == 20.0

    asyncio.run(main())


def test_node_bacnet_reads_and_commands_the_simulator() -> None:
    node = shutil.which("node")
    if node is None or not (MODULES / "node-bacnet").exists():
        pytest.skip("needs npm node-bacnet (make peers)")

    async def main() -> None:
        simulator = Simulator(599)
        value = simulator.object(Object(2, 1))
        value.put(encode(20.5, "real"))
        simulator.object(Object(5, 1)).put(encode(True, "binary"))
        port = await simulator.start()
        process = await asyncio.create_subprocess_exec(
            str(node),
            str(PEERS / "bacnet_client.js"),
            str(port),
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
            await simulator.stop()
        told = json.loads(out.splitlines()[-1])
        assert (told["before"], told["after"], told["slot"], told["released"]) == (20.5, 71.5, 71.5, 20.5)
        assert (told["name"], told["count"]) == ("simulated 599", 3)
        assert told["many"] == [[4, 8], [9, "error"]]
        assert "31" in told["missing"]  # unknown-object

    asyncio.run(main())
