"""From a host name to a connected socket, one step after the other, each byte of it counted.

asyncio can do both steps by itself, but then what a handshake costs that fails cannot be counted: its socket is
gone before anybody has seen it.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from gateway.uplinks.mqtt.config import Endpoint
from gateway.uplinks.mqtt.wire import Meter, Wire

Address = tuple[int, Any]
"""Family, and what ``connect`` takes."""


async def resolve(at: Endpoint) -> list[Address]:
    """The addresses of a host, in the order in which the system prefers them. Raises OSError or UnicodeError."""
    found = await asyncio.get_running_loop().getaddrinfo(at.host, at.port, type=socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in found]


async def connect(addresses: list[Address], meter: Meter) -> tuple[socket.socket, Wire]:
    """A socket that is connected to the first of the addresses that answers, and what counts its bytes: ``end`` that.
    Raises the OSError of the first one."""
    first: OSError | None = None
    for family, address in addresses:
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        wire = meter.begin(sock)
        try:
            await asyncio.get_running_loop().sock_connect(sock, address)
            return sock, wire
        except BaseException as error:
            sock.close()
            meter.end(wire)
            if not isinstance(error, OSError):
                raise
            first = first or error
    raise first or OSError("the name has no address")
