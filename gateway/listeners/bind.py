"""Sockets that listen: TCP on every address of a name, or one Unix socket with its permissions."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import grp
import os
import socket
import stat
from collections.abc import Iterator
from typing import Any, Final

from gateway.config.listener import SocketListener as Settings
from gateway.errors import Retry

BACKLOG: Final = 512
"""Connections that the system keeps until they are accepted."""

_NOT_HERE: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""A name such as localhost may have an IPv6 address where the machine has no IPv6."""


async def listen(loop: asyncio.AbstractEventLoop, settings: Settings) -> list[socket.socket]:
    """The bound sockets, listening and non-blocking. Raises Retry when the address cannot be had now."""
    address = settings.address
    if address.path:
        return [_unix(address.path, settings.mode, settings.group)]
    try:
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        return _all(list(dict.fromkeys((family, name) for family, _, _, _, name in found)))
    except OSError as error:
        raise Retry(f"cannot bind {settings.bind}: {error.strerror or error}") from None


def _all(addresses: list[tuple[int, Any]]) -> list[socket.socket]:
    """Every address of a name; those that this machine does not have are left out, unless none is left."""
    sockets: list[socket.socket] = []
    for family, name in addresses:
        try:
            sockets.append(_tcp(family, name))
        except OSError as error:
            is_last = (family, name) == addresses[-1]
            if error.errno in _NOT_HERE and (sockets or not is_last):
                continue
            for one in sockets:
                one.close()
            raise
    return sockets


def _tcp(family: int, name: Any) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(name)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def _unix(path: str, mode: str, group: str | None) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _make_way(path)
        sock.bind(path)
        # Nobody can connect before listen(): the permissions are never too wide.
        os.chmod(path, int(mode, 8))
        if group is not None:
            os.chown(path, -1, grp.getgrnam(group).gr_gid)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except (OSError, KeyError) as error:
        sock.close()
        reason = f"no group {group}" if isinstance(error, KeyError) else error.strerror or error
        raise Retry(f"cannot bind unix:{path}: {reason}") from None
    except Retry:
        sock.close()
        raise
    return sock


def _make_way(path: str) -> None:
    """Remove the socket of a process that is gone. Raises Retry for one that lives, and for what is no socket."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise Retry(f"cannot bind unix:{path}: there is a file that is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass  # Its backlog is full: it lives.
    raise Retry(f"cannot bind unix:{path}: another process listens there")


def inode(path: str) -> tuple[int, int] | None:
    """Which file is at ``path``; None when there is none."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def remove(path: str) -> None:
    """Remove a Unix socket, if it is there."""
    with contextlib.suppress(OSError):
        os.unlink(path)


def problems(settings: Settings) -> Iterator[tuple[str, str]]:
    """What is wrong with where it is bound, without binding: (key below the listener, text)."""
    path, group = settings.address.path, settings.group
    if not path:
        return
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        yield "bind", f'there is no folder "{folder}" for the socket'
    if group is not None:
        try:
            grp.getgrnam(group)
        except KeyError:
            yield "group", f'there is no group "{group}" on this machine'
