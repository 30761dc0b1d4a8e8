"""What uplink tests have in common: an outbox that is a list, a local broker that is a list, a scripted cloud."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from gateway.broker.port import Done, Subscriber
from gateway.clock import Clock
from gateway.message import Message, Properties
from gateway.metrics import Metrics
from gateway.mqtt.decode import Decoder
from gateway.mqtt.encode import encode
from gateway.mqtt.packets import (
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PingReq,
    PingResp,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
)
from gateway.outbound import Archive, Row, Timing
from gateway.uplinks.dead import DeadLetters
from gateway.uplinks.mqtt.config import Forward, MqttUplink
from gateway.uplinks.mqtt.uplink import MqttUplinkRunner
from uplinks.list_reader import ListReader as ListReader

T = TypeVar("T")

PATIENCE = 10.0
"""Seconds after which a test has failed."""


def row(seq: int, topic: str = "plant/t", payload: bytes | None = None, **fields: Any) -> Row:
    """A row with what matters in a test."""
    plain: dict[str, Any] = {"boot": 7, "qos": 1, "retain": False, "props": (), "time": 0.0, "expires": None}
    values = {**plain, "source": "device:boiler", **fields}
    return Row(seq=seq, topic=topic, payload=str(seq).encode() if payload is None else payload, **values)


class ListPublisher:
    """The contract of ``Publisher`` over a list; ``done`` is called by the test, or at once with ``auto``."""

    def __init__(self, auto: bool = True) -> None:
        self.messages: list[tuple[Message, Done | None]] = []
        self.auto = auto

    def publish(self, message: Message, done: Done | None = None) -> int:
        self.messages.append((message, done))
        if self.auto and done is not None:
            done(None)
        return 1

    def publish_batch(self, messages: Sequence[Message], done: Done | None = None) -> int:
        raise AssertionError("an uplink publishes one by one")

    def subscribe(self, pattern: str, subscriber: Subscriber, options: Any = None) -> bool:
        raise AssertionError("an uplink reads the outbox")

    def unsubscribe(self, pattern: str, subscriber: Subscriber) -> bool:
        raise AssertionError("an uplink reads the outbox")

    def retained(self, pattern: str) -> Iterable[Message]:
        raise AssertionError("an uplink reads the outbox")


class Cloud:
    """A cloud broker that does as it is told; it decodes strictly. ``connack`` answers CONNECT, ``on_publish`` has the
    reason of a PUBACK (None: no answer); without ``pong`` PINGREQ gets none."""

    def __init__(self, version: int = 5, context: ssl.SSLContext | None = None) -> None:
        self.version = version
        self.context = context
        self.connack: ConnAck | None = ConnAck(False, 0)
        self.on_publish: Callable[[Publish], int | None] = lambda packet: 0
        self.suback: Callable[[Subscribe], tuple[int, ...]] = lambda packet: tuple(f.qos for f in packet.filters)
        self.pong = True
        self.packets: list[Packet] = []
        self.raw = bytearray()
        self.connections = 0
        self.open = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Cloud:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        # A connection that is accepted when the server is already closed would be left open by asyncio.
        await asyncio.sleep(0.005)
        self._server.close()
        self.cut()
        await self._server.wait_closed()
        await until(lambda: self.open == 0)

    def cut(self) -> None:
        """Cut every connection without a word."""
        for writer in self._writers:
            writer.transport.abort()

    def pause(self) -> None:
        """Read nothing any more; the socket stays open and its buffers fill."""
        for writer in self._writers:
            writer.transport.pause_reading()  # type: ignore[attr-defined]

    def send(self, packet: Packet) -> None:
        """Send to the client that is connected."""
        (writer,) = self._writers
        writer.write(encode(packet, self.version))

    def send_raw(self, data: bytes) -> None:
        (writer,) = self._writers
        writer.write(data)

    def publishes(self) -> list[Publish]:
        return [packet for packet in self.packets if isinstance(packet, Publish)]

    async def published(self, count: int) -> None:
        """Wait until so many PUBLISHes have come."""
        await until(lambda: len(self.publishes()) >= count)

    def of(self, kind: type[T]) -> list[T]:
        return [packet for packet in self.packets if isinstance(packet, kind)]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        self._writers.add(writer)
        decoder = Decoder()
        try:
            while data := await reader.read(65536):
                self.raw += data
                decoder.feed(data)
                while (packet := decoder.next()) is not None:
                    self.packets.append(packet)
                    answer = self._answer(packet)
                    if answer is not None:
                        writer.write(encode(answer, self.version))
        except ConnectionError:
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()
            self.open -= 1

    def _answer(self, packet: Packet) -> Packet | None:
        match packet:
            case Connect():
                return self.connack
            case Publish() if packet.qos == 1:
                reason = self.on_publish(packet)
                return None if reason is None else PubAck(packet.packet_id, reason)
            case Publish() if packet.qos == 0:
                return None
            case PubRec() if packet.reason < 0x80:
                return PubRel(packet.packet_id)
            case Subscribe():
                return SubAck(packet.packet_id, self.suback(packet))
            case PingReq() if self.pong:
                return PingResp()
            case PubAck() | PubRec() | PubComp() | Disconnect() | PingReq():
                return None
            case _:
                raise AssertionError(f"unexpected {packet}")


class Bench:
    """An uplink with everything around it in lists."""

    def __init__(
        self,
        port: int,
        rows: Iterable[Row] = (),
        *,
        reader: Any = None,
        publisher: ListPublisher | None = None,
        clock: Clock | None = None,
        dead: DeadLetters | None = None,
        timing: Timing | None = None,
        archive: Archive | None = None,
        **settings: Any,
    ) -> None:
        given: dict[str, Any] = {
            "url": f"mqtt://127.0.0.1:{port}",
            "connect_timeout": 5.0,
            "forward": (Forward(filter="plant/#", to="site/plant/#"),),
            **settings,
        }
        self.config = MqttUplink(**given)
        assert list(self.config.problems()) == []
        self.reader = ListReader(rows) if reader is None else reader
        self.publisher = ListPublisher() if publisher is None else publisher
        self.metrics = Metrics()
        self.ups = 0
        self.uplink = MqttUplinkRunner(
            "cloud",
            self.config,
            self.reader,
            self.publisher,
            Clock() if clock is None else clock,
            self.metrics,
            "gw1",
            lambda: 0.5,
            pauses=(0.01, 0.02),
            dead=dead,
            timing=timing,
            archive=archive,
        )

    async def run(self) -> None:
        """One connection, to its end."""
        await self.uplink.run(self._up)

    def _up(self) -> None:
        self.ups += 1

    async def during(self, work: Awaitable[T]) -> T:
        """See ``during``."""
        return await during(self.run(), work)

    async def settled(self, seq: int) -> None:
        """Wait until the cursor has reached ``seq``."""
        await until(lambda: self.reader.cursor >= seq)


async def during(uplink: Awaitable[None], work: Awaitable[T]) -> T:
    """Do ``work`` while the uplink runs, then stop it. What ends the uplink earlier fails the test."""
    running = asyncio.ensure_future(uplink)
    doing = asyncio.ensure_future(work)
    try:
        await asyncio.wait({running, doing}, return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            running.result()
        return doing.result()
    finally:
        running.cancel()
        doing.cancel()
        await asyncio.wait({running, doing})


async def until(condition: Callable[[], Any], patience: float = PATIENCE) -> None:
    """Wait until it is true."""
    async with asyncio.timeout(patience):
        while not condition():  # noqa: ASYNC110 - the condition is anything, nobody signals it
            await asyncio.sleep(0.001)


def play(main: Coroutine[Any, Any, T]) -> T:
    """Run a test's coroutine; no task may be left when it ends."""

    async def guarded() -> T:
        result = await asyncio.wait_for(main, 3 * PATIENCE)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks left: {left}"
        return result

    return asyncio.run(guarded())


def user(props: Properties) -> list[tuple[str, str]]:
    """The user properties."""
    return [tuple(value) for identifier, value in props if identifier == 0x26]
