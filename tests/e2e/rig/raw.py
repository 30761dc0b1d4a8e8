"""MQTT by hand: bytes out, bytes in, for what no client library would send."""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

CONNACK, DISCONNECT = 2, 14


def text(value: str) -> bytes:
    """A UTF-8 string as MQTT has it: two bytes of length, then the string."""
    data = value.encode()
    return struct.pack(">H", len(data)) + data


def length(number: int) -> bytes:
    """A variable byte integer (MQTT 5 section 1.5.5)."""
    out = bytearray()
    while True:
        number, low = divmod(number, 128)
        out.append(low | (0x80 if number else 0))
        if not number:
            return bytes(out)


def packet(first: int, body: bytes) -> bytes:
    """A whole packet with its fixed header."""
    return bytes([first]) + length(len(body)) + body


def connect(version: int, client_id: str) -> bytes:
    """A CONNECT with clean start and a keep-alive of 60 s."""
    properties = b"\0" if version == 5 else b""
    return packet(0x10, text("MQTT") + bytes([version, 2]) + struct.pack(">H", 60) + properties + text(client_id))


def publish(topic: str, payload: bytes, version: int, qos_bits: int = 0, packet_id: int | None = None) -> bytes:
    """A PUBLISH whose QoS bits may be wrong."""
    body = text(topic) + (b"" if packet_id is None else struct.pack(">H", packet_id))
    return packet(0x30 | qos_bits << 1, body + (b"\0" if version == 5 else b"") + payload)


class End(NamedTuple):
    """How a connection ended: types of the packets that came, and the reason of the DISCONNECT or CONNACK, if any."""

    packets: list[int]
    reason: int | None


class RawClient:
    """One TCP connection."""

    def __init__(self, port: int, timeout: float = 10.0) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout)

    def send(self, data: bytes) -> None:
        """Send; a connection that is already closed by the other side is no error here."""
        try:
            self._socket.sendall(data)
        except OSError:
            return

    def read_packet(self) -> tuple[int, bytes] | None:
        """Type and body of the next packet; None when the connection was closed."""
        head = self._read(1)
        if not head:
            return None
        size = shift = 0
        while True:
            byte = self._read(1)[0]
            size |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return head[0] >> 4, self._read(size)

    def until_closed(self) -> End:
        """Everything that comes until the other side closes. Raises TimeoutError when it does not."""
        packets, reason = [], None
        while (got := self.read_packet()) is not None:
            kind, body = got
            packets.append(kind)
            if kind == DISCONNECT and body:
                reason = body[0]
            elif kind == CONNACK and body[1] >= 0x80:
                reason = body[1]
        return End(packets, reason)

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            try:
                chunk = self._socket.recv(size - len(data))
            except ConnectionResetError:
                return b""
            if not chunk:
                return b""
            data += chunk
        return data

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
