"""A small blocking MQTT 5 client on our own codec, for ``gateway pub``, ``gateway sub`` and the demo.

One socket, one packet at a time, no threads. It is no uplink: it keeps nothing and does not reconnect.
"""

from __future__ import annotations

import math
import select
import socket
import ssl
import time
from types import TracebackType
from typing import Final, TypeVar
from urllib.parse import urlsplit

from gateway.errors import GatewayError, Malformed
from gateway.mqtt.decode import Decoder
from gateway.mqtt.encode import encode
from gateway.mqtt.packets import (
    ConnAck,
    Connect,
    Disconnect,
    Filter,
    Packet,
    PingReq,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
)
from gateway.mqtt.properties import SERVER_KEEP_ALIVE, get
from gateway.mqtt.reasons import reason_text

P = TypeVar("P")

KEEP_ALIVE: Final = 60
VERSION: Final = 5


class Unreachable(GatewayError):
    """The broker cannot be reached, or does not let us in."""


class MqttClient:
    """Connected when made; use as a context manager.

    url        ``mqtt://host:port`` or ``mqtts://host:port``
    ca         file with the certificates to trust, for mqtts; None uses the system's
    cert, key  client certificate
    username, password  as the broker wants them; None shows none
    timeout    seconds for the connection and for each answer
    """

    def __init__(
        self,
        url: str,
        client_id: str = "",
        *,
        ca: str | None = None,
        cert: str | None = None,
        key: str | None = None,
        username: str | None = None,
        password: bytes | None = None,
        timeout: float = 10.0,
    ) -> None:
        self._timeout = timeout
        self._decoder = Decoder(VERSION)
        self._next_id = 0
        self._messages: list[Publish] = []
        self._keep_alive = KEEP_ALIVE
        self._sent = time.monotonic()
        """When the last packet was sent: what comes in does not keep a connection alive."""
        self._asked: float | None = None
        """When PINGREQ was sent and nothing has come since."""
        self._socket = self._open(url, ca, cert, key)
        try:
            self._send(Connect(client_id, VERSION, True, KEEP_ALIVE, None, username, password))
            answer = self._expect(ConnAck)
            if answer.reason:
                raise Unreachable(f"{url} refused the connection: {reason_text(answer.reason)}")
            # That of the broker counts (MQTT-3.2.2-21). One that has none is sent PINGREQ all the same.
            self._keep_alive = get(answer.props, SERVER_KEEP_ALIVE) or KEEP_ALIVE
        except BaseException:
            self._socket.close()
            raise

    def _open(self, url: str, ca: str | None, cert: str | None, key: str | None) -> socket.socket:
        parts = urlsplit(url)
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
            raise Unreachable(f"{url!r} is no URL such as mqtt://127.0.0.1:1883")
        secure = parts.scheme == "mqtts"
        port = parts.port or (8883 if secure else 1883)
        try:
            plain = socket.create_connection((parts.hostname, port), self._timeout)
            if not secure:
                return plain
            context = ssl.create_default_context(cafile=ca)
            if cert:
                context.load_cert_chain(cert, key)
            return context.wrap_socket(plain, server_hostname=parts.hostname)
        except OSError as error:
            raise Unreachable(f"cannot connect to {url}: {error.strerror or error}") from None

    def __enter__(self) -> MqttClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._send(Disconnect())
        except Unreachable:
            pass  # leaving is all that was wanted
        self._socket.close()

    def publish(self, topic: str, payload: bytes, qos: int = 0, retain: bool = False) -> None:
        """Publish, and for QoS 1 and 2 wait until the broker has acknowledged.

        Raises GatewayError when the broker answers with an error.
        """
        packet_id = self._new_id() if qos else 0
        self._send(Publish(topic, payload, qos, retain, False, packet_id))
        if qos == 0:
            return
        answer: PubAck | PubRec = self._expect(PubAck) if qos == 1 else self._expect(PubRec)
        if answer.reason >= 0x80:
            raise GatewayError(f"{topic}: not accepted: {reason_text(answer.reason)}")
        if qos == 2:
            self._send(PubRel(packet_id))
            self._expect(PubComp)

    def subscribe(self, patterns: list[str], qos: int = 1) -> None:
        """Subscribe to all filters. Raises GatewayError naming the first that was refused."""
        self._send(Subscribe(self._new_id(), tuple(Filter(pattern, qos) for pattern in patterns)))
        answer = self._expect(SubAck)
        for pattern, reason in zip(patterns, answer.reasons, strict=True):
            if reason >= 0x80:
                raise GatewayError(f"{pattern}: subscription refused: {reason_text(reason)}")

    def receive(self, timeout: float | None = None) -> Publish | None:
        """The next message; None when ``timeout`` seconds pass without one (None waits for ever)."""
        until = math.inf if timeout is None else time.monotonic() + timeout
        while not self._messages:
            packet = self._next(until)
            if packet is None:
                return None
            self._take(packet)
        return self._messages.pop(0)

    def wait_for(self, source: int) -> None:
        """Return when there is something to read from this file descriptor; the connection lives on meanwhile."""
        both: list[int | socket.socket] = [source, self._socket]
        ready: list[int | socket.socket] = []
        while source not in ready:
            ready = select.select(both, [], [], self._ping_if_due())[0]
            # What comes is read: a socket that is closed with something unread takes back what was sent last.
            if self._socket in ready and (packet := self._read(0)) is not None:
                self._take(packet)

    def _take(self, packet: Packet) -> None:
        if isinstance(packet, Publish):
            if packet.qos == 1:
                self._send(PubAck(packet.packet_id))
            elif packet.qos == 2:
                self._send(PubRec(packet.packet_id))
            self._messages.append(packet)
        elif isinstance(packet, PubRel):
            self._send(PubComp(packet.packet_id))
        elif isinstance(packet, Disconnect):
            raise Unreachable(f"the broker ended the connection: {reason_text(packet.reason)}")

    def _expect(self, wanted: type[P]) -> P:
        until = time.monotonic() + self._timeout
        while (packet := self._next(until)) is not None:
            if isinstance(packet, wanted):
                return packet
            self._take(packet)
        raise Unreachable(f"no {wanted.__name__} within {self._timeout:g} s")

    def _next(self, until: float) -> Packet | None:
        """The next packet; None when there was none until then."""
        while (left := until - time.monotonic()) > 0:
            packet = self._read(min(left, self._ping_if_due()))
            if packet is not None:
                return packet
        return None

    def _ping_if_due(self) -> float:
        """PINGREQ when nothing was sent for half of the keep-alive; the seconds until the next one."""
        left = self._sent + self._keep_alive / 2 - time.monotonic()
        if left > 0:
            return left
        now = time.monotonic()
        if self._asked is None:
            self._asked = now
        elif now - self._asked >= max(self._keep_alive, self._timeout):
            raise Unreachable("the broker does not answer any more")
        self._send(PingReq())
        return self._keep_alive / 2

    def _read(self, wait: float) -> Packet | None:
        packet = self._decoder.next()
        if packet is not None:
            self._asked = None  # the caller may take its time with it, and the answer lies in the socket meanwhile
            return packet
        self._socket.settimeout(max(wait, 0.001))
        try:
            data = self._socket.recv(65_536)
        except TimeoutError:
            return None
        except OSError as error:
            raise Unreachable(f"connection lost: {error.strerror or error}") from None
        if not data:
            raise Unreachable("the broker closed the connection")
        self._asked = None
        self._decoder.feed(data)
        try:
            return self._decoder.next()
        except Malformed as error:
            raise Unreachable(f"the broker sent nonsense: {error}") from None

    def _new_id(self) -> int:
        self._next_id = self._next_id % 65_535 + 1
        return self._next_id

    def _send(self, packet: Packet) -> None:
        self._socket.settimeout(self._timeout)
        try:
            self._socket.sendall(encode(packet, VERSION))
        except OSError as error:
            raise Unreachable(f"connection lost: {error.strerror or error}") from None
        self._sent = time.monotonic()
