"""The line to the cloud broker, on gmqtt: packets in, packets out, and how it ends. The only module that knows gmqtt.

gmqtt writes CONNECT, cuts the stream into packets and sends PINGREQ, on a connection that is opened here, so that
its bytes can be counted. PUBACKs are taken out of the stream before it (``cutter.py``): they are nearly all that
comes, and cost most. What it does with packets is not used: it counts a refused PUBACK as delivered, forgets or repeats
messages in flight by its own rules, and reconnects by itself. Instead a ``_Handler`` stands in for its package
handler, packets are read by the strict decoder of ``gateway.mqtt`` and written by its encoder, and a watchdog of our
own finds dead lines. An own client can replace gmqtt here and nowhere else.

Each private part of gmqtt that is touched has a test in ``tests/uplinks/test_gmqtt_faults.py``.

Does not reconnect, and does not know what a packet means.
"""

from __future__ import annotations

import asyncio
import logging
import math
import ssl
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import gmqtt
from gmqtt.mqtt.connection import MQTTConnection
from gmqtt.mqtt.protocol import MQTTProtocol

from gateway.errors import Malformed, Retry
from gateway.mqtt.decode import Decoder
from gateway.mqtt.encode import encode
from gateway.mqtt.packets import CONNACK, V5, V311, Disconnect, Packet
from gateway.mqtt.wire import MAX_VARINT, pack_varint
from gateway.uplinks.mqtt import dial, explain
from gateway.uplinks.mqtt.config import Endpoint, MqttUplink
from gateway.uplinks.mqtt.cutter import Cutter
from gateway.uplinks.mqtt.wire import Meter
from gateway.uplinks.profiles.pick import service_of
from gateway.uplinks.tls import client_context

MAX_RECEIVED: Final = 1 << 20
"""Largest packet the broker may send (version 5): what one of its messages may cost in memory."""

RECEIVE_MAXIMUM: Final = 64
"""Messages the broker is asked not to send more of without an answer (version 5)."""

SILENCE: Final = 1.5
"""Keep-alives without a byte until the line is dead, as a server counts it (section 3.1.2.10)."""

GOODBYE: Final = 1.0
"""Seconds to let DISCONNECT and the farewell of TLS leave before the socket is cut."""

_CONNECTION_LOST: Final = 0xE0
"""gmqtt reports the end of the connection as a DISCONNECT without a body."""

# Whatever gmqtt could log is said once, in ``Link.problem``.
logging.getLogger("gmqtt").setLevel(logging.CRITICAL + 1)


