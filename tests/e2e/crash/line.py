"""One TCP connection of the crash rig: packets in, packets out, never waiting for the other side."""

from __future__ import annotations

import socket

from gateway.mqtt.decode import Decoder
from gateway.mqtt.encode import encode
from gateway.mqtt.packets import Packet

CHUNK = 65_536


class Line:
    """Connected to 127.0.0.1:``port`` when made. Raises OSError when nobody is there.

    Everything after that is no error: a connection that has ended gives ``is_open`` False and takes what it is given.
    """

    def __init__(self, port: int, level: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 1.0)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.is_open = True
        self._level = level
        self._decoder = Decoder(level)
        self._out = bytearray()

    def send(self, packet: Packet) -> None:
        """Hand over one packet."""
        self._out += encode(packet, self._level)

    def flush(self) -> None:
        """Write what the socket takes."""
        if not self._out or not self.is_open:
            return
        try:
            del self._out[: self.socket.send(self._out)]
        except BlockingIOError:
            return
        except OSError:
            self.is_open = False

    def receive(self) -> list[Packet]:
        """What has come."""
        try:
            while data := self.socket.recv(CHUNK):
                self._decoder.feed(data)
                if len(data) < CHUNK:
                    break
            else:
                self.is_open = False
        except BlockingIOError:
            pass
        except OSError:
            self.is_open = False
        packets = []
        while (packet := self._decoder.next()) is not None:
            packets.append(packet)
        return packets

    def close(self) -> None:
        """End it, with whatever is under way."""
        self.is_open = False
        self.socket.close()
