"""Bytes to and from a line: a TCP connection to a device server, or a serial port of this machine.

Both look alike: ``send`` bytes, get what arrives through ``received``, hear of the end through ``lost``. What the
bytes mean is ``wire.py``'s affair.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol, cast

from gateway.connectors.modbus.endpoint import Endpoint
from gateway.connectors.modbus.serial_settings import Rs485
from gateway.errors import Retry

_CHUNK: Final = 4096

Received = Callable[[bytes], None]
Lost = Callable[[str], None]


class Stream(Protocol):
    """Where frames go and come from."""

    @property
    def is_open(self) -> bool:
        """Whether it still stands, as far as this side knows."""

    def send(self, data: bytes) -> None:
        """Send all of it. Raises Retry when that cannot be done now."""

    def drop(self) -> None:
        """Throw away what has arrived and was not looked at yet."""

    def close(self) -> None:
        """Close it; ``lost`` is not called."""


async def open_stream(
    endpoint: Endpoint, timeout: float, rs485: Rs485 | None, received: Received, lost: Lost
) -> Stream:
    """The stream of an endpoint. Raises Retry with the reason."""
    if endpoint.transport == "serial":
        return SerialStream(endpoint, rs485, received, lost)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout):
            _, protocol = await loop.create_connection(lambda: TcpStream(received, lost), endpoint.host, endpoint.port)
    except TimeoutError:
        raise Retry(f"{endpoint} did not accept a connection within {timeout:g} s") from None
    except OSError as error:
        raise Retry(f"cannot connect to {endpoint}: {reason_of(error)}") from None
    return protocol


def reason_of(error: OSError) -> str:
    """Why, in the system's words: asyncio puts the address in their place. A failed look-up has words of its own."""
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or str(error)


class TcpStream(asyncio.Protocol):
    """One TCP connection."""

    def __init__(self, received: Received, lost: Lost) -> None:
        self.data_received = received  # type: ignore[method-assign, assignment]
        self._lost: Lost | None = lost
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._lost is not None:
            self._lost("connection lost" + (f": {exc}" if exc is not None else ""))

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def send(self, data: bytes) -> None:
        if self._transport is None:
            raise Retry("connection lost")
        self._transport.write(data)

    def drop(self) -> None:
        """Nothing: a connection is not used any more after a question that was not answered."""

    def close(self) -> None:
        self._lost = None
        if self._transport is not None:
            self._transport.abort()


class SerialStream:
    """One open serial port, watched by the loop."""

    def __init__(self, endpoint: Endpoint, rs485: Rs485 | None, received: Received, lost: Lost) -> None:
        # pyserial is loaded by those who have a line.
        from gateway.connectors.modbus.serial_port import open_port

        self._port = open_port(endpoint, rs485)
        self._file: int | None = self._port.fileno()
        self._path = endpoint.path
        self._received = received
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._file, self._readable)

    @property
    def is_open(self) -> bool:
        return self._file is not None

    def send(self, data: bytes) -> None:
        if self._file is None:
            raise Retry(f"{self._path} is gone")
        try:
            # A tty takes 4 KiB; the longest frame is 513 bytes and the one before it has been answered.
            sent = os.write(self._file, data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise Retry(f"cannot send on {self._path}: {reason_of(error)}") from None
        if sent != len(data):
            raise Retry(f"{self._path} takes no more bytes: is nothing connected to it?")

    def drop(self) -> None:
        with suppress(OSError):  # what is wrong with the port, the next use of it will say
            while self._file is not None and os.read(self._file, _CHUNK):
                pass

    def close(self) -> None:
        if self._file is not None:
            self._loop.remove_reader(self._file)
            self._file = None
            self._port.close()

    def _readable(self) -> None:
        assert self._file is not None
        try:
            data = os.read(self._file, _CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            self._gone(f"{self._path} is gone: {reason_of(error)}")
            return
        if data:
            self._received(data)
        else:
            # Readable, and nothing to read: the adapter was unplugged.
            self._gone(f"{self._path} is gone: unplugged?")

    def _gone(self, reason: str) -> None:
        self.close()
        self._lost(reason)
