"""The adapter over pymodbus: its three answers, and each thing that it makes up for."""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

import pytest

from connectors.fakes import run
from gateway.connectors.modbus.client import Client, connect
from gateway.connectors.modbus.endpoint import Endpoint
from gateway.connectors.modbus.pdu import DeviceError, Timeout
from gateway.connectors.modbus.sim import Question, Simulator
from gateway.errors import Retry


@asynccontextmanager
async def simulator() -> AsyncIterator[tuple[Simulator, Client]]:
    """A device with some registers, and a client connected to it."""
    device = Simulator()
    unit = device.unit(1)
    unit.holding.update({n: n for n in range(200)})
    unit.input.update({n: 1000 + n for n in range(200)})
    unit.coil.update({n: n % 3 == 0 for n in range(3000)})
    unit.discrete.update({n: n % 2 for n in range(3000)})
    client = await connect(Endpoint("127.0.0.1", await device.start()), 1.0)
    try:
        yield device, client
    finally:
        client.close()
        await device.stop()


@asynccontextmanager
async def answering(answer: Callable[[bytes], bytes]) -> AsyncIterator[Client]:
    """A client connected to a server that answers each request frame with the bytes that ``answer`` makes."""

    class Server(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast(asyncio.Transport, transport)

        def data_received(self, data: bytes) -> None:
            self.transport.write(answer(data))

    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
    client = await connect(Endpoint("127.0.0.1", server.sockets[0].getsockname()[1]), 1.0)
    try:
        yield client
    finally:
        client.close()
        server.close()
        await server.wait_closed()


def test_all_tables_are_read() -> None:
    async def main() -> None:
        async with simulator() as (_, client):
            assert await client.read("holding", 1, 7, 3, 1.0) == [7, 8, 9]
            assert await client.read("input", 1, 0, 125, 1.0) == list(range(1000, 1125))
            assert await client.read("coil", 1, 0, 5, 1.0) == [1, 0, 0, 1, 0]
            assert await client.read("discrete", 1, 1, 2000, 1.0) == [n % 2 for n in range(1, 2001)]

    run(main())


def test_all_four_write_functions() -> None:
    async def main() -> None:
        async with simulator() as (device, client):
            await client.write("holding", 1, 5, [77], 1.0)
            await client.write("holding", 1, 6, [78], 1.0, as_block=True)
            await client.write("holding", 1, 7, [1, 65535], 1.0)
            await client.write("coil", 1, 1, [1], 1.0)
            await client.write("coil", 1, 2, [1, 0, 1], 1.0)
            assert await client.read("holding", 1, 5, 4, 1.0) == [77, 78, 1, 65535]
            assert await client.read("coil", 1, 0, 5, 1.0) == [1, 1, 1, 0, 1]
            assert [question.function for question in device.questions] == [6, 16, 16, 5, 15, 3, 1]

    run(main())


def test_an_exception_is_a_device_error_with_its_code() -> None:
    async def main() -> None:
        async with simulator() as (device, client):
            with pytest.raises(DeviceError, match="exception 2, illegal data address") as caught:
                await client.read("holding", 1, 199, 2, 1.0)
            assert caught.value.code == 2
            device.unit(1).exception = 6
            with pytest.raises(DeviceError, match="device busy"):
                await client.write("holding", 1, 0, [1], 1.0)

    run(main())


def test_a_mute_unit_is_a_timeout_and_the_connection_stands() -> None:
    async def main() -> None:
        async with simulator() as (_, client):
            with pytest.raises(Timeout, match=r"unit 9 did not answer within 0\.02 s"):
                await client.read("holding", 9, 0, 1, 0.02)
            assert client.is_connected
            assert await client.read("holding", 1, 3, 1, 1.0) == [3]

    run(main())


def test_nobody_there_is_retry_with_the_reason() -> None:
    async def main() -> None:
        with pytest.raises(Retry, match=r"cannot connect to 127\.0\.0\.1:1: .*refused"):
            await connect(Endpoint("127.0.0.1", 1), 1.0)

    run(main())


def test_a_cut_connection_ends_the_question_at_once() -> None:
    async def main() -> None:
        async with simulator() as (device, client):
            device.unit(1).is_mute = True
            asyncio.get_running_loop().call_later(0.02, device.cut)
            async with asyncio.timeout(2):
                with pytest.raises(Retry, match="connection lost"):
                    await client.read("holding", 1, 0, 1, 60.0)
            assert not client.is_connected
            with pytest.raises(Retry):
                await client.read("holding", 1, 0, 1, 60.0)

    run(main())


def test_closing_ends_the_question_at_once() -> None:
    async def main() -> None:
        async with simulator() as (device, client):
            device.unit(1).is_mute = True
            asyncio.get_running_loop().call_later(0.02, client.close)
            async with asyncio.timeout(2):
                with pytest.raises(Retry, match="connection closed"):
                    await client.read("holding", 1, 0, 1, 60.0)

    run(main())


def test_a_cancel_that_comes_with_the_answer_is_not_swallowed() -> None:
    async def main() -> None:
        async with simulator() as (_, client):
            received = client._received

            def answer_and_cancel(data: bytes) -> None:
                received(data)
                task.cancel()

            client._received = answer_and_cancel
            task = asyncio.create_task(client.read("holding", 1, 0, 1, 1.0))
            with pytest.raises(asyncio.CancelledError):
                await task

    run(main())


def reply(request: bytes, body: bytes, **fields: int) -> bytes:
    """An answer to a request frame, with some header fields changed."""
    transaction, unit = struct.unpack_from(">H4xB", request)
    transaction = fields.get("transaction", transaction)
    return struct.pack(">HHHB", transaction, fields.get("protocol", 0), len(body) + 1, fields.get("unit", unit)) + body


ONE_REGISTER = b"\x03\x02\x00\x2a"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda q: reply(q, ONE_REGISTER, transaction=0), "transaction id 0"),
        (lambda q: reply(q, b"\x04\x02\x00\x2a"), "function 4 where 3"),
        (lambda q: reply(q, b"\x84\x02"), "function 132 where 3"),
        (lambda q: reply(q, b"\x03\x04\x00\x2a\x00\x2b"), "2 registers where 1"),
        (lambda q: reply(q, b"\x03\x00"), "registers where 1|no Modbus"),
        (lambda q: reply(q, b"\x63\x02\x00\x2a"), "no Modbus"),
        (lambda q: reply(q, b"\x03\x7f\x00"), "no Modbus"),
    ],
)
def test_an_answer_to_another_question_is_never_a_value(answer: Callable[[bytes], bytes], words: str) -> None:
    async def main() -> None:
        async with answering(answer) as client:
            with pytest.raises(Retry, match=words):
                await client.read("holding", 1, 0, 1, 0.5)

    run(main())


