"""One connection of the edge node to its broker: MQTT 3.1.1, clean session, with a will; data leaves with QoS 0.

With QoS 0 nobody answers. What says that the broker has read what was sent is the answer to a PINGREQ behind it: a
server handles the packets of a connection in order, and answers are in the order of the questions. So each ping
may carry a ``mark``, which comes back with its PINGRESP.

Does not reconnect, and does not know Sparkplug.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from gateway.errors import Malformed, Retry
from gateway.mqtt.decode import Decoder
from gateway.mqtt.encode import encode
from gateway.mqtt.packets import (
    V311,
    ConnAck,
    Connect,
    Disconnect,
    Filter,
    Packet,
    PingReq,
    PingResp,
    PubAck,
    Publish,
    SubAck,
    Subscribe,
    Will,
)
from gateway.uplinks.mqtt import explain
from gateway.uplinks.sparkplug.config import SparkplugUplink
from gateway.uplinks.tls import client_context

MAX_RECEIVED: Final = 1 << 20
"""Largest packet the broker may send: commands and states are small."""

SILENCE: Final = 1.5
"""Keep-alives without a byte until the line is dead, as a server counts it."""

GOODBYE: Final = 1.0
"""Seconds to let the last words leave before the socket is cut."""


class Line(asyncio.Protocol):
    """One connection, used once: ``open``, ``subscribe``, ``publish`` and ``ping``, ``close``.

    will        gives the will of CONNECT; asked once the broker can be reached, so that no attempt without a CONNECT
                uses up a number
    on_message  called with each PUBLISH of the broker
    on_pong     called with the mark of a ping when its answer has come
    on_lost     called once when the connection ends, except by ``close``; ``check`` raises why
    """

    def __init__(
        self,
        config: SparkplugUplink,
        client_id: str,
        will: Callable[[], Awaitable[Will]],
        on_message: Callable[[Publish], None],
        on_pong: Callable[[int], None],
        on_lost: Callable[[], None],
    ) -> None:
        self.problem: str | None = None
        self.bytes = self.received = 0
        self._config = config
        self._client_id = client_id
        self._will = will
        self._on_message = on_message
        self._on_pong = on_pong
        self._on_lost = on_lost
        self._decoder = Decoder(V311, MAX_RECEIVED)
        self._pings: deque[int | None] = deque()
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._answer: asyncio.Future[Packet | None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._heard = self._spoke = self._loop.time()
        self._welcomed = False

    async def open(self) -> None:
        """Connect, and wait for the broker's welcome. Raises Retry with what failed and what may help."""
        config, at = self._config, self._config.endpoint
        password = None if config.password is None else config.password.encode()
        keep_alive = math.ceil(config.keep_alive)
        try:
            async with asyncio.timeout(config.connect_timeout):
                context = await asyncio.to_thread(client_context, config) if at.tls else None
                await self._loop.create_connection(lambda: self, at.host, at.port, ssl=context)
                will = await self._will()
                connect = Connect(self._client_id, V311, True, keep_alive, will, config.username, password)
                welcome = await self._ask(connect)
        except TimeoutError:
            raise Retry(explain.timeout(at, config.connect_timeout, self._transport is not None)) from None
        except (OSError, UnicodeError) as error:
            raise Retry(explain.failure(error, at)) from error
        self.check()
        if not isinstance(welcome, ConnAck):
            raise Retry(f"{at} answered CONNECT with {type(welcome).__name__}")
        if welcome.reason:
            raise Retry(explain.connack(welcome.reason, "3.1.1"))
        self._welcomed = True
        self._watch()

    async def subscribe(self, patterns: Sequence[str]) -> None:
        """Subscribe with QoS 1. Raises Retry when the broker refuses one, or does not answer."""
        try:
            async with asyncio.timeout(self._config.connect_timeout):
                answer = await self._ask(Subscribe(1, tuple(Filter(pattern, 1) for pattern in patterns)))
        except TimeoutError:
            raise Retry(f"the broker did not answer SUBSCRIBE within {self._config.connect_timeout:g} s") from None
        self.check()
        codes = answer.reasons if isinstance(answer, SubAck) else ()
        for pattern, code in zip(patterns, codes, strict=False):
            if code >= 0x80:
                raise Retry(f"the broker refused the subscription to {pattern!r}; check the broker's access rules")
        if len(codes) != len(patterns):
            raise Retry("the broker did not answer every subscription")

    def publish(self, topic: str, payload: bytes) -> int:
        """Send with QoS 0; the bytes it takes. Raises ValueError when it cannot be written."""
        return self._write(Publish(topic, payload))

    def ping(self, mark: int | None = None) -> None:
        """Ask for an answer. ``on_pong`` is called with the mark when it comes, unless it is None."""
        self._pings.append(mark)
        self._write(PingReq())

    @property
    def asking(self) -> bool:
        """Whether a ping with a mark waits for its answer."""
        return any(mark is not None for mark in self._pings)

    def check(self) -> None:
        """Raise Retry when the connection has ended."""
        if self.problem is not None:
            raise Retry(self.problem)

    async def close(self) -> None:
        """Say goodbye and close; no task, timer or socket is left. Takes a moment at most."""
        if self._timer is not None:
            self._timer.cancel()
        transport = self._transport
        if transport is None:
            return
        if self.problem is None:
            if self._welcomed:
                self._write(Disconnect())
            self.problem = "closed"
        transport.close()
        try:
            await asyncio.wait({self._closed}, timeout=GOODBYE)
        finally:
            transport.abort()
        await asyncio.wait({self._closed}, timeout=GOODBYE)

    async def _ask(self, packet: Packet) -> Packet | None:
        self._answer = self._loop.create_future()
        self._write(packet)
        try:
            return await self._answer
        finally:
            self._answer = None

    def _write(self, packet: Packet) -> int:
        frame = encode(packet, V311)
        transport = self._transport
        if transport is not None and not transport.is_closing():
            transport.write(frame)
            self._spoke = self._loop.time()
            self.bytes += len(frame)
        return len(frame)

    # Called by the loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._heard = self._loop.time()
        self.received += len(data)
        self._decoder.feed(data)
        while self.problem is None:
            try:
                packet = self._decoder.next()
            except Malformed as error:
                self._lose(f"{self._config.endpoint} sent what is not MQTT 3.1.1: {error}")
                return
            if packet is None:
                return
            self._take(packet)

    def _take(self, packet: Packet) -> None:
        match packet:
            case Publish():
                if packet.qos:
                    # The session is clean: what we do not answer would not come again either.
                    self._write(PubAck(packet.packet_id))
                self._on_message(packet)
            case PingResp() if self._pings:
                mark = self._pings.popleft()
                if mark is not None:
                    self._on_pong(mark)
            case ConnAck() | SubAck() if self._answer is not None and not self._answer.done():
                self._answer.set_result(packet)
            case _:
                self._lose(f"{self._config.endpoint} sent {type(packet).__name__}, which nobody asked for")

    def connection_lost(self, error: Exception | None) -> None:
        if not self._closed.done():
            self._closed.set_result(None)
        self._lose(explain.loss(error, self._config.endpoint, self._welcomed))

    def _lose(self, why: str) -> None:
        if self.problem is not None:
            return
        self.problem = why
        if self._transport is not None:
            self._transport.abort()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(None)
        self._on_lost()

    def _watch(self) -> None:
        """Ping when nothing was said for most of a keep-alive; give up when nothing was heard for longer."""
        now, keep_alive = self._loop.time(), self._config.keep_alive
        if now - self._heard >= SILENCE * keep_alive:
            self._lose(
                f"{self._config.endpoint} has been silent for {SILENCE * keep_alive:g} s; the line is taken for dead"
            )
            return
        if min(now - self._spoke, now - self._heard) >= keep_alive / 2 or now - self._heard >= keep_alive / 2:
            self.ping()
        self._timer = self._loop.call_later(keep_alive / 4, self._watch)
