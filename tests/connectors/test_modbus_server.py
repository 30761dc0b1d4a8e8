"""The Modbus server: what it shows of points, what it makes of writes, whom it lets in."""

from __future__ import annotations

import asyncio
import os
import tty
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from connectors.fakes import passes, run
from gateway import kinds
from gateway.broker.broker import Broker
from gateway.broker.port import Done, Subscriber
from gateway.broker.retained import Retained
from gateway.clock import FixedClock
from gateway.config.load import read
from gateway.config.settings import Settings
from gateway.connectors.modbus.client import Client, connect
from gateway.connectors.modbus.endpoint import Endpoint, Framing, parse_url
from gateway.connectors.modbus.pdu import DeviceError, Timeout
from gateway.connectors.modbus.server import ModbusServer
from gateway.connectors.modbus.server_config import ModbusListener, ServedPoint
from gateway.connectors.modbus.wire import open_wire
from gateway.errors import ConfigError, Retry
from gateway.message import Message, Value
from gateway.metrics import Metrics


class Commands(Subscriber):
    """Who gets the commands."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Value]] = []

    def deliver(self, message: Message, done: Done | None) -> bool:
        self.seen.append((message.topic, message.value))
        return False


class Site:
    """A broker, a server, a client of it."""

    def __init__(self, *points: ServedPoint, **fields: Any) -> None:
        self.clock = FixedClock()
        self.broker = Broker(Metrics(), Retained(100, 100_000))
        self.commands = Commands()
        self.broker.subscribe("+/+/set", self.commands)
        settings = ModbusListener(bind="127.0.0.1:0", register=points, **fields)
        self.server = ModbusServer("modbus", settings, self, self.clock)

    def says(self, topic: str, value: Value, **fields: Any) -> None:
        self.broker.publish(Message(topic, value=value, **fields))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Endpoint]:
        up = asyncio.Event()
        task = asyncio.create_task(self.server.run(up.set))
        await up.wait()
        try:
            yield Endpoint("127.0.0.1", int(self.server.bound[0].rpartition(":")[2]))
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await passes()


def play(site: Site, main: Callable[[Client], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with site.running() as endpoint:
            client = await connect(endpoint, 1.0)
            try:
                await main(client)
            finally:
                client.close()

    run(whole())


def good(value: Value) -> dict[str, Value]:
    return {"v": value, "q": "good", "t": "2026-11-26T08:00:00.000Z"}


async def refused(code: int, question: Awaitable[Any]) -> None:
    with pytest.raises(DeviceError) as caught:
        await question
    assert caught.value.code == code


POINTS = (
    ServedPoint(topic="plant/power", address="input:0", type="float32", order="CDAB"),
    ServedPoint(topic="plant/temperature", address="holding:10", type="int16", scale=0.1, write=True),
    ServedPoint(topic="plant/total", address="holding:11", type="uint32", write=True),
    ServedPoint(topic="plant/pump", address="coil:3", type="bool", write=True),
    ServedPoint(topic="plant/door", address="discrete:4", type="bool"),
    ServedPoint(topic="plant/name", address="holding:20", type="string:4"),
    ServedPoint(topic="plant/power", address="holding:30", type="uint16", fill=-0.0),
)


def test_all_tables_and_types_show_last_values() -> None:
    site = Site(*POINTS)

    async def main(client: Client) -> None:
        for topic, value in (("power", 1.5), ("temperature", 71.3), ("total", 70_000), ("pump", True), ("door", False)):
            site.says(f"plant/{topic}", good(value))
        site.says("plant/name", "ab")  # a bare value
        assert await client.read("input", 1, 0, 2, 1.0) == [0, 0x3FC0]
        assert await client.read("holding", 1, 10, 3, 1.0) == [713, 1, 70_000 - 65_536]
        assert await client.read("coil", 255, 3, 1, 1.0) == [1]
        assert await client.read("discrete", 0, 4, 1, 1.0) == [0]
        assert await client.read("holding", 1, 20, 2, 1.0) == [0x6162, 0]
        assert await client.read("holding", 1, 30, 1, 1.0) == [2]
        site.says("plant/temperature", good(-12.5))
        assert await client.read("holding", 1, 10, 1, 1.0) == [65536 - 125]
        assert site.server.status()["connections"] == 1

    play(site, main)


def test_what_is_not_there_is_exception_2_and_another_unit_gets_no_answer() -> None:
    site = Site(*POINTS)

    async def main(client: Client) -> None:
        site.says("plant/temperature", good(1))
        await refused(2, client.read("holding", 1, 9, 2, 1.0))
        await refused(2, client.read("input", 1, 2, 1, 1.0))
        with pytest.raises(Timeout):
            await client.read("holding", 7, 10, 1, 0.05)

    play(site, main)


def test_without_a_good_value_it_is_exception_4_or_the_fill() -> None:
    site = Site(*POINTS, max_age=10.0)

    async def main(client: Client) -> None:
        await refused(4, client.read("holding", 1, 10, 1, 1.0))
        assert await client.read("holding", 1, 30, 1, 1.0) == [0]
        site.says("plant/temperature", good(5))
        site.says("plant/power", good(5))
        assert await client.read("holding", 1, 10, 1, 1.0) == [50]
        site.says("plant/temperature", {"v": None, "q": "bad", "why": "exception 2"})
        await refused(4, client.read("holding", 1, 10, 1, 1.0))
        site.says("plant/temperature", {"v": 5, "q": "uncertain"})
        assert await client.read("holding", 1, 10, 1, 1.0) == [50]
        site.says("plant/temperature", {"v": 5, "q": "stale"})
        await refused(4, client.read("holding", 1, 10, 1, 1.0))
        for unfit in (4000, "hot", [1], True, float("nan"), float("inf")):
            site.says("plant/temperature", good(unfit))
            await refused(4, client.read("holding", 1, 10, 1, 1.0))
        site.clock.advance(11)
        await refused(4, client.read("input", 1, 0, 2, 1.0))
        assert await client.read("holding", 1, 30, 1, 1.0) == [0]

    play(site, main)


def test_a_retained_value_is_there_from_the_start() -> None:
    site = Site(*POINTS)
    site.says("plant/temperature", good(20), retain=True)

    async def main(client: Client) -> None:
        assert await client.read("holding", 1, 10, 1, 1.0) == [200]

    play(site, main)


def test_writes_become_commands_and_the_value_stays_that_of_the_device() -> None:
    site = Site(*POINTS)

    async def main(client: Client) -> None:
        site.says("plant/temperature", good(5))
        await client.write("holding", 1, 10, [713], 1.0)
        await client.write("holding", 1, 11, [1, 2], 1.0)
        await client.write("coil", 1, 3, [1], 1.0)
        await client.write("holding", 1, 10, [65_535, 0, 7], 1.0)
        assert site.commands.seen == [
            ("plant/temperature/set", 71.3),
            ("plant/total/set", 65_538),
            ("plant/pump/set", True),
            ("plant/temperature/set", -0.1),
            ("plant/total/set", 7),
        ]
        assert await client.read("holding", 1, 10, 1, 1.0) == [50]
        await client.mask(1, 10, 0xFF00, 0x0001, 1.0)
        assert site.commands.seen[-1] == ("plant/temperature/set", 0.1)

    play(site, main)


def test_writes_of_half_a_number_or_of_what_is_read_only_do_nothing() -> None:
    site = Site(*POINTS)

    async def main(client: Client) -> None:
        await refused(3, client.write("holding", 1, 11, [1], 1.0))
        await refused(3, client.write("holding", 1, 10, [1, 2], 1.0))
        await refused(3, client.write("holding", 1, 12, [1, 2], 1.0))
        await refused(2, client.write("holding", 1, 30, [1], 1.0))
        await refused(2, client.write("coil", 1, 0, [1], 1.0))
        assert site.commands.seen == []

    play(site, main)


def test_only_listed_clients_come_in() -> None:
    site = Site(*POINTS, clients=("10.0.0.0/8",))

    async def main() -> None:
        async with site.running() as endpoint:
            reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
            with suppress(ConnectionError):
                assert await reader.read(1) == b""
            writer.close()
            assert site.server.status()["refused"] == 1

    run(main())


def test_one_client_too_many_costs_the_idle_one_its_connection() -> None:
    site = Site(*POINTS, max_connections=2)

    async def main() -> None:
        site.says("plant/pump", good(True))
        async with site.running() as endpoint:
            idle, busy = await connect(endpoint, 1.0), await connect(endpoint, 1.0)
            site.says("plant/pump", good(True))
            await busy.read("coil", 1, 3, 1, 1.0)
            third = await connect(endpoint, 1.0)
            assert await third.read("coil", 1, 3, 1, 1.0) == [1]
            assert await busy.read("coil", 1, 3, 1, 1.0) == [1]
            await passes(20)
            assert not idle.is_connected
            for client in (idle, busy, third):
                client.close()
            await passes()

    run(main())


def test_nonsense_ends_the_connection_and_an_address_in_use_is_retry() -> None:
    site = Site(*POINTS)

    async def main() -> None:
        async with site.running() as endpoint:
            reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            with suppress(ConnectionError):
                assert await reader.read(1) == b""
            writer.close()
            other = ModbusServer(
                "other", ModbusListener(bind=f"127.0.0.1:{endpoint.port}", register=POINTS), site, site.clock
            )
            with pytest.raises(Retry, match=r"cannot listen on 127\.0\.0\.1:"):
                await other.run(lambda: None)

    run(main())


def test_when_it_has_ended_it_asks_the_broker_for_nothing() -> None:
    site = Site(*POINTS)

    async def main() -> None:
        async with site.running():
            assert len(site.broker.receivers("plant/power")) == 1
        assert len(site.broker.receivers("plant/power")) == 0
        assert site.server.status()["bound"] == []

    run(main())


def problems(tmp_path: Path, register: str, listener: str = "") -> Iterator[str]:
    file = tmp_path / "gateway.toml"
    file.write_text(
        f'[listener.m]\nkind = "modbus"\nbind = "127.0.0.1:502"\n{listener}\n'
        f'[[listener.m.register]]\ntopic = "a/b"\naddress = "holding:1"\ntype = "uint32"\n'
        f'[[listener.m.register]]\ntopic = "a/c"\n{register}\n'
    )
    try:
        read(file, Settings, kinds)
    except ConfigError as error:
        yield from (problem.partition("listener.m.")[2] for problem in error.problems)


@pytest.mark.parametrize(
    ("register", "listener", "words"),
    [
        ('address = "holding:2"', "", "register[1].address: holding:2 is taken by register[0] already"),
        ('address = "coil:2"', "", 'register[1].type: must be "bool" for coil:2'),
        ('address = "input:2"\nwrite = true', "", "register[1].write: input:2 cannot be written"),
        ('address = "holding:9"\nscale = 0', "", "register[1].scale: must not be 0"),
        ('address = "holding:9"\ntype = "string:4"\nfill = 1', "", "register[1].fill: has no meaning for text"),
        ('address = "holding:9"', 'clients = ["x"]', "clients: must be addresses or networks"),
        ('address = "holding:9"', "unit = 0", "unit: must be between 1 and 247"),
        ('address = "holding:9"', "max_connections = 0", "max_connections: must be between 1 and 1000"),
        ('address = "holding:65535"', "", "register[1].address: float32 takes 2 registers and runs over"),
    ],
)
def test_wrong_settings_are_named(register: str, listener: str, words: str, tmp_path: Path) -> None:
    assert [problem[: len(words)] for problem in problems(tmp_path, register, listener)] == [words]
    assert list(problems(tmp_path, 'address = "holding:9"')) == []


@pytest.mark.parametrize("framing", ["rtu", "ascii"])
def test_it_is_a_unit_of_a_serial_line(framing: Framing, tmp_path: Path) -> None:
    """The master is our own client; between them two pseudo-terminals, joined."""

    async def main() -> None:
        ends = [os.openpty() for _ in range(2)]
        loop = asyncio.get_running_loop()
        for name, (_, end) in zip(("master", "slave"), ends, strict=True):
            tty.setraw(end)
            (tmp_path / name).symlink_to(os.ttyname(end))

        def carry(source: int, target: int) -> None:
            os.write(target, os.read(source, 4096))

        for (source, _), (target, _) in (ends, ends[::-1]):
            loop.add_reader(source, carry, source, target)
        line = f"baud=115200&parity=N&framing={framing}"
        settings = ModbusListener(bind=f"serial:{tmp_path / 'slave'}?{line}", unit=17, register=POINTS)
        site = Site(*POINTS)
        server = ModbusServer("line", settings, site, site.clock)
        up = asyncio.Event()
        task = asyncio.create_task(server.run(up.set))
        await up.wait()
        wire = await open_wire(parse_url(f"serial:{tmp_path / 'master'}?{line}"), 1.0)
        try:
            site.says("plant/temperature", good(-12.5))
            assert await wire.read("holding", 17, 10, 1, 1.0, 1.0) == [65536 - 125]
            await wire.write("holding", 17, 10, [713], 1.0, 1.0)
            await wire.broadcast("coil", 3, [1])
            await refused(2, wire.read("holding", 17, 9, 2, 1.0, 1.0))
            with pytest.raises(Timeout):
                await wire.read("holding", 5, 10, 1, 0.05, 0.01)
            assert site.commands.seen == [("plant/temperature/set", 71.3), ("plant/pump/set", True)]
            assert server.status()["bound"] == [str(tmp_path / "slave")]
            loop.remove_reader(ends[1][0])
            os.close(ends[1][0])
            with pytest.raises(Retry, match="was lost"):
                await task
            assert len(site.broker.receivers("plant/power")) == 0
        finally:
            task.cancel()
            wire.close()
            loop.remove_reader(ends[0][0])
            for file in (ends[0][0], ends[0][1], ends[1][1]):
                os.close(file)

    run(main())


@pytest.mark.parametrize(
    ("bind", "more", "words"),
    [
        ("serial:/dev/ttyS1?baud=1", "", "bind: baud must be a number between 110 and 4000000"),
        ("unix:/run/a.sock", "", "bind: must be an address and a port"),
        ("serial:/dev/ttyS1", 'clients = ["10.0.0.0/8"]', "clients: has no effect on a serial line"),
    ],
)
def test_where_it_cannot_be_bound(bind: str, more: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(
        f'[listener.m]\nkind = "modbus"\nbind = "{bind}"\n{more}\n'
        '[[listener.m.register]]\ntopic = "a/b"\naddress = "holding:1"\n'
    )
    with pytest.raises(ConfigError) as caught:
        read(file, Settings, kinds)
    assert caught.value.problems[0].partition("listener.m.")[2].startswith(words)
