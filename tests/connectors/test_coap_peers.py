"""The CoAP connector against servers that others wrote, its simulator against their client; and over a lossy line."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from connectors.fakes import FakePort, run
from contracts.rig import free_port
from gateway.clock import Clock
from gateway.config.declare import Secret
from gateway.connectors.base import Quality
from gateway.connectors.coap.config import CoapDevice, CoapPoint, Psk
from gateway.connectors.coap.connector import CoapConnector
from gateway.connectors.coap.sim import simulate
from gateway.connectors.points import WriteLimits
from gateway.errors import Retry
from peers.coap_programs import client, need_libcoap, need_node_coap, node, server
from peers.lossy import lossy

pytestmark = pytest.mark.slow


def point(name: str, path: str, **more: Any) -> CoapPoint:
    return CoapPoint(name=name, path=path, **more)


@asynccontextmanager
async def running(
    url: str, *points: CoapPoint, **more: Any
) -> AsyncIterator[tuple[CoapConnector, FakePort, list[str]]]:
    terms: dict[str, Any] = {"poll": 0.1, "timeout": 5.0, **more}
    port, events = FakePort(), list[str]()
    connector = CoapConnector("dev", CoapDevice(url=url, point=points, **terms), port)

    async def live() -> None:
        while True:
            try:
                await connector.run(lambda: events.append("up"))
            except Retry as retry:
                events.append(str(retry))
            await asyncio.sleep(0.05)

    task = asyncio.create_task(live())
    try:
        yield connector, port, events
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def test_libcoap_is_read_observed_written_and_comes_back() -> None:
    need_libcoap()

    async def main() -> None:
        number = free_port(socket.SOCK_DGRAM)
        points = (
            point("time", "/time", observe=True, type="text"),
            point("data", "/example_data", type="text", write=WriteLimits()),
            point("nothing", "/nothing"),
        )
        async with server(number), running(f"coap://127.0.0.1:{number}", *points, block=64) as (device, port, events):
            await port.quality("nothing", Quality.BAD)
            assert "4.04" in port.last["nothing"].reason
            await port.until(lambda: len({one.value for one in port.samples if one.point == "time"}) >= 3)
            text = "0123456789" * 200
            assert await device.write("data", text) == text, "30 blocks up, 30 down"
            assert events == ["up"]
            status = device.status()
            assert status["notifications"] >= 3 and status["observed"] == 1
        async with running(f"coap://127.0.0.1:{number}", *points) as (_, port, events):
            await port.quality("time", Quality.BAD)
            assert events and events[0].startswith("no connection to")
            async with server(number):
                await port.quality("time", Quality.GOOD)

    run(main())


def test_libcoap_slow_answers_come_separately() -> None:
    """/async?1 is acknowledged at once and answered after a second (RFC 7252 section 5.2.2)."""
    need_libcoap()

    async def main() -> None:
        number = free_port(socket.SOCK_DGRAM)
        async with (
            server(number),
            running(f"coap://127.0.0.1:{number}", point("a", "/async?1", type="text")) as (_, port, events),
        ):
            await port.quality("a", Quality.GOOD)
            assert port.last["a"].value == "done" and events == ["up"]

    run(main())


def test_npm_coap_is_observed_and_read_in_blocks() -> None:
    need_node_coap()

    async def main() -> None:
        number = free_port(socket.SOCK_DGRAM)
        async with node("serve", str(number)) as process:
            assert process.stdout is not None
            async with asyncio.timeout(20):
                assert await process.stdout.readline() == b"ready\n"
            points = (point("s", "/sensor", observe=True), point("big", "/big", type="text"))
            async with running(f"coap://127.0.0.1:{number}", *points) as (_, port, _events):
                await port.value("big", "0123456789abcdef" * 256)
                await port.until(lambda: isinstance(port.last["s"].value, int) and port.last["s"].value >= 5)
                seen = [one.value for one in port.samples if one.point == "s"]
                assert seen == sorted(seen), "in order"

    run(main())


def test_libcoap_reads_observes_and_writes_our_simulator(tmp_path: Path) -> None:
    need_libcoap()

    async def main() -> None:
        number = free_port(socket.SOCK_DGRAM)
        url = f"coap://127.0.0.1:{number}"
        config = CoapDevice(url=url, point=(point("v", "/v", write=WriteLimits()), point("t", "/t", type="text")))
        simulation = simulate({"d": config}, Clock())
        await simulation.start()
        try:
            simulation.set("d", "t", "x" * 3000)
            assert "</v>" in await client("-m", "get", f"{url}/.well-known/core")
            await client("-m", "put", "-e", "42.5", f"{url}/v")
            assert simulation.get("d", "v") == 42.5
            await client("-b", "128", "-m", "get", "-o", str(tmp_path / "t"), f"{url}/t")
            assert (tmp_path / "t").read_text() == "x" * 3000
            seen = asyncio.create_task(client("-s", "1", "-m", "get", f"{url}/v"))
            for value in range(5):
                await asyncio.sleep(0.1)
                simulation.set("d", "v", value)
            assert (await seen).replace("\n", "").endswith("01234")
        finally:
            await simulation.stop()

    run(main())


def test_a_device_behind_a_lossy_line_is_read_written_and_observed() -> None:
    async def main() -> None:
        number = free_port(socket.SOCK_DGRAM)
        points = (point("p", "/p", write=WriteLimits()), point("o", "/o", observe=True))
        config = CoapDevice(url=f"coap://127.0.0.1:{number}", point=points)
        simulation = simulate({"d": config}, Clock())
        await simulation.start()
        try:
            async with lossy(number, 0.3, 7) as (proxy, lossy_port):
                terms = {"ack_timeout": 0.03, "timeout": 40.0, "poll": 0.05, "refresh": 0.5}
                async with running(f"coap://127.0.0.1:{lossy_port}", *points, **terms) as (device, port, events):
                    await port.quality("p", Quality.GOOD)
                    await port.quality("o", Quality.GOOD)
                    for value in range(3):
                        assert await device.write("p", value) == value
                        simulation.set("d", "o", value + 100)
                        async with asyncio.timeout(40):
                            while port.last["o"].value != value + 100:  # noqa: ASYNC110
                                await asyncio.sleep(0.01)
                    assert events == ["up"], "loss is no reason to be down"
                assert proxy.lost > 5
        finally:
            await simulation.stop()

    run(main())


def test_libcoap_over_dtls_with_a_key() -> None:
    need_libcoap()
    pytest.importorskip("DTLSSocket", reason="needs the Python package DTLSSocket: pip install edge-gateway[dtls]")

    async def main() -> None:
        number = free_port(socket.SOCK_DGRAM)
        psk = Psk(identity="gw1", key=Secret("s3cr3t-of-gw1"))
        points = (
            point("time", "/time", observe=True, type="text"),
            point("data", "/example_data", type="text", write=WriteLimits()),
        )
        async with server(number, "-k", "s3cr3t-of-gw1", "-h", "hint"):
            async with running(f"coaps://127.0.0.1:{number + 1}", *points, psk=psk) as (device, port, _):
                await port.until(lambda: len({one.value for one in port.samples if one.point == "time"}) >= 2)
                assert await device.write("data", "hello") == "hello"
            wrong = Psk(identity="gw1", key=Secret("another-key"))
            async with running(f"coaps://127.0.0.1:{number + 1}", *points, psk=wrong, timeout=0.5) as (_, port, events):
                await port.quality("time", Quality.BAD)
                assert "up" not in events

    run(main())