@pytest.mark.parametrize(
    "answer",
    [
        lambda q: reply(q, ONE_REGISTER, transaction=999),
        lambda q: reply(q, ONE_REGISTER, unit=7),
        lambda q: reply(q, ONE_REGISTER, protocol=5),
        lambda q: b"HTTP/1.0 400 Bad Request\r\n\r\n",
        lambda q: reply(q, ONE_REGISTER)[:-1],
    ],
)
def test_what_is_not_for_us_is_no_answer(answer: Callable[[bytes], bytes]) -> None:
    async def main() -> None:
        async with answering(answer) as client:
            with pytest.raises((Timeout, Retry)):
                await client.read("holding", 1, 0, 1, 0.05)

    run(main())


def test_an_answer_in_pieces_is_one_answer() -> None:
    async def main() -> None:
        pieces: list[bytes] = []

        class Server(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                self.transport = cast(asyncio.Transport, transport)

            def data_received(self, data: bytes) -> None:
                pieces.extend(bytes((byte,)) for byte in reply(data, ONE_REGISTER))
                self.next()

            def next(self) -> None:
                if pieces:
                    self.transport.write(pieces.pop(0))
                    asyncio.get_running_loop().call_later(0.002, self.next)

        server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
        client = await connect(Endpoint("127.0.0.1", server.sockets[0].getsockname()[1]), 1.0)
        assert await client.read("holding", 1, 0, 1, 1.0) == [42]
        client.close()
        server.close()
        await server.wait_closed()

    run(main())


def test_the_log_of_pymodbus_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with answering(lambda q: reply(q, b"\x63\x02\x00\x2a")) as client:
            with pytest.raises(Retry):
                await client.read("holding", 1, 0, 1, 0.5)
        with pytest.raises(Retry):
            await connect(Endpoint("127.0.0.1", 1), 1.0)

    with caplog.at_level(logging.DEBUG):
        run(main())
    assert [record for record in caplog.records if record.name != "asyncio"] == []
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


@pytest.mark.slow
def test_late_answers_are_never_taken_for_the_next_question() -> None:
    """A device that answers some questions after the time-out: 1000 reads, each value right or no value."""

    async def main() -> None:
        async with simulator() as (device, client):
            unit, late, right = device.unit(1), 0, 0
            for number in range(1000):
                unit.delay = 0.015 if number % 4 == 0 else 0.0
                address = number % 199
                try:
                    (value,) = await client.read("holding", 1, address, 1, 0.01)
                except Timeout:
                    late += 1
                else:
                    assert value == address
                    right += 1
            assert late >= 200 and right >= 500
            assert device.questions[-1] == Question(1, 3, 999 % 199, 1)
            assert device.accepted == 1

    run(main())
