"""The sockets around the MQTT server, in one process: real TCP on free ports of 127.0.0.1."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from gateway.broker.port import Done, Subscriber
from gateway.clock import Clock
from gateway.config.listener import MqttListener as Settings
from gateway.errors import Retry
from gateway.listeners.mqtt import MqttListener
from gateway.message import Message
from gateway.mqtt.decode import Decoder
from gateway.mqtt.encode import encode
from gateway.mqtt.packets import ConnAck, Connect, Disconnect, PingReq, PingResp, PubAck, Publish
from listeners.stage import Stage, on_stage, stage


def written() -> int:
    """Write calls of this process so far (proc(5), io). What asyncio sends is not among them."""
    return int(Path("/proc/self/io").read_text().partition("syscw: ")[2].split()[0])


def test_many_packets_in_one_pass_leave_in_one_write() -> None:
    async def play(it: Stage) -> None:
        client = await it.client("c")
        before = written()
        client.send(*[PingReq()] * 50)
        assert [await client.next() for _ in range(50)] == [PingResp()] * 50
        assert written() - before == 1, "fifty answers of two bytes, one write"

    on_stage(play)


def test_a_refused_client_reads_why_and_sees_a_clean_end() -> None:
    async def play(it: Stage) -> None:
        await it.client("one")
        client = await it.open()
        client.send(Connect("two", 5, True, 60), PingReq(), PingReq())
        answer = await client.next()
        assert isinstance(answer, ConnAck)
        assert answer.reason == 0x97
        assert await client.next() is None

    on_stage(play, max_sessions=1)


@pytest.mark.parametrize("nonsense", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"\0" * 64, b"\xff" * 64])
def test_nonsense_ends_its_connection_and_no_other(nonsense: bytes) -> None:
    async def play(it: Stage) -> None:
        good = await it.client("good")
        bad = await it.open()
        bad.writer.write(nonsense)
        assert await bad.next() is None
        worse = await it.client("worse")
        worse.writer.write(nonsense)
        answer = await worse.next()
        assert isinstance(answer, Disconnect)
        assert answer.reason in (0x81, 0x82)
        assert await worse.next() is None
        await good.ping()
        assert it.server.metrics.counts["malformed"] == 2

    on_stage(play)


def test_reading_stops_while_the_store_is_behind_and_goes_on_after() -> None:
    class Slow(Subscriber):
        waiting: list[Done] = []
        some = asyncio.Event()

        def deliver(self, message: Message, done: Done | None) -> bool:
            assert done is not None
            self.waiting.append(done)
            self.some.set()
            return True

    async def play(it: Stage) -> None:
        slow = Slow()
        it.server.broker.subscribe("#", slow)
        client = await it.open()
        client._decoder = Decoder(4)
        client.writer.write(encode(Connect("old", 4, True, 60), 4))
        assert isinstance(await client.next(), ConnAck)
        for packet_id in range(1, 2001):
            client.writer.write(encode(Publish("t", b"x" * 1000, 1, False, False, packet_id), 4))
            if packet_id % 100 == 0:
                await asyncio.sleep(0)
        (shell,) = it.listener.shells
        answered = 0
        while answered < 2000:
            await slow.some.wait()
            slow.some.clear()
            # What one read of the socket holds may go beyond the bound; what the kernel holds may not.
            assert len(slow.waiting) < 400
            batch, slow.waiting[:] = list(slow.waiting), []
            for done in batch:
                done(None)
            for _ in batch:
                assert isinstance(await client.next(), PubAck)
            answered += len(batch)

    on_stage(play, receive_maximum=50)


def test_a_taken_address_is_a_reason_to_try_again() -> None:
    async def play(it: Stage) -> None:
        again = MqttListener("again", Settings(bind=f"127.0.0.1:{it.port}"), it.server, Clock(), it.listener.pool)
        with pytest.raises(Retry, match="cannot bind 127.0.0.1"):
            await again.run(lambda: None)

    on_stage(play)


def test_a_stop_tells_clients_and_closes() -> None:
    async def main() -> None:
        async with stage() as it:
            client = await it.client("c")
            it.server.shutdown()
            said = await client.next()
            assert isinstance(said, Disconnect)
            assert said.reason == 0x8B
            assert await client.next() is None

    asyncio.run(main())


def test_who_never_reads_is_not_read_from_for_ever() -> None:
    small = 8 << 10

    async def play(it: Stage) -> None:
        other = await it.client("other")
        (first,) = it.listener.shells
        wire = socket.socket()
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, small)
        wire.connect(("127.0.0.1", it.port))
        deaf = await it.adopt(wire)
        await deaf.connect("deaf")
        (shell,) = it.listener.shells - {first}
        shell._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, small)
        pings = encode(PingReq(), 5) * 5000
        deaf.writer.transport.pause_reading()  # type: ignore[attr-defined]
        written = 0
        while not shell._is_paused:
            deaf.writer.write(pings)
            written += len(pings)
            await other.ping()
            assert written < 16 << 20
        connection = shell.connection
        assert connection is not None
        waiting = connection._out_bytes + shell.unsent
        assert waiting < 1 << 20, (
            "one read of the socket may go beyond max_output; what the client sends in all may not"
        )
        deaf.writer.transport.resume_reading()  # type: ignore[attr-defined]
        answers = 0
        while answers < written:
            answers += len(await deaf.read())

    on_stage(play, max_output=16 << 10)
