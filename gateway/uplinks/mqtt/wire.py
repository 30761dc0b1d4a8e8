"""Bytes on the wire, as a mobile network bills them: MQTT, TLS records, TCP and IP headers, repeats of lost segments.

The kernel knows them: ``TCP_INFO`` of a socket has the bytes and segments of each direction. What it cannot tell is
added: the headers of each segment, and the segments that end a connection. The look-up of the name is not counted.
"""

from __future__ import annotations

import socket
import struct
from typing import Final

_SIZES: Final = struct.Struct("=QII")
_RECEIVED_AT: Final = 128
"""tcpi_bytes_received, tcpi_segs_out, tcpi_segs_in; see struct tcp_info in linux/tcp.h."""

_SENT: Final = struct.Struct("=Q")
_SENT_AT: Final = 200
"""tcpi_bytes_sent, repeats included; from Linux 4.19."""

_STATE_AT: Final = 0
_OPEN: Final = (1, 8)
"""tcpi_state: ESTABLISHED, or CLOSE_WAIT when the peer has ended its side. After a reset nothing more is said."""

_OPTIONS_AT: Final = 5
_TIMESTAMPS: Final = 1
"""tcpi_options: both sides put time stamps into every header, 12 bytes."""

_TCP_HEADER: Final = 20
_IP_HEADER: Final = {socket.AF_INET: 20, socket.AF_INET6: 40}

FAREWELL: Final = 2
"""Segments in each direction that end a connection: FIN and its ACK. They leave after the last look at the socket."""


class Wire:
    """One socket. It keeps a handle of its own on it, so that the bytes can be read after the transport has closed
    the other: ``close`` it soon, the connection ends for the peer only then."""

    __slots__ = ("_farewell", "_last", "_socket")

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock.dup()
        self._last = (0, 0)
        self._farewell = 0

    def read(self) -> tuple[int, int]:
        """Bytes sent and received so far; what was known last when the kernel says nothing."""
        try:
            info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        except OSError:
            return self._last
        if len(info) >= _SENT_AT + _SENT.size:
            received, segments_out, segments_in = _SIZES.unpack_from(info, _RECEIVED_AT)
            (sent,) = _SENT.unpack_from(info, _SENT_AT)
            header = self._header(info)
            self._last = sent + segments_out * header, received + segments_in * header
            self._farewell = FAREWELL * header if info[_STATE_AT] in _OPEN else 0
        return self._last

    def close(self) -> tuple[int, int]:
        """Let go of the socket; the bytes of the whole connection."""
        sent, received = self.read()
        self._socket.close()
        return sent + self._farewell, received + self._farewell

    def _header(self, info: bytes) -> int:
        stamps = 12 if info[_OPTIONS_AT] & _TIMESTAMPS else 0
        return _IP_HEADER[self._socket.family] + _TCP_HEADER + stamps


class Meter:
    """Bytes of all connections of one uplink since the gateway has started."""

    __slots__ = ("_received", "_sent", "_wires")

    def __init__(self) -> None:
        self._sent = self._received = 0
        self._wires: list[Wire] = []

    def begin(self, sock: socket.socket) -> Wire:
        """Count the bytes of a socket from its first SYN on; it is not connected yet. ``end`` it."""
        wire = Wire(sock)
        self._wires.append(wire)
        return wire

    def end(self, wire: Wire) -> None:
        """The connection is over, or could not be had. Nothing happens the second time."""
        if wire in self._wires:
            self._wires.remove(wire)
            sent, received = wire.close()
            self._sent += sent
            self._received += received

    def read(self) -> tuple[int, int]:
        """Bytes sent and received."""
        open_now = [wire.read() for wire in self._wires]
        return self._sent + sum(one[0] for one in open_now), self._received + sum(one[1] for one in open_now)
