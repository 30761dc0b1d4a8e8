"""One connection to an S7 controller: asyncio around ``frames`` and ``messages``.

python-snap7's own clients wait in ``recv`` or lose their place in the stream when they are cancelled; its protocol
class does no I/O, so that is what is used. An answer is known by the number of its question: one that comes late is
dropped, and a cancelled question leaves the connection in order.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import cast

from gateway.connectors.s7 import frames, messages
from gateway.connectors.s7.config import Endpoint
from gateway.connectors.s7.messages import Answer, DeviceError, Extent, Questions
from gateway.connectors.s7.planner import most_bytes, most_written
from gateway.connectors.s7.words import frame_words
from gateway.connectors.tap import Tap
from gateway.errors import GatewayError, Malformed, Retry


class Timeout(GatewayError):
    """The controller did not answer in time. What it was asked to write may have been written."""


async def connect(endpoint: Endpoint, pdu: int, timeout: float, tap: Tap | None = None) -> Client:
    """A connected client. Raises Retry with the reason when no connection is agreed within ``timeout`` seconds."""
    client = Client(endpoint, tap)
    is_open = False
    try:
        async with asyncio.timeout(timeout):
            await asyncio.get_running_loop().create_connection(lambda: client, endpoint.host, endpoint.port)
            await client.agree(pdu)
        is_open = True
    except TimeoutError:
        raise Retry(f"{endpoint} did not accept a connection within {timeout:g} s") from None
    except OSError as error:
        text = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
        raise Retry(f"cannot connect to {endpoint}: {text}") from None
    except DeviceError as error:
        raise Retry(f"cannot connect to {endpoint}: {error}") from None
    finally:
        if not is_open:
            client.close()
    return client


class Client(asyncio.Protocol):
    """One connection; made by ``connect``. Takes one question at a time. ``close`` it in ``finally``.

    pdu  bytes of a message that were agreed
    """

    def __init__(self, endpoint: Endpoint, tap: Tap | None = None) -> None:
        self._tap = tap or Tap()
        self.pdu = 0
        self._endpoint = endpoint
        self._frames = frames.Frames()
        self._questions = Questions()
        self._transport: asyncio.Transport | None = None
        self._confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting: tuple[int, asyncio.Future[Answer]] | None = None
        self._end: Retry | None = None

    @property
    def is_connected(self) -> bool:
        """Whether the connection still stands, as far as this side knows."""
        return self._transport is not None and self._end is None

    async def agree(self, pdu: int) -> None:
        """The two handshakes: transport, then length of messages. Raises Retry, DeviceError."""
        self._send(frames.connect_request(self._endpoint.local_tsap, self._endpoint.remote_tsap))
        await self._confirmed
        self.pdu = messages.agreed(await self._answer(self._questions.setup(pdu)))

    async def read(self, extents: Sequence[Extent], timeout: float) -> list[bytes | DeviceError]:
        """Several pieces in one request; they must fit. Raises Timeout, DeviceError, Retry."""
        answer = await self._ask(self._questions.read(extents), timeout)
        try:
            return messages.contents(answer, extents)
        except Malformed as error:
            raise self._broken(str(error)) from None

    async def read_long(self, extent: Extent, timeout: float) -> bytes:
        """One piece in as many requests as it takes. Raises Timeout, DeviceError, Retry."""
        found = b""
        while len(found) < extent.size:
            size = min(extent.size - len(found), most_bytes(self.pdu))
            part = extent._replace(byte=extent.byte + len(found), size=size)
            content = (await self.read([part], timeout))[0]
            if isinstance(content, DeviceError):
                raise content
            found += content
        return found

    async def write(self, extent: Extent, bit: int | None, content: bytes, timeout: float) -> None:
        """Write ``content`` from the begin of ``extent`` on. Raises Timeout, DeviceError, Retry."""
        step = most_written(self.pdu)
        for at in range(0, len(content), step):
            question = self._questions.write(extent.area, extent.block, extent.byte + at, bit, content[at : at + step])
            answer = await self._ask(question, timeout)
            try:
                messages.check_written(answer)
            except Malformed as error:
                raise self._broken(str(error)) from None

    async def ask_all(self, question: bytes, timeout: float, most: int = 64) -> list[Answer]:
        """Put a question whose answer may come in several parts, at most ``most``. Raises Timeout, Retry."""
        parts = [await self._ask(question, timeout)]
        while len(parts) < most and (more := self._questions.more(parts[-1])) is not None:
            parts.append(await self._ask(more, timeout))
        return parts

    @property
    def questions(self) -> Questions:
        """What makes questions for ``ask_all``."""
        return self._questions

    async def _ask(self, question: bytes, timeout: float) -> Answer:
        try:
            async with asyncio.timeout(timeout):
                return await self._answer(question)
        except TimeoutError:
            if self._tap.on:
                self._tap.tell("!", b"", f"no answer within {timeout:g} s")
            raise Timeout(f"no answer within {timeout:g} s") from None

    async def _answer(self, question: bytes) -> Answer:
        self._send(frames.data(question))
        waiter: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting = (messages.number_of(question), waiter)
        try:
            return await waiter
        finally:
            self._waiting = None

    def _send(self, frame: bytes) -> None:
        if self._end is not None or self._transport is None:
            raise self._end or Retry("not connected")
        if self._tap.on:
            self._tap.tell(">", frame, frame_words(frame))
        self._transport.write(frame)

    def close(self) -> None:
        """Close the connection; a running question ends with Retry."""
        self._fail("connection closed")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"{self._endpoint} closed the connection" + (f": {exc}" if exc else ""))

    def data_received(self, data: bytes) -> None:
        if self._tap.on:
            self._tap.tell("<", data, frame_words(data))
        try:
            for tpdu in self._frames.feed(data):
                self._take(*frames.parse(tpdu))
        except Malformed as error:
            self._broken(str(error))

    def _take(self, code: int, body: bytes) -> None:
        if code == frames.CONFIRM:
            if not self._confirmed.done():
                self._confirmed.set_result(None)
        elif code == frames.DATA:
            answer = messages.parse(body)
            if self._waiting is not None and self._waiting[0] == answer.number and not self._waiting[1].done():
                self._waiting[1].set_result(answer)
        elif code == frames.DISCONNECT:
            self._fail(f"{self._endpoint} refuses: wrong rack or slot, or no connection is free")
        else:
            raise Malformed(f"transport message 0x{code:02x} was not expected")

    def _broken(self, text: str) -> Retry:
        self._fail(f"{self._endpoint}: {text}")
        assert self._end is not None
        return self._end

    def _fail(self, text: str) -> None:
        if self._end is None:
            self._end = Retry(text)
        for waiter in (self._confirmed, self._waiting[1] if self._waiting else None):
            if waiter is not None and not waiter.done():
                waiter.set_exception(self._end)
        if self._confirmed.done() and not self._confirmed.cancelled():
            self._confirmed.exception()  # nobody may be waiting any more
        if self._transport is not None:
            self._transport.abort()
