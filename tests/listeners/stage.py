"""A listener that runs in the test's own loop on a free port, and raw clients for it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trustme

from gateway.broker.access import Access
from gateway.broker.broker import Broker
from gateway.clock import Clock
from gateway.config.declare import File
from gateway.config.listener import MqttListener as MqttSettings
from gateway.config.listener import SocketListener as Settings
from gateway.config.listener import Tls
from gateway.listeners.base import SocketListener
from gateway.listeners.mqtt import MqttListener
from gateway.listeners.pool import Pool
from gateway.loop import EventLoop
from gateway.mqtt.decode import Decoder
from gateway.mqtt.encode import encode
from gateway.mqtt.limits import Limits
from gateway.mqtt.packets import ConnAck, Connect, Packet, PingReq, PingResp
from gateway.mqtt.server import MqttServer

PATIENCE = 5.0


class Client:
    """A raw client of MQTT 5."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._decoder = Decoder(5)

    def send(self, *packets: Packet) -> None:
        self.writer.write(b"".join(encode(packet, 5) for packet in packets))

    async def next(self) -> Packet | None:
        """The next packet; None at a clean end of the stream. A reset raises ConnectionResetError."""
        while (packet := self._decoder.next()) is None:
            data = await self.read()
            if not data:
                return None
            self._decoder.feed(data)
        return packet

    async def read(self) -> bytes:
        """What comes next; empty at the end of the stream."""
        return await asyncio.wait_for(self.reader.read(65_536), PATIENCE)

    async def is_over(self) -> bool:
        """Whether the stream ends, with or without a goodbye, before anything else comes."""
        try:
            return await self.read() == b""
        except (ConnectionError, ssl.SSLError):
            return True

    async def ping(self) -> None:
        self.send(PingReq())
        assert await self.next() == PingResp()

    async def connect(self, client_id: str) -> ConnAck:
        self.send(Connect(client_id, 5, True, 60))
        answer = await self.next()
        assert isinstance(answer, ConnAck)
        return answer


class Stage:
    """A listener that runs. ``context`` makes its clients speak TLS."""

    def __init__(self, listener: SocketListener[Any], context: ssl.SSLContext | None) -> None:
        self.listener = listener
        self.server = listener.server
        self.counts = listener.server.metrics.counts
        self.context = context
        self.clients: list[Client] = []
        self.path = listener.settings.address.path
        self.port = 0 if self.path else int(listener.bound[0].rpartition(":")[2])

    async def open(self, context: ssl.SSLContext | None = None) -> Client:
        """A connection, with TLS where the stage or the caller has a context; the handshake is done."""
        context = context or self.context
        if self.path:
            return self._keep(*await asyncio.open_unix_connection(self.path, ssl=context))
        return self._keep(*await asyncio.open_connection("127.0.0.1", self.port, ssl=context))

    async def plain(self) -> Client:
        """A TCP connection without TLS."""
        return self._keep(*await asyncio.open_connection("127.0.0.1", self.port))

    async def adopt(self, sock: socket.socket) -> Client:
        """A connection on a socket that the test has made."""
        return self._keep(*await asyncio.open_connection(sock=sock))

    async def client(self, client_id: str, context: ssl.SSLContext | None = None) -> Client:
        """A client that is connected."""
        client = await self.open(context)
        assert (await client.connect(client_id)).reason == 0
        return client

    async def counted(self, name: str, number: int = 1) -> None:
        """Wait until the counter says at least ``number``."""
        await self.until(lambda: self.counts.get(name, 0) >= number)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let the loop run until something is so."""
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0)

    def _keep(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Client:
        self.clients.append(Client(reader, writer))
        return self.clients[-1]


@asynccontextmanager
async def stage(
    settings: Settings | None = None,
    context: ssl.SSLContext | None = None,
    *,
    kind: type[SocketListener[Any]] = MqttListener,
    anonymous: bool = False,
    **limits: Any,
) -> AsyncIterator[Stage]:
    broker = Broker()
    server = MqttServer(broker, Access(anonymous), Limits(**limits), broker.metrics, lambda: "auto")
    pool = Pool(server.clock, Clock())
    pool.open(asyncio.get_running_loop())
    listener = kind("test", settings or MqttSettings(bind="127.0.0.1:0"), server, Clock(), pool)
    up = asyncio.Event()
    task = asyncio.create_task(listener.run(up.set))
    waiting = asyncio.create_task(up.wait())
    await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if task.done():
        pool.close()
        await task
    it = Stage(listener, context)
    try:
        yield it
    finally:
        for client in it.clients:
            client.writer.transport.abort()
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        pool.close()
        assert not listener.shells
        assert not listener.status()["handshakes"]


def on_stage(play: Callable[[Stage], Awaitable[None]], *arguments: Any, **options: Any) -> None:
    async def main() -> None:
        async with stage(*arguments, **options) as it:
            await play(it)

    with asyncio.Runner(loop_factory=EventLoop) as runner:
        runner.run(main())


def write_tls(folder: Path, authority: trustme.CA, **more: Any) -> Tls:
    """A certificate for this machine in ``folder``, as settings that ask clients for theirs."""
    write_pair(folder, authority)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    return Tls(
        cert=File(str(folder / "cert.pem")),
        key=File(str(folder / "key.pem")),
        client_ca=File(str(folder / "ca.pem")),
        **{"client_auth": "request", **more},
    )


def write_pair(folder: Path, authority: trustme.CA) -> trustme.LeafCert:
    """A new certificate and key over the ones in ``folder``."""
    leaf = authority.issue_cert("127.0.0.1", "localhost")
    leaf.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    leaf.private_key_pem.write_to_path(folder / "key.pem")
    (folder / "key.pem").chmod(0o600)
    return leaf


def trusting(authority: trustme.CA, leaf: trustme.LeafCert | None = None) -> ssl.SSLContext:
    """A client's context that trusts ``authority`` and shows ``leaf``."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if leaf is not None:
        leaf.configure_cert(context)
    return context
