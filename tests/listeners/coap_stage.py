"""A CoAP listener in the test's own loop, and clients for it: aiocoap's, and bare datagrams."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiocoap
from aiocoap.numbers.codes import Code
from aiocoap.numbers.optionnumbers import OptionNumber
from aiocoap.optiontypes import OpaqueOption

from gateway.broker.access import Access
from gateway.broker.broker import Broker
from gateway.broker.port import Done, Subscriber
from gateway.clock import Clock
from gateway.config.coap_listener import CoapListener as Settings
from gateway.listeners.coap.listener import CoapListener
from gateway.message import Message
from gateway.mqtt.limits import Limits
from gateway.mqtt.server import MqttServer

PATIENCE = 5.0


class Keeper(Subscriber):
    """Takes everything, and says that it is safe when the test says so."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.waiting: list[Done] = []
        self.error: BaseException | None = None
        self.is_slow = False

    def deliver(self, message: Message, done: Done | None) -> bool:
        self.messages.append(message)
        if done is None:
            return False
        if self.is_slow:
            self.waiting.append(done)
        else:
            done(self.error)
        return True


class Bare:
    """A client that sends and receives single messages, and acknowledges nothing by itself."""

    def __init__(self, port: int) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.connect(("127.0.0.1", port))
        self.mid = 100

    def send(self, message: Any) -> None:
        self.sock.send(message.encode())

    def ask(self, code: int, path: str, token: bytes = b"t", mtype: int = 0, **options: Any) -> int:
        message = aiocoap.Message(code=Code(code), payload=options.pop("payload", b""), uri_path=tuple(path.split("/")))
        for name, value in options.items():
            setattr(message.opt, name, value)
        self.mid += 1
        message.mtype, message.mid, message.token = aiocoap.Type(mtype), self.mid, token
        self.send(message)
        return self.mid

    def empty(self, mtype: Any, mid: int) -> None:
        message = aiocoap.Message(code=aiocoap.EMPTY, payload=b"")
        message.mtype, message.mid, message.token = mtype, mid, b""
        self.send(message)

    async def next(self) -> Any:
        data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.sock, 2048), PATIENCE)
        return aiocoap.Message.decode(data)

    async def is_quiet(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.sock, 2048), seconds)
        except TimeoutError:
            return True
        return False


class Stage:
    """A listener that runs, with the broker behind it."""

    def __init__(self, listener: CoapListener, server: MqttServer, broker: Broker, client: Any) -> None:
        self.listener = listener
        self.service = listener.service
        self.server = server
        self.broker = broker
        self.client = client
        self.metrics = broker.metrics
        self.port = int(listener.bound[0].rpartition(":")[2])
        self.keeper = Keeper()
        broker.subscribe("#", self.keeper)
        self.bare: list[Bare] = []

    def request(self, code: Any, path: str, payload: bytes = b"", query: str = "", **options: Any) -> Any:
        message = aiocoap.Message(code=code, payload=payload, uri=f"coap://127.0.0.1:{self.port}/{path}")
        if query:
            message.opt.uri_query = tuple(query.split("&"))
        credentials = options.pop("credentials", None)
        if credentials is not None:
            message.opt.add_option(OpaqueOption(OptionNumber(65_000), credentials))
        for name, value in options.items():
            setattr(message.opt, name, value)
        return self.client.request(message)

    async def ask(self, code: Any, path: str, payload: bytes = b"", query: str = "", **options: Any) -> Any:
        async with asyncio.timeout(PATIENCE):
            return await self.request(code, path, payload, query, **options).response

    async def get(self, path: str, query: str = "", **options: Any) -> Any:
        return await self.ask(aiocoap.GET, path, b"", query, **options)

    async def put(self, path: str, payload: bytes, query: str = "", **options: Any) -> Any:
        return await self.ask(aiocoap.PUT, path, payload, query, **options)

    async def post(self, path: str, payload: bytes, query: str = "", **options: Any) -> Any:
        return await self.ask(aiocoap.POST, path, payload, query, **options)

    async def code(self, *arguments: Any, **options: Any) -> str:
        answer = await self.ask(*arguments, **options)
        return f"{answer.code >> 5}.{answer.code & 31:02}"

    def open(self) -> Bare:
        self.bare.append(Bare(self.port))
        return self.bare[-1]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.005)


@asynccontextmanager
async def stage(access: Access | None = None, *, ipv6: bool | None = None, **settings: Any) -> AsyncIterator[Stage]:
    broker = Broker()
    server = MqttServer(broker, access or Access(), Limits(), broker.metrics, lambda: "auto")
    listener = CoapListener("test", Settings(bind=settings.pop("bind", "127.0.0.1:0"), **settings), server, Clock())
    listener._ipv6 = ipv6
    up = asyncio.Event()
    task = asyncio.create_task(listener.run(up.set))
    waiting = asyncio.create_task(up.wait())
    await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if task.done():
        await task
    client = await aiocoap.Context.create_client_context(transports=["udp6"])
    it = Stage(listener, server, broker, client)
    try:
        yield it
    finally:
        for bare in it.bare:
            bare.sock.close()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await client.shutdown()
        await asyncio.sleep(0)
        assert not listener.service.watches
        assert listener.service.places.count == 0


def on_stage(play: Callable[[Stage], Awaitable[None]], access: Access | None = None, **settings: Any) -> None:
    async def main() -> None:
        async with stage(access, **settings) as it:
            await play(it)
        await asyncio.sleep(0)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks left behind: {left}"

    asyncio.run(main())
