"""Which host is tried next, and what an uplink with several of them does."""

from __future__ import annotations

import asyncio
import socket

import pytest

from gateway.errors import Retry
from gateway.mqtt.packets import ConnAck, Connect
from gateway.uplinks.mqtt.config import Endpoint
from gateway.uplinks.mqtt.hosts import RETURN, STEADY, Hosts
from uplinks.bench import Bench, Cloud, play, row, until

A, B, C = (Endpoint(name, 1883, False) for name in "abc")


def test_in_order_and_the_one_that_works_is_kept() -> None:
    hosts = Hosts([A, B, C])
    assert hosts.round(0) == [A, B, C]
    hosts.failed(A, 0)
    hosts.connected(B, 0)
    hosts.ended(100)
    assert hosts.round(100) == [B, C, A]
    assert hosts.current == B


def test_the_first_is_tried_again_when_a_connection_is_to_be_made_anyway() -> None:
    hosts = Hosts([A, B])
    hosts.failed(A, 0)
    hosts.connected(B, 0)
    hosts.ended(RETURN - 1)
    assert hosts.round(RETURN - 1) == [B, A]
    assert hosts.round(RETURN) == [A, B]
    hosts.failed(A, RETURN)
    assert hosts.round(RETURN + 1) == [B, A]


def test_a_host_that_takes_us_only_to_throw_us_out_has_failed() -> None:
    hosts = Hosts([A, B])
    hosts.connected(A, 0)
    hosts.ended(STEADY / 2)
    assert hosts.round(STEADY) == [B, A]
    hosts.connected(B, 10)
    hosts.ended(10 + STEADY)
    assert hosts.round(20) == [B, A]


def test_all_fail() -> None:
    hosts = Hosts([A, B])
    hosts.failed(A, 0)
    hosts.failed(B, 0)
    assert hosts.round(0) == [A, B]


def nobody_there() -> int:
    """A port where nothing listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def test_the_next_host_is_tried_at_once() -> None:
    async def main() -> None:
        async with Cloud() as refusing, Cloud() as good:
            refusing.connack = ConnAck(False, 0x88)
            urls = tuple(f"mqtt://127.0.0.1:{port}" for port in (nobody_there(), refusing.port, good.port))
            bench = Bench(good.port, [row(1)], url=urls)

            async def work() -> None:
                await bench.settled(1)
                assert bench.uplink.status()["host"] == f"127.0.0.1:{good.port}"

            await bench.during(work())
            assert len(refusing.of(Connect)) == len(good.of(Connect)) == 1
            assert bench.ups == 1

    play(main())


def test_what_is_wrong_with_each_is_said() -> None:
    async def main() -> None:
        gone = nobody_there()
        async with Cloud() as refusing:
            refusing.connack = ConnAck(False, 0x86)
            bench = Bench(0, url=(f"mqtt://127.0.0.1:{gone}", f"mqtt://127.0.0.1:{refusing.port}"))
            with pytest.raises(Retry, match=f"127.0.0.1:{gone}.*nothing listens there.* / .*check username and"):
                await bench.run()

    play(main())


def test_when_the_second_is_lost_the_first_gets_its_rows() -> None:
    async def main() -> None:
        async with Cloud() as first, Cloud() as second:
            first.connack = ConnAck(False, 0x88)
            bench = Bench(0, [row(1)], url=(f"mqtt://127.0.0.1:{first.port}", f"mqtt://127.0.0.1:{second.port}"))
            second.on_publish = lambda packet: None

            async def cut() -> None:
                await second.published(1)
                first.connack = ConnAck(False, 0)
                second.cut()
                await asyncio.Event().wait()

            with pytest.raises(Retry):
                await bench.during(cut())
            await bench.during(bench.settled(1))
            await until(lambda: first.publishes())
            assert [packet.payload for packet in first.publishes()] == [b"1"]

    play(main())
