"""What the CoAP connector relies on in aiocoap: requests that are given up, streams that end, words for errors."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from connectors.fakes import run
from contracts.rig import free_port
from gateway.clock import Clock
from gateway.connectors.coap.client import Away, Client
from gateway.connectors.coap.config import CoapDevice, CoapPoint, Resource
from gateway.connectors.coap.sim import CoapSimulation, simulate

PATH = Resource(("p",))


@asynccontextmanager
async def pair(**more: Any) -> AsyncIterator[tuple[Client, CoapSimulation]]:
    terms: dict[str, Any] = {"timeout": 0.2, "ack_timeout": 0.05, **more}
    url = f"coap://127.0.0.1:{free_port(socket.SOCK_DGRAM)}"
    config = CoapDevice(url=url, point=(CoapPoint(name="p", path="/p"),), **terms)
    simulation = simulate({"d": config}, Clock())
    await simulation.start()
    client = Client(config)
    await client.open()
    try:
        yield client, simulation
    finally:
        await client.close()
        await simulation.stop()


def test_a_request_that_is_given_up_is_not_repeated_and_frees_the_way() -> None:
    async def main() -> None:
        async with pair(ack_timeout=30.0) as (client, simulation):
            simulation.fault("d", "mute")
            for _ in range(3):
                with pytest.raises(Away, match=r"no answer within 0\.2 s"):
                    await client.get(PATH)
            assert client._messages._active_exchanges == {} and client._messages._backlogs == {}
            waiting = [asyncio.create_task(client._ask(client._message(1, PATH, None))) for _ in range(3)]
            await asyncio.sleep(0.05)
            assert len(client._messages._active_exchanges) == 1, "one at a time (NSTART)"
            for one in waiting:
                one.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            assert client._messages._active_exchanges == {} and client._messages._backlogs == {}
            simulation.fault("d", "none")
            assert (await client.get(PATH)).payload == b"0"

    run(main())


def test_a_port_where_nobody_listens_is_refused_at_once() -> None:
    async def main() -> None:
        async with pair(timeout=5.0) as (client, simulation):
            await simulation.stop()
            with pytest.raises(Away) as caught:
                await client.get(PATH)
            assert caught.value.is_refused and "refused" in str(caught.value)

    run(main())


def test_a_stream_ends_with_its_device_and_with_its_reader() -> None:
    async def main() -> None:
        async with pair() as (client, simulation):
            async with client.observing(PATH, None) as stream:
                assert stream.is_observed
                first = await stream.next(1)
                assert first is not None and first.payload == b"0"
                assert await stream.next(0.05) is None, "quiet for too long"
                simulation.set("d", "p", 5)
                second = await stream.next(1)
                assert second is not None and second.payload == b"5"
            assert client._tokens.outgoing_requests == {}

    run(main())


def test_blocks_may_be_made_smaller_by_the_device() -> None:
    async def main() -> None:
        async with pair(block=16, timeout=2.0) as (client, _):
            reply = await client.put(PATH, b"1" * 100, 0)
            assert reply.is_success
            assert (await client.get(PATH)).payload == b"1" * 100

    run(main())


def test_an_answer_that_is_no_utf_8_is_no_answer_and_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with pair() as (client, _):
            assert (await client.get(PATH)).payload == b"0"
            sock = client._messages.message_interface.transport.get_extra_info("socket")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                other.sendto(b"\x60\x45\x00\x03\x82\xff\xfe", ("127.0.0.1", sock.getsockname()[1]))
            assert (await client.get(PATH)).payload == b"0"

    run(main())
    assert caplog.records == []