class Link:
    """One connection, used once: ``open``, ``welcomed``, ``write``, ``close``.

    on_packet  called with each packet of the broker but those; what it raises ends the link and comes out of ``check``
    on_acked   called with the packet identifiers of messages that have arrived; likewise
    on_lost    called once when the link ends, except by ``close``; ``problem`` says why, ``is_cut`` whether it was
               the broker that closed or reset the connection
    """

    def __init__(
        self,
        config: MqttUplink,
        endpoint: Endpoint,
        client_id: str,
        meter: Meter,
        on_packet: Callable[[Packet], None],
        on_acked: Callable[[Sequence[int]], None],
        on_lost: Callable[[], None],
    ) -> None:
        self.problem: str | None = None
        self.is_cut = False
        self.version = V5 if config.version == "5" else V311
        self._cutter = Cutter(self.version)
        self.endpoint = endpoint
        self._config = config
        # Bytes, because gmqtt counts the characters of a text and writes its bytes.
        self._client_id = client_id.encode()
        self._meter = meter
        self._on_packet = on_packet
        self._on_acked = on_acked
        self._on_lost = on_lost
        # Version 3 cannot tell the broker a limit, and a packet refused here would come again for ever.
        self._decoder = Decoder(self.version, MAX_RECEIVED if self.version == V5 else MAX_VARINT + 5)
        self._bug: BaseException | None = None
        self._client: Any = None
        self._connection: Any = None
        self._welcomed = False
        self._is_held = False
        self._out: list[bytes] = []
        self._watchdog: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        """Connect, send CONNECT, and wait until ``welcomed`` is called.

        Raises Retry with words on what failed and what may help.
        """
        config, (host, port, tls) = self._config, self.endpoint
        client = _Client(self, self._meter, self._client_id, clean_session=False, **self._connect_properties())
        client._package_handler = _Handler(self)
        if config.username is not None:
            client.set_auth_credentials(config.username, config.password)
        self._client = client
        keep_alive = math.ceil(config.keep_alive)
        try:
            async with asyncio.timeout(config.connect_timeout):
                context = await asyncio.to_thread(tls_context, config, port) if tls else None
                await client.connect(host, port, context, keep_alive, self.version, raise_exc=False)
        except TimeoutError:
            raise Retry(explain.timeout(self.endpoint, config.connect_timeout, self._connection is not None)) from None
        except (OSError, UnicodeError) as error:
            raise Retry(explain.failure(error, self.endpoint)) from error
        self.check()

    def welcomed(self, keep_alive: int) -> None:
        """The broker accepted the connection. ``keep_alive``: seconds it asks for; 0 leaves ours."""
        self._welcomed = True
        self._connection.keepalive = keep_alive or self._connection.keepalive
        self._watch()
        self._client._connack_received.set()

    def check(self) -> None:
        """Raise Retry when the link has ended, or the exception of ``on_packet`` that ended it."""
        if self._bug is not None:
            raise self._bug
        if self.problem is not None:
            raise Retry(self.problem)

    def write(self, *parts: bytes) -> None:
        """Send an encoded packet: one write to the socket for all that is said in one pass of the loop."""
        if not self._out:
            asyncio.get_running_loop().call_soon(self.flush)
        self._out += parts

    def flush(self) -> None:
        """Send it now; without it that is done when the loop comes round."""
        frames, self._out = self._out, []
        if frames and not self._connection.is_closing():
            self._connection.send_package(b"".join(frames))

    async def drained(self) -> None:
        """Wait while more waits for the socket than asyncio's high-water mark, or until the link has ended."""
        try:
            await self._connection._protocol._drain_helper()
        except ConnectionError:
            # The end is told by ``check``.
            return

    def hold_back(self) -> None:
        """Read nothing more from the socket, until ``go_on``; what was read already still comes, 256 KiB at most."""
        if self.problem is None:
            self._is_held = True
            # Each time: the stream reader of gmqtt may have let the transport go on.
            self._connection._transport.pause_reading()

    def go_on(self) -> None:
        """Read again."""
        if self._is_held and self.problem is None:
            self._is_held = False
            self._connection._transport.resume_reading()

    # Called by the handler.

    def opened(self, connection: Any) -> None:
        """The connection is there, CONNECT not sent yet."""
        self._connection = connection
        connection._protocol._read_loop_future.add_done_callback(self._reading_ended)

    def arrived(self, data: bytes) -> bytes:
        """Bytes from the socket; what of them is for gmqtt."""
        acked, rest = self._cutter.receive(data)
        if acked and self._welcomed and self.problem is None:
            self._connection._last_data_in = time.monotonic()
            try:
                self._on_acked(acked)
            except Exception as error:
                # As from gmqtt's reading task: ``check`` raises it.
                self._bug = error
                self.lose(explain.loss(error, self.endpoint, self._welcomed))
        return rest

    def received(self, first: int, body: bytes) -> None:
        """One packet as gmqtt cut it out. Nothing is taken after the end."""
        if self.problem is not None:
            return
        if first == _CONNECTION_LOST and not body and self._connection.is_closing():
            closed = self._connection._protocol.closed
            error = closed.exception() if closed.done() else None
            self.is_cut = not isinstance(error, TimeoutError)
            self.lose(explain.loss(error, self.endpoint, self._welcomed))
            return
        try:
            packet = self._decode(first, body)
        except Malformed as error:
            self.lose(f"{self.endpoint} sent what is not MQTT {self._config.version}: {error}")
            return
        self._on_packet(packet)

    def _decode(self, first: int, body: bytes) -> Packet:
        if first >> 4 == CONNACK and len(body) == 2 and 0 < body[1] < 0x80:
            # A broker of MQTT 3 refuses a CONNECT of version 5 in the form of its own version.
            self._decoder.version = V311
        self._decoder.feed(bytes((first,)) + pack_varint(len(body)) + body)
        packet = self._decoder.next()
        assert packet is not None, "gmqtt cuts whole packets"
        return packet

    # How it ends.

    def lose(self, why: str) -> None:
        """Cut the line and say why; only the first reason counts."""
        if self.problem is not None:
            return
        self.problem = why
        self._out.clear()
        self._connection._transport.abort()
        self._client._connack_received.set()
        self._on_lost()

    async def close(self) -> None:
        """Say goodbye and close; no task, timer or socket is left. Takes a moment at most, on a dead line too."""
        if self._watchdog is not None:
            self._watchdog.cancel()
        connection = self._connection
        if connection is None:
            return
        protocol, reading = connection._protocol, connection._protocol._read_loop_future
        connection._keep_connection_callback.cancel()
        try:
            if self.problem is None:
                self.problem = "closed"
                if self._welcomed:
                    self._out.append(encode(Disconnect(), self.version))
                    self.flush()
            connection._transport.close()
            await asyncio.wait({protocol.closed}, timeout=GOODBYE)
        finally:
            connection._transport.abort()
        await asyncio.wait({protocol.closed} if reading is None else {protocol.closed, reading}, timeout=GOODBYE)

    def _watch(self) -> None:
        """Look again when the line could be dead. gmqtt waits longer, and then for ever on a full socket buffer."""
        connection = self._connection
        left = connection._last_data_in + SILENCE * connection.keepalive - time.monotonic()
        if left <= 0:
            seconds = SILENCE * connection.keepalive
            self.lose(f"{self.endpoint} has been silent for {seconds:g} s; the line is taken for dead")
        else:
            self._watchdog = asyncio.get_running_loop().call_later(left, self._watch)

    def _reading_ended(self, task: asyncio.Task[None]) -> None:
        """gmqtt's reading task is over: end of stream, bytes that are no packet, or an exception of ``on_packet``."""
        if task.cancelled():
            return
        error = task.exception()
        if not isinstance(error, OSError):
            self._bug = error
        if self.problem is None:
            self.is_cut = error is None or isinstance(error, ConnectionError)
        self.lose(explain.loss(error, self.endpoint, self._welcomed))

    def _connect_properties(self) -> dict[str, int]:
        if self.version != V5:
            return {}
        return {
            "session_expiry_interval": math.ceil(self._config.session_expiry),
            "receive_maximum": RECEIVE_MAXIMUM,
            "maximum_packet_size": MAX_RECEIVED,
        }


