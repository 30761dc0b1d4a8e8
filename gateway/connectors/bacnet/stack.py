"""One UDP socket of this machine, shared by all BACnet devices that use it.

Questions are told apart by who was asked and an invoke id, so many devices are asked at a time; each device one
question at a time (``connector.py``). Nothing runs in the background: a cancelled question leaves nothing, and the
last device to leave closes the socket.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, cast

from gateway.connectors.bacnet import services, wire
from gateway.connectors.bacnet.services import Change, Device, DeviceError
from gateway.connectors.bacnet.wire import Message, Remote
from gateway.connectors.bacnet.words import message_words
from gateway.connectors.tap import Tap
from gateway.errors import GatewayError, Malformed, Retry

_UNRECOGNIZED: Final = 9
"""Reject reason: unrecognized service. We are asked nothing but to take changes of value."""

_UNKNOWN_SUBSCRIPTION: Final = b"\x91\x05\x91\x4f"
"""Error class services, code unknown-subscription: so the device forgets it."""


class Timeout(GatewayError):
    """The device did not answer in time. What it was asked to write may have been written."""


class Stack(asyncio.DatagramProtocol):
    """One socket; opened by the first who joins.

    local  address and port; port 0 is a free one
    """

    def __init__(self, local: tuple[str, int], tap: Tap | None = None) -> None:
        self._tap = tap or Tap()
        self.local = local
        self._members = 0
        self._opening = asyncio.Lock()
        self._transport: asyncio.DatagramTransport | None = None
        self._number = 0
        self._process = 0
        self._waiting: dict[tuple[Remote, int], asyncio.Future[Message]] = {}
        self._subscribers: dict[int, tuple[Remote, Callable[[Change], None]]] = {}
        self._looking: list[Callable[[Remote, Device], None]] = []
        self.malformed = 0

    @asynccontextmanager
    async def joined(self) -> AsyncIterator[None]:
        """Use the socket for the length of the block. Raises Retry when the port cannot be had."""
        self._members += 1
        try:
            async with self._opening:
                if self._transport is None:
                    await self._open()
            yield
        finally:
            self._members -= 1
            if not self._members and self._transport is not None:
                self._transport.close()
                self._transport = None

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_datagram_endpoint(lambda: self, local_addr=self.local, allow_broadcast=True)
        except OSError as error:
            text = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
            raise Retry(f"cannot use {self.local[0]}:{self.local[1]} of this machine: {text}") from None
        except asyncio.CancelledError:
            self._transport = None  # asyncio has closed it
            raise

    async def ask(self, remote: Remote, service: int, body: bytes, timeout: float, retries: int = 0) -> Message:
        """Put one question, repeated ``retries`` times. Raises Timeout, DeviceError, Retry when the socket is gone."""
        number = self._free(remote)
        waiter: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[remote, number] = waiter
        message = Message(wire.REQUEST, number, service, body)
        try:
            for _ in range(retries + 1):
                self._send(remote, message)
                done, _ = await asyncio.wait([waiter], timeout=timeout)
                if done:
                    return _checked(waiter.result(), service)
            raise Timeout(f"no answer within {timeout:g} s" + (f", asked {retries + 1} times" if retries else ""))
        finally:
            del self._waiting[remote, number]

    def _free(self, remote: Remote) -> int:
        for _ in range(256):
            self._number = (self._number + 1) % 256
            if (remote, self._number) not in self._waiting:
                return self._number
        raise Retry(f"{remote} has 256 questions to answer")

    def tell(self, remote: Remote, service: int, body: bytes) -> None:
        """Put a question whose answer does not matter: at the end of a connection."""
        if self._transport is not None:
            self._send(remote, Message(wire.REQUEST, self._free(remote), service, body))

    async def find(
        self, remote: Remote, instance: int, is_broadcast: bool, timeout: float, retries: int = 0
    ) -> tuple[Remote, Device]:
        """Where the device with this number is; asked as often as ``ask`` does. Raises Timeout, Retry."""
        found: asyncio.Future[tuple[Remote, Device]] = asyncio.get_running_loop().create_future()

        def look(source: Remote, device: Device) -> None:
            if device.instance == instance and not found.done():
                found.set_result((source, device))

        self._looking.append(look)
        try:
            for _ in range(retries + 1):
                self._who_is(remote, is_broadcast, instance, instance)
                done, _ = await asyncio.wait([found], timeout=timeout)
                if done:
                    return found.result()
            raise Timeout(f"no device {instance} says that it is there")
        finally:
            self._looking.remove(look)

    def look_for(self, remote: Remote, look: Callable[[Remote, Device], None], *, is_broadcast: bool) -> None:
        """Ask who is there; ``look`` is called with each answer until it is taken out of the list with ``stop``."""
        self._looking.append(look)
        self._who_is(remote, is_broadcast)

    def _who_is(self, remote: Remote, is_broadcast: bool, low: int | None = None, high: int | None = None) -> None:
        message = Message(wire.UNCONFIRMED, -1, services.WHO_IS, services.who_is(low, high))
        self._send(remote, message, is_broadcast=is_broadcast)

    def stop(self, look: Callable[[Remote, Device], None]) -> None:
        """Call ``look`` no more."""
        self._looking.remove(look)

    def subscriber(self, remote: Remote, changed: Callable[[Change], None]) -> int:
        """A process id for a subscription; ``changed`` gets what the device tells under it."""
        self._process = self._process % 0xFFFF + 1
        self._subscribers[self._process] = (remote, changed)
        return self._process

    def forget(self, process: int) -> None:
        """The subscription is over."""
        self._subscribers.pop(process, None)

    def _send(self, remote: Remote, message: Message, *, is_broadcast: bool = False) -> None:
        if self._transport is None:
            raise Retry("not connected")
        datagram = wire.datagram(message, remote, is_broadcast=is_broadcast)
        if self._tap.on:
            self._tap.tell(">", datagram, f"{remote}: {message_words(message)}")
        self._transport.sendto(datagram, (remote.host, remote.port))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # uvloop's is none by its class

    def connection_lost(self, exc: Exception | None) -> None:
        for waiter in self._waiting.values():
            if not waiter.done():
                waiter.set_exception(Retry("the socket was closed"))

    def error_received(self, exc: Exception) -> None:
        """The net says that a datagram could not be delivered, and not which one: its question times out."""

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        try:
            heard = wire.parse(data, addr[0], addr[1])
            if self._tap.on:
                words = "a message of routers" if heard is None else message_words(heard[1])
                self._tap.tell("<", data, f"{heard[0] if heard else addr[0]}: {words}")
            if heard is not None:
                self._take(*heard)
        except Malformed as error:
            if self._tap.on:
                self._tap.tell("!", data, f"{addr[0]}:{addr[1]}: {error}")
            # Anybody can send a datagram here: it is counted, and whoever waits goes on waiting.
            self.malformed += 1

    def _take(self, remote: Remote, message: Message) -> None:
        if message.kind == wire.UNCONFIRMED:
            if message.service == services.I_AM and self._looking:
                device = services.parse_i_am(message.body)
                for look in list(self._looking):
                    look(remote, device)
            elif message.service == services.UNCONFIRMED_COV:
                self._changed(remote, services.parse_change(message.body))
        elif message.kind == wire.REQUEST:
            self._asked(remote, message)
        else:
            waiter = self._waiting.get((remote, message.number))
            if waiter is not None and not waiter.done():
                waiter.set_result(message)

    def _asked(self, remote: Remote, message: Message) -> None:
        if message.service != services.CONFIRMED_COV:
            self._send(remote, Message(wire.REJECT, message.number, _UNRECOGNIZED))
        elif self._changed(remote, services.parse_change(message.body)):
            self._send(remote, Message(wire.SIMPLE_ACK, message.number, message.service))
        else:
            self._send(remote, Message(wire.ERROR, message.number, message.service, _UNKNOWN_SUBSCRIPTION))

    def _changed(self, remote: Remote, change: Change) -> bool:
        source, changed = self._subscribers.get(change.process, (None, None))
        if changed is None or source != remote:
            return False
        changed(change)
        return True


def _checked(message: Message, service: int) -> Message:
    if message.kind == wire.REJECT:
        raise services.rejected(message.service)
    if message.kind == wire.ABORT:
        raise services.aborted(message.service)
    if message.kind not in (wire.SIMPLE_ACK, wire.COMPLEX_ACK, wire.ERROR) or message.service != service:
        raise DeviceError("nonsense", "an answer to another question")
    if message.kind == wire.ERROR:
        raise services.parse_error(message.body)
    return message
