"""Where a listener is bound: ``host:port`` or ``unix:/path`` as text, and when two of them collide."""

from __future__ import annotations

import ipaddress
import posixpath
import re
from typing import Final, NamedTuple

_HOST_NAME: Final = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*\.?")


LONGEST_PATH: Final = 107
"""Bytes of the path of a Unix socket: ``sun_path`` of Linux without the zero at its end."""


class Address(NamedTuple):
    """A host to bind to, without brackets, and a port; port 0 is any free one. Or the ``path`` of a Unix socket."""

    host: str
    port: int
    path: str = ""

    @property
    def is_loopback(self) -> bool:
        """Whether only programs on this machine can reach it."""
        if self.path:
            return True
        ip = _ip(self.host)
        return ip.is_loopback if ip is not None else self.host.lower() == "localhost"

    def collides(self, other: Address) -> bool:
        """Whether the system would refuse to bind both. A wildcard takes every address of its own family only:
        ``[::]`` is bound to IPv6 alone. Host names are compared as written, not looked up."""
        if self.path or other.path:
            return self.path == other.path
        if self.port != other.port or self.port == 0:
            return False
        mine, others = _ip(self.host), _ip(other.host)
        if mine is None and others is None:
            return self.host.lower() == other.host.lower()
        if mine is None or others is None:
            ip, name = (mine or others), (self.host if mine is None else other.host)
            assert ip is not None
            return ip.is_unspecified or (ip.is_loopback and name.lower() == "localhost")
        return mine.version == others.version and (mine == others or mine.is_unspecified or others.is_unspecified)


def parse_address(text: str) -> Address:
    """The address behind ``127.0.0.1:1883``, ``[::1]:1883``, ``name:1883`` or ``unix:/run/a.sock``. Raises ValueError:
    what it must be."""
    if text.startswith("unix:"):
        return _unix(text.removeprefix("unix:"))
    host, colon, port = text.rpartition(":")
    if not colon or not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65_535:
        raise ValueError('must be an address and a port from 0 to 65535, such as "127.0.0.1:1883" or "[::1]:1883"')
    if not host:
        raise ValueError(
            f'must name the address before the port: "0.0.0.0:{port}" is every IPv4 address of this machine'
        )
    if host.startswith("[") and host.endswith("]"):
        if not isinstance(_ip(host[1:-1]), ipaddress.IPv6Address):
            raise ValueError("must have an IPv6 address between the brackets")
        return Address(host[1:-1], int(port))
    if ":" in host:
        raise ValueError(f'must have brackets around an IPv6 address, such as "[::1]:{port}"')
    is_number = re.fullmatch(r"[0-9.]+", host)
    if (is_number and _ip(host) is None) or not _HOST_NAME.fullmatch(host):
        raise ValueError("must begin with an IPv4 address, an IPv6 address in brackets, or a host name")
    return Address(host, int(port))


def address(value: str) -> str | None:
    """The check of a ``bind`` setting."""
    try:
        parse_address(value)
    except ValueError as error:
        return str(error)
    return None


def _unix(path: str) -> Address:
    if not path.startswith("/") or path.endswith("/") or "\0" in path:
        raise ValueError('must have the whole path of the socket after "unix:", such as "unix:/run/gateway/mqtt.sock"')
    if len(path.encode()) > LONGEST_PATH:
        raise ValueError(f"must have a path of at most {LONGEST_PATH} bytes")
    return Address("", 0, posixpath.normpath(path))


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