class _Client(gmqtt.Client):  # type: ignore[misc]  # gmqtt has no types
    """gmqtt's client on a connection that ``dial`` has opened."""

    def __init__(self, link: Link, meter: Meter, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._link = link
        self._meter = meter

    async def _create_connection(
        self, host: str, port: int, ssl: ssl.SSLContext | None, clean_session: bool, keepalive: int
    ) -> Any:
        make = partial(_Protocol, self._link, connection_state=self._connection_state, id_generator=None)
        loop = asyncio.get_running_loop()
        sock, wire = await dial.connect(await dial.resolve(Endpoint(host, port, ssl is not None)), self._meter)
        try:
            name = host if ssl is not None else None
            transport, protocol = await loop.create_connection(make, sock=sock, ssl=ssl, server_hostname=name)
        except BaseException:
            sock.close()
            self._meter.end(wire)
            raise
        protocol.closed.add_done_callback(lambda _: self._meter.end(wire))
        return MQTTConnection(transport, protocol, clean_session, keepalive, package_handler=self._package_handler)


class _Protocol(MQTTProtocol):  # type: ignore[misc]
    """gmqtt's protocol behind the cutter."""

    def __init__(self, link: Link, **more: Any) -> None:
        super().__init__(**more)
        self._link = link

    def data_received(self, data: bytes) -> None:
        rest = self._link.arrived(data)
        if rest:
            super().data_received(rest)


class _Handler:
    """Stands in for gmqtt's MqttPackageHandler: the members that its Client and MQTTConnection use."""

    has_error = False
    id_generator = None

    def __init__(self, link: Link) -> None:
        self.current_connection: Any = None
        self._link = link

    def set_connection(self, connection: Any) -> None:
        self.current_connection = connection
        self._link.opened(connection)

    def reset_error_state(self) -> None:
        """Nothing is kept from one connection to the next."""

    def clear_topics_aliases(self) -> None:
        """No topic alias is offered."""

    def __call__(self, package: Any) -> None:
        self._link.received(package.cmd, package.data)


def tls_context(config: MqttUplink, port: int) -> ssl.SSLContext:
    """The TLS settings of an uplink; reads files. Raises OSError, which ssl.SSLError is too."""
    context = client_context(config)
    protocol = service_of(config).alpn(port)
    if protocol is not None:
        context.set_alpn_protocols([protocol])
    return context
