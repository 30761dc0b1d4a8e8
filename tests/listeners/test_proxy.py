"""The PROXY protocol, version 2: what the header says, what is no header, and from whom it is taken."""

from __future__ import annotations

import asyncio
import ipaddress
from pathlib import Path

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from gateway.broker.bans import Ban, Bans
from gateway.config.listener import MqttListener as Settings
from gateway.config.listener import Tls
from gateway.listeners.proxy import LOCAL, PROXY, SIGNATURE, TCP4, TCP6, UNIX, UNSPECIFIED, ProxyLayer
from gateway.mqtt.encode import encode
from gateway.mqtt.packets import ConnAck, Connect
from listeners.stage import Client, Stage, on_stage, trusting

CONNECT = encode(Connect("c", 5, True, 60), 5)


def header(command: int = PROXY, family: int = TCP4, addresses: bytes | None = None, tlvs: bytes = b"") -> bytes:
    if addresses is None:
        addresses = bytes([203, 0, 113, 9, 10, 0, 0, 1]) + (50_001).to_bytes(2, "big") + (1883).to_bytes(2, "big")
    rest = addresses + tlvs
    return SIGNATURE + bytes([command, family]) + len(rest).to_bytes(2, "big") + rest


V6 = ipaddress.IPv6Address("2001:db8::9").packed + bytes(16) + (7).to_bytes(2, "big") + bytes(2)
GOOD = [
    (header(), "203.0.113.9:50001"),
    (header(tlvs=b"\x20" + bytes(500)), "203.0.113.9:50001"),
    (header(family=TCP6, addresses=V6), "[2001:db8::9]:7"),
    (header(family=UNIX, addresses=bytes(216)), None),
    (header(family=UNSPECIFIED, addresses=b""), None),
    (header(LOCAL), None),
]
BAD = [
    b"PROXY TCP4 203.0.113.9 10.0.0.1 50001 1883\r\n",
    CONNECT,
    b"\r\n\r\n\0\r\nQUIT\r",
    header(command=0x11),
    header(command=0x22),
    header(family=0x12),
    header(addresses=bytes(11)),
    header(tlvs=bytes(5000)),
]


@pytest.mark.parametrize(("head", "address"), GOOD)
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_the_header_is_taken_off(head: bytes, address: str | None, step: int) -> None:
    layer = ProxyLayer()
    data = head + CONNECT
    out = b"".join(layer.receive(data[at : at + step]) for at in range(0, len(data), step))
    assert (out, layer.address, layer.ended) == (CONNECT, address, "")
    assert layer.send(b"x", last=True) == b"x"


@pytest.mark.parametrize("data", BAD)
@pytest.mark.parametrize("step", [1, 1000])
def test_anything_else_is_no_header(data: bytes, step: int) -> None:
    layer = ProxyLayer()
    out = b"".join(layer.receive(data[at : at + step]) for at in range(0, len(data), step))
    assert (out, layer.is_open, layer.is_fault) == (b"", False, True)


@given(st.binary(max_size=300))
def test_any_bytes_end_it_or_wait(data: bytes) -> None:
    layer = ProxyLayer()
    assert layer.receive(data) == b"" or data.startswith(SIGNATURE)


async def connected(client: Client, head: bytes) -> bool:
    client.writer.write(head + CONNECT)
    return isinstance(await client.next(), ConnAck)


def test_the_client_behind_the_proxy_is_the_peer() -> None:
    async def play(it: Stage) -> None:
        assert await connected(await it.open(), header())
        connection = it.server.sessions["c"].connection
        assert connection is not None
        assert connection.peer.address == "203.0.113.9:50001"
        assert not connection.peer.local, "only the proxy is on this machine"

    on_stage(play, Settings(bind="127.0.0.1:0", proxy=True), anonymous=True)


def test_a_ban_is_of_the_client_behind_the_proxy() -> None:
    async def play(it: Stage) -> None:
        it.server.access.bans = Bans([Ban("address", "127.0.0.1")])
        assert await connected(await it.open(), header())
        it.server.access.bans = Bans([Ban("address", "203.0.113.9")])
        client = await it.open()
        client.writer.write(header() + CONNECT)
        answer = await client.next()
        assert isinstance(answer, ConnAck)
        assert answer.reason == 0x8A

    on_stage(play, Settings(bind="127.0.0.1:0", proxy=True), anonymous=True)


def test_nonsense_closes() -> None:
    async def play(it: Stage) -> None:
        client = await it.open()
        client.writer.write(CONNECT)
        assert await client.is_over()
        assert it.counts["handshakes_failed"] == 1

    on_stage(play, Settings(bind="127.0.0.1:0", proxy=True), anonymous=True)


def test_others_than_the_proxy_are_refused() -> None:
    async def play(it: Stage) -> None:
        client = await it.open()
        assert await client.is_over()
        assert it.counts["proxy_refused"] == 1

    on_stage(play, Settings(bind="127.0.0.1:0", proxy=True, proxy_from=("192.0.2.0/24", "::1")), anonymous=True)


def test_a_silent_proxy_has_its_time() -> None:
    async def play(it: Stage) -> None:
        client = await it.open()
        client.writer.write(header()[:20])
        assert await client.is_over()
        assert it.counts["handshake_timeouts"] == 1

    on_stage(play, Settings(bind="127.0.0.1:0", proxy=True, handshake_timeout=0.1), anonymous=True)


def test_tls_comes_after_the_header(tls: Tls, authority: trustme.CA) -> None:
    async def play(it: Stage) -> None:
        client = await it.plain()
        client.writer.write(header())
        await asyncio.wait_for(client.writer.start_tls(context, server_hostname="127.0.0.1"), 5)
        assert (await client.connect("c")).reason == 0
        session = it.server.sessions["c"]
        assert session.connection is not None
        assert session.connection.peer.address == "203.0.113.9:50001"
        assert session.username == "pump"

    context = trusting(authority, authority.issue_cert("pump", common_name="pump"))
    on_stage(play, Settings(bind="127.0.0.1:0", proxy=True, tls=tls))


def test_a_unix_socket_needs_no_address_of_the_proxy(tmp_path: Path) -> None:
    async def play(it: Stage) -> None:
        assert await connected(await it.open(), header())

    on_stage(play, Settings(bind=f"unix:{tmp_path}/s", proxy=True), anonymous=True)
