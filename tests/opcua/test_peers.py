"""The OPC-UA client against servers of others, as processes: node-opcua and asyncua, signed, encrypted, killed."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from connectors.fakes import FakePort
from e2e.rig.waiting import free_port
from gateway.config.declare import Secret
from gateway.connectors.base import Quality
from gateway.connectors.opcua.config import OpcuaDevice, OpcuaPoint
from gateway.connectors.opcua.connector import OpcuaConnector
from gateway.connectors.points import WriteLimits
from gateway.errors import Rejected, Retry
from gateway.opcua.trust import TrustList
from opcua.restarts import judge, rounds

ROOT = Path(__file__).parents[2]
MODULES = ROOT / ".venv" / "peers" / "node_modules"

pytestmark = pytest.mark.slow
node_opcua = pytest.mark.skipif(
    not (MODULES / "node-opcua").is_dir() or not shutil.which("node"), reason="needs node-opcua"
)


@asynccontextmanager
async def server(folder: Path, *words: str, port: int = 0) -> AsyncIterator[Any]:
    """Run node-opcua; yields the process, which has its ``port``."""
    port = port or free_port()
    process = await asyncio.create_subprocess_exec(
        "node", str(ROOT / "tests" / "peers" / "opcua_server.js"), str(port), str(folder / "pki"), *words,
        env={"NODE_PATH": str(MODULES), "PATH": "/usr/bin:/bin", "HOME": str(folder)},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert await said(process, "up") == f"up {port}"
        yield process, port
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def said(process: Any, word: str) -> str:
    """Its next line that begins with a word."""
    async with asyncio.timeout(60):
        while True:
            line: str = (await process.stdout.readline()).decode()
            assert line, "the server ended"
            if line.startswith(word):
                return line.strip()


def point(name: str, **more: Any) -> OpcuaPoint:
    return OpcuaPoint(name=name, node=f"nsu=urn:edge-gateway:test:plant;s={name}", **more)


POINTS = (
    point("Temp"),
    *(point(name, write=WriteLimits()) for name in ("SetPoint", "Small", "Ratio", "Name", "On", "Long", "Arr", "Add")),
    *(point(name) for name in ("Bad", "Shaky", "Range")),
    *(point(f"N{n}", poll=0.3) for n in range(29)),
    OpcuaPoint(name="N29", node="Objects/plant:Boiler/plant:N29", poll=0.3),
)


def device(port: int, **more: Any) -> OpcuaDevice:
    given: dict[str, Any] = {
        "poll": 0.1, "point": POINTS, "namespaces": {"plant": "urn:edge-gateway:test:plant"}, "keep_alive": 1.0,
    }  # fmt: skip
    return OpcuaDevice(url=f"opc.tcp://127.0.0.1:{port}/UA/field", **(given | more))


@asynccontextmanager
async def running(connector: OpcuaConnector) -> AsyncIterator[list[str]]:
    events: list[str] = []

    async def live() -> None:
        while True:
            try:
                await connector.run(lambda: events.append("up"))
            except Retry as error:
                events.append(str(error))
            await asyncio.sleep(0.1)

    task = asyncio.create_task(live())
    try:
        yield events
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def check(connector: OpcuaConnector, port: FakePort) -> None:
    """Everything of the peer is read, written and called."""
    names = {one.name for one in POINTS} - {"Add", "Bad"}
    await port.until(lambda: names <= set(port.last) and all(port.last[name].value is not None for name in names))
    last = port.last
    assert {last[f"N{n}"].value for n in range(30)} == set(range(30))
    assert (last["Bad"].value, last["Bad"].quality, last["Bad"].reason) == (None, Quality.BAD, "BadDeviceFailure")
    shaky = last["Shaky"]
    assert (shaky.value, shaky.quality, shaky.reason) == (7.5, Quality.UNCERTAIN, "UncertainLastUsableValue")
    assert shaky.time == pytest.approx(1714979289.123)
    assert last["Range"].value == {"Low": -1.0, "High": 9.0}
    before = last["Temp"].value
    await port.until(lambda: port.last["Temp"].value != before)
    for name, value in (
        ("SetPoint", 51.5), ("Small", -7), ("Ratio", 0.3), ("Name", "x"), ("On", True), ("Long", 2**40),
        ("Arr", [4, 5]),
    ):  # fmt: skip
        assert await connector.write(name, value) == value
        await port.value(name, value)
    assert await connector.write("Add", [40, 2]) == 42
    assert await connector.write("Add", "[40, -2]") == 38
    with pytest.raises(Rejected, match=r"needs 2 arguments, not 1: a \(Int32\), b \(Int32\)"):
        await connector.write("Add", 3)
    with pytest.raises(Rejected, match="b must be a whole number"):
        await connector.write("Add", [1, 2.5])
    status = connector.status()
    assert status["limits"]["items"] == 5 and status["limits"]["read"] == 7
    assert (status["subscriptions"], status["reported"], status["polled"]) == (2, len(POINTS) - 1, 0)


@node_opcua
def test_everything_of_a_node_opcua_server_and_its_restart_with_other_namespaces(tmp_path: Path) -> None:
    async def main() -> None:
        number = free_port()
        port = FakePort()
        connector = OpcuaConnector("dev", device(number), port)
        async with running(connector) as events:
            async with server(tmp_path, port=number) as (process, _):
                await check(connector, port)
                process.stdin.write(b"?\n")
                assert await said(process, "sessions") == "sessions 1 2"
            await port.quality("SetPoint", Quality.STALE)
            port.last.clear()
            async with server(tmp_path, "shift", port=number) as (process, _):
                await check(connector, port)
                assert events.count("up") == 2
                process.stdin.write(b"?\n")
                assert await said(process, "sessions") == "sessions 1 2"

    asyncio.run(main())


@node_opcua
def test_a_strict_node_opcua_server_signed_and_encrypted_with_every_policy(tmp_path: Path) -> None:
    async def main() -> None:
        state = tmp_path / "state"
        async with server(tmp_path, "strict", "users") as (process, number):
            login = {"user": "user1", "password": Secret("pw1")}

            async def once(policy: str, mode: str, **more: Any) -> FakePort:
                port = FakePort(shared={"state folder": state})
                config = device(number, security=policy, security_mode=mode, **(login | more))
                async with running(OpcuaConnector("dev", config, port)) as events:
                    for _ in range(1000):
                        if events:
                            break
                        await asyncio.sleep(0.02)
                    if events[0] != "up":
                        raise Retry(events[0])
                    await port.value("N29", 29)
                return port

            with pytest.raises(Retry, match="gateway opcua trust"):
                await once("Basic256Sha256", "sign_and_encrypt")
            trusting = TrustList(state)
            trusting.trust(trusting.entries()[0].thumbprint)
            with pytest.raises(Retry, match="may not trust|does not accept our certificate"):
                await once("Basic256Sha256", "sign_and_encrypt")
            process.stdin.write(b"trust\n")
            assert await said(process, "trusted") == "trusted 1"
            for policy in ("Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss"):
                for mode in ("sign", "sign_and_encrypt"):
                    await once(policy, mode)
            with pytest.raises(Retry, match="refuses the user or the password|way to log in"):
                await once("Basic256Sha256", "sign", password=Secret("wrong"))
            with pytest.raises(Retry, match="way to log in|refuses the user"):
                await once("Basic256Sha256", "sign", user=None, password=None)

    asyncio.run(main())


def test_an_asyncua_server_that_is_killed_three_times() -> None:
    """M10, short. ``PYTHONPATH=.:tests python -m opcua.restarts`` does it 100 times."""
    found = asyncio.run(rounds(3, random.Random(7)))
    assert len(found) == 3 and judge(found) == []
