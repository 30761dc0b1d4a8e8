"""The WebSocket listener in one process: real sockets on free ports of 127.0.0.1."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import trustme
from websockets.frames import Close, Opcode

from gateway.config.listener import Tls
from gateway.config.listener import WebSocketListener as Settings
from gateway.listeners.websocket import WebSocketListener
from gateway.mqtt.packets import ConnAck, Connect, Disconnect, PingReq, PingResp
from listeners.stage import Stage, on_stage, trusting
from listeners.webclient import STREAM, WebClient, frame, pieces, request, web_client

BIND = "127.0.0.1:0"


def listener(**more: Any) -> Settings:
    return Settings(bind=BIND, **more)


def test_mqtt_goes_through() -> None:
    async def play(it: Stage) -> None:
        client = await web_client(it, "c")
        client.send(PingReq(), PingReq())
        assert [await client.next(), await client.next()] == [PingResp(), PingResp()]
        client.protocol.send_ping(b"are you there")
        assert (await client.event()).data == b"are you there"

    on_stage(play, listener(), kind=WebSocketListener)


def test_mqtt_goes_through_tls(tls: Tls, authority: trustme.CA) -> None:
    async def play(it: Stage) -> None:
        await web_client(it, "c")
        assert it.server.sessions["c"].username == "panel"

    context = trusting(authority, authority.issue_cert("panel", common_name="panel"))
    on_stage(play, listener(tls=tls), context, kind=WebSocketListener)


def test_a_foreign_page_is_refused_unless_it_is_listed() -> None:
    async def play(it: Stage) -> None:
        bad = await WebClient(await it.open(), it.port, "https://evil.example").event()
        assert bad.status_code == 403
        good = await WebClient(await it.open(), it.port, "https://panel.example").event()
        assert good.status_code == 101

    on_stage(play, listener(origins=("https://panel.example",)), kind=WebSocketListener)


def test_a_refused_client_reads_why_then_the_close() -> None:
    async def play(it: Stage) -> None:
        await web_client(it, "one")
        client = WebClient(await it.open(), it.port)
        await client.event()
        client.send(Connect("two", 5, True, 60))
        answer = await client.next()
        assert isinstance(answer, ConnAck)
        assert answer.reason == 0x97
        close = await client.event()
        assert close.opcode is Opcode.CLOSE
        assert Close.parse(close.data).code == 1000
        assert await client.event() is None

    on_stage(play, listener(), kind=WebSocketListener, max_sessions=1)


def test_a_stop_tells_clients_and_closes() -> None:
    async def play(it: Stage) -> None:
        client = await web_client(it, "c")
        it.server.shutdown()
        packet = await client.next()
        assert isinstance(packet, Disconnect)
        assert packet.reason == 0x8B
        assert (await client.event()).opcode is Opcode.CLOSE

    on_stage(play, listener(), kind=WebSocketListener)


def test_a_close_without_disconnect_sends_the_will_at_once() -> None:
    async def play(it: Stage) -> None:
        client = await web_client(it, "c")
        client.protocol.send_close(1000)
        assert (await client.event()).opcode is Opcode.CLOSE
        assert "c" not in it.server.sessions

    on_stage(play, listener(), kind=WebSocketListener)


def test_a_text_frame_ends_its_connection_and_no_other() -> None:
    async def play(it: Stage) -> None:
        good, bad = await web_client(it, "good"), await web_client(it, "bad")
        bad.protocol.send_text(b"hello")
        close = await bad.event()
        assert Close.parse(close.data).code == 1003
        assert it.counts["malformed"] == 1
        good.send(PingReq())
        assert await good.next() == PingResp()

    on_stage(play, listener(), kind=WebSocketListener)


def test_a_request_that_never_ends_has_its_time() -> None:
    async def play(it: Stage) -> None:
        slow = await it.plain()
        slow.writer.write(b"GET /mqtt HTTP/1.1\r\nX: ")
        assert await slow.is_over()
        assert it.counts["handshake_timeouts"] == 1

    on_stage(play, listener(handshake_timeout=0.1), kind=WebSocketListener)


@pytest.mark.parametrize("nonsense", [b"\x10\x0c\0\4MQTT\4\2\0\x3c\0\0", b"\0" * 64, b"\xff" * 70_000])
def test_nonsense_ends_its_connection_and_no_other(nonsense: bytes) -> None:
    async def play(it: Stage) -> None:
        good, bad = await web_client(it, "good"), await it.plain()
        bad.writer.write(nonsense)
        assert (await bad.read()).startswith(b"HTTP/1.1 400 ")
        assert await bad.is_over()
        broken = await web_client(it, "broken")
        broken.wire.writer.write(nonsense)
        assert await broken.next() is None
        good.send(PingReq())
        assert await good.next() == PingResp()

    on_stage(play, listener(), kind=WebSocketListener)


def test_many_answers_leave_in_one_frame() -> None:
    async def play(it: Stage) -> None:
        client = await web_client(it, "c")
        client.send(*[PingReq()] * 50)
        assert len((await client.event()).data) == 100

    on_stage(play, listener(), kind=WebSocketListener)


@pytest.mark.slow
def test_ten_thousand_mutated_sessions() -> None:
    import random

    chance = random.Random(7)
    good = request() + b"".join(frame(part) for part in pieces(STREAM, [10, 50, 200]))

    async def play(it: Stage) -> None:
        witness = await web_client(it, "witness")
        for number in range(10_000):
            data = bytearray(good)
            for _ in range(chance.randrange(1, 10)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            client = await it.plain()
            client.writer.write(data[: chance.randrange(len(data))] if number % 3 == 0 else data)
            client.writer.write_eof()
            try:
                while await client.read():
                    pass
            except ConnectionError:
                pass
            client.writer.close()
            it.clients.pop()
            if number % 500 == 0:
                witness.send(PingReq())
                assert await asyncio.wait_for(witness.next(), 5) == PingResp()
        assert "bugs" not in it.counts

    on_stage(play, listener(), kind=WebSocketListener)
