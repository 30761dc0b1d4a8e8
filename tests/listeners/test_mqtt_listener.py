"""The sockets around the MQTT server, in one process: real TCP and TLS on free ports of 127.0.0.1."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from gateway.broker.access import Access
from gateway.broker.broker import Broker
from gateway.broker.port import Done, Subscriber
from gateway.clock import Clock
from gateway.config.declare import File
from gateway.config.settings import MqttListener as Settings
from gateway.config.settings import Tls
from gateway.errors import Retry
from gateway.listeners.mqtt import MqttListener, Shell
from gateway.message import Message
from gateway.mqtt.decode import Decoder
from gateway.mqtt.encode import encode
from gateway.mqtt.limits import Limits
from gateway.mqtt.packets import ConnAck, Connect, Disconnect, Packet, PingReq, PingResp, PubAck, Publish
from gateway.mqtt.server import MqttServer


class Client:
    """A raw client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._decoder = Decoder(5)

    def send(self, *packets: Packet) -> None:
        self.writer.write(b"".join(encode(packet, 5) for packet in packets))

    async def next(self) -> Packet | None:
        """The next packet; None at a clean end of the stream. A reset raises ConnectionResetError."""
        while (packet := self._decoder.next()) is None:
            data = await asyncio.wait_for(self.reader.read(65_536), 5)
            if not data:
                return None
            self._decoder.feed(data)
        return packet


class Stage:
    """A listener that runs."""

    def __init__(self, listener: MqttListener, context: ssl.SSLContext | None) -> None:
        self.listener = listener
        self.server = listener.server
        self.context = context
        self.clients: list[Client] = []
        self.port = int(listener.bound[0].rpartition(":")[2])

    async def open(self) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port, ssl=self.context))
        self.clients.append(client)
        return client

    async def plain(self) -> Client:
        """A TCP connection without TLS."""
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        self.clients.append(client)
        return client

    async def client(self, client_id: str) -> Client:
        client = await self.open()
        client.send(Connect(client_id, 5, True, 60))
        answer = await client.next()
        assert isinstance(answer, ConnAck)
        assert answer.reason == 0
        return client


@asynccontextmanager
async def stage(tls: Tls | None = None, context: ssl.SSLContext | None = None, **limits: Any) -> AsyncIterator[Stage]:
    broker = Broker()
    server = MqttServer(broker, Access(), Limits(**limits), broker.metrics, lambda: "auto")
    listener = MqttListener("test", Settings(bind="127.0.0.1:0", tls=tls), server, Clock())
    up = asyncio.Event()
    task = asyncio.create_task(listener.run(up.set))
    await up.wait()
    it = Stage(listener, context)
    try:
        yield it
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        for client in it.clients:
            client.writer.transport.abort()
        await asyncio.sleep(0.01)
        assert not listener.shells


def on_stage(play: Callable[[Stage], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        async with stage(**options) as it:
            await play(it)

    asyncio.run(main())


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(tmp_path: Path, authority: trustme.CA) -> Tls:
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return Tls(
        cert=File(str(tmp_path / "cert.pem")),
        key=File(str(tmp_path / "key.pem")),
        client_ca=File(str(tmp_path / "ca.pem")),
        client_auth="request",
    )


def _trusting(authority: trustme.CA, common_name: str | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if common_name:
        authority.issue_cert(common_name, common_name=common_name).configure_cert(context)
    return context


def test_many_packets_in_one_pass_leave_in_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    flush = Shell.flush

    def counting(self: Shell) -> None:
        connection = self.connection
        assert connection is not None
        sizes.append(connection._out_bytes)
        flush(self)

    monkeypatch.setattr(Shell, "flush", counting)

    async def play(it: Stage) -> None:
        client = await it.client("c")
        sizes.clear()
        client.send(*[PingReq()] * 50)
        assert [await client.next() for _ in range(50)] == [PingResp()] * 50
        assert sizes == [100], "fifty answers of two bytes, one flush"

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
        good.send(PingReq())
        assert await good.next() == PingResp()
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
            assert shell.transport is not None
            batch, slow.waiting[:] = list(slow.waiting), []
            for done in batch:
                done(None)
            for _ in batch:
                assert isinstance(await client.next(), PubAck)
            answered += len(batch)

    on_stage(play, receive_maximum=50)


def test_a_client_certificate_gives_the_name(tls: Tls, authority: trustme.CA) -> None:
    async def play(it: Stage) -> None:
        await it.client("c")
        assert it.server.sessions["c"].username == "pump-7"

    on_stage(play, tls=tls, context=_trusting(authority, "pump-7"))


def test_a_stalled_handshake_delays_nobody(tls: Tls, authority: trustme.CA) -> None:
    async def play(it: Stage) -> None:
        stalled = await it.plain()
        stalled.writer.write(b"\x16\x03\x01")
        client = await asyncio.wait_for(it.client("c"), 5)
        client.send(PingReq())
        assert await client.next() == PingResp()

    on_stage(play, tls=tls, context=_trusting(authority))


def test_a_taken_address_is_a_reason_to_try_again() -> None:
    async def play(it: Stage) -> None:
        again = MqttListener("again", Settings(bind=f"127.0.0.1:{it.port}"), it.server, Clock())
        with pytest.raises(Retry, match="cannot bind 127.0.0.1"):
            await again.run(lambda: None)

    on_stage(play)


def test_a_stop_tells_clients_and_closes() -> None:
    async def main() -> None:
        async with stage() as it:
            client = await it.client("c")
            it.server.shutdown()
            assert await client.next() == Disconnect(0x8B)
            assert await client.next() is None

    asyncio.run(main())


def test_bad_certificates_are_found_by_check(tls: Tls, tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("no key")
    found = list(MqttListener.check(Settings(bind="127.0.0.1:0", tls=tls)))
    assert [key for key, _ in found] == ["tls.cert"]
