"""One S7 controller, shared by all devices with its url: one connection, one question at a time, writes first.

A controller has few connections (an S7-1200 three for operator panels), so several devices take one. It is opened by
whoever needs it first. When it breaks, each device is told with ``Retry`` and comes back through its supervisor. Two
time-outs in a row close it: it may be half open, or the controller gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, TypeVar

from gateway.connectors.s7 import client as s7
from gateway.connectors.s7.client import Client, Timeout
from gateway.connectors.s7.config import Endpoint
from gateway.connectors.s7.messages import DeviceError, Extent
from gateway.connectors.tap import Tap
from gateway.connectors.turns import Turns, Urgency
from gateway.errors import Retry

T = TypeVar("T")

SILENCE: Final = 2
"""Time-outs in a row after which the connection is made anew."""

Connect = Callable[[Endpoint, int, float], Awaitable[Client]]


class Plc:
    """One controller. ``connect`` is for tests."""

    def __init__(self, endpoint: Endpoint, pdu: int, *, connect: Connect | None = None, tap: Tap | None = None) -> None:
        self.endpoint = endpoint
        self._pdu = pdu
        self._connect = connect or partial(s7.connect, tap=tap)
        self._client: Client | None = None
        self._connecting = asyncio.Lock()
        self._attempts = 0
        self._refusal: Retry | None = None
        self._turns = Turns()
        self._members = 0
        self._silence = 0

    @asynccontextmanager
    async def member(self, name: str, timeout: float) -> AsyncIterator[Member]:
        """Take part for the length of the block, connected at its begin. Raises Retry when the controller is away. The
        last one to leave closes the connection."""
        self._members += 1
        try:
            client = await self._reach(timeout)
            yield Member(self, client, name, timeout)
        finally:
            self._members -= 1
            if not self._members:
                self._hang_up()

    async def ask(self, member: Member, urgency: Urgency, question: Callable[[Client], Awaitable[T]]) -> T:
        """Put one question when it is the member's turn. Raises Timeout, DeviceError, Retry."""
        async with self._turns.turn(member.name, urgency):
            client = member.client
            if client is not self._client or not client.is_connected:
                # Lost in the meantime. A new one may agree to shorter messages: whoever asks must plan anew.
                raise Retry("the connection was lost")
            try:
                answer = await question(client)
            except Timeout as error:
                self._silence += 1
                if self._silence >= SILENCE:
                    self._hang_up()
                    raise Retry(f"{self.endpoint}: {error}, {SILENCE} times in a row") from None
                raise
            except DeviceError:
                self._silence = 0
                raise
            except Retry:
                self._hang_up()
                raise
            self._silence = 0
            return answer

    async def _reach(self, timeout: float) -> Client:
        """The connection, opened if it is not. Those who wait for one attempt share its outcome."""
        seen = self._attempts
        async with self._connecting:
            if self._client is not None:
                if self._client.is_connected:
                    return self._client
                self._hang_up()
            if self._attempts != seen and self._refusal is not None:
                raise self._refusal
            try:
                self._client = await self._connect(self.endpoint, self._pdu, timeout)
            except Retry as error:
                self._attempts += 1
                self._refusal = error
                raise
            self._silence = 0
            return self._client

    def _hang_up(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


class Member:
    """One device's part. All verbs raise Timeout, DeviceError or Retry."""

    __slots__ = ("client", "name", "_plc", "_timeout")

    def __init__(self, plc: Plc, client: Client, name: str, timeout: float) -> None:
        self._plc = plc
        self.client = client
        self.name = name
        self._timeout = timeout

    @property
    def pdu(self) -> int:
        """Bytes of a message that the controller agreed to."""
        return self.client.pdu

    async def read(self, extents: Sequence[Extent], urgency: Urgency) -> list[bytes | DeviceError]:
        """Several pieces that fit into one answer."""
        return await self._plc.ask(self, urgency, lambda client: client.read(extents, self._timeout))

    async def read_long(self, extent: Extent, urgency: Urgency) -> bytes:
        """One piece of any length."""
        return await self._plc.ask(self, urgency, lambda client: client.read_long(extent, self._timeout))

    async def write(self, extent: Extent, bit: int | None, content: bytes) -> None:
        """Write bytes or one bit, before all polls."""
        await self._plc.ask(self, Urgency.WRITE, lambda client: client.write(extent, bit, content, self._timeout))
