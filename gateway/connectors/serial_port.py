"""An open serial line on which one waits: ``send``, then ``receive``.

``open_wire`` gives a ``Wire`` to a device file or to a serial server. A wire has one owner, which calls ``send`` and
``receive`` in turn. Whatever is wrong with it is ``Retry``, see ``tty.py``.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import termios
from abc import ABC, abstractmethod
from typing import Final

from gateway.connectors.line_errors import LineErrors
from gateway.connectors.serial_line import Address, Echo, Line, SerialAddress, TcpAddress
from gateway.connectors.system_words import reason_of
from gateway.connectors.tcp_stream import TcpStream, connected
from gateway.connectors.tty import Rs485, Tty
from gateway.errors import Retry

MOST: Final = 65_536
"""Bytes that may wait for ``receive``. More stay with the driver, and with flow control at the device."""

_TAIL: Final = 2
"""Characters that may be in the adapter when the driver has none left."""

_NO_RS485: Final = "use rs485=rts, or off for an adapter that switches by itself"


class Wire(ABC):
    """One open line. ``close`` it in ``finally``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._buffer = bytearray()
        self._waiting: asyncio.Future[None] | None = None
        self._lost = ""
        self._is_paused = False

    @property
    def is_open(self) -> bool:
        """Whether the line still stands, as far as this side knows."""
        return not self._lost

    async def receive(self) -> bytes:
        """All that has arrived, at least one byte. A cancel loses nothing. Raises Retry when the line is lost."""
        while not self._buffer:
            self._check()
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None
        return self.take()

    def take(self) -> bytes:
        """All that has arrived; maybe nothing."""
        data = bytes(self._buffer)
        self._buffer.clear()
        if self._is_paused:
            self._is_paused = False
            self._resume()
        return data

    async def send(self, data: bytes, timeout: float) -> None:
        """Send; returns when the driver has sent it, as far as it can tell. Raises Retry."""
        self._check()
        try:
            async with asyncio.timeout(timeout):
                await self._put(data)
        except TimeoutError:
            self._lose(f"{self.name} took no bytes for {timeout:g} s; is flow control on, and nobody there?")
            self._check()

    def clear(self) -> int:
        """Throw away what has arrived; the number of bytes."""
        return len(self.take())

    def set_line(self, line: Line) -> None:
        """Run on with another speed or form of characters. Raises Retry when the driver refuses it."""
        raise Retry(f"{self.name}: the speed of a line behind a serial server is set in the server")

    def errors(self) -> LineErrors | None:
        """What the driver has counted since it was loaded; None where it does not count."""
        return None

    @abstractmethod
    def close(self) -> None:
        """Close the line; ``receive`` ends with Retry."""

    @abstractmethod
    async def _put(self, data: bytes) -> None: ...

    @abstractmethod
    def _pause(self) -> None: ...

    @abstractmethod
    def _resume(self) -> None: ...

    def _check(self) -> None:
        if self._lost:
            raise Retry(self._lost)

    def _arrived(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) >= MOST and not self._is_paused:
            self._is_paused = True
            self._pause()
        self._wake()

    def _lose(self, reason: str) -> None:
        if not self._lost:
            self._lost = reason
            self.close()
            self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


async def open_wire(address: Address, timeout: float) -> Wire:
    """Open a device file, or connect to a serial server within ``timeout`` seconds. Raises Retry."""
    if isinstance(address, SerialAddress):
        return _Tty(address)
    wire = _Tcp(str(address))
    await wire.connect(address, timeout)
    return wire


class _Tty(Wire):
    """A device file."""

    def __init__(self, address: SerialAddress) -> None:
        super().__init__(address.path)
        line = self._line = address.line
        self._echo = Echo() if line.echo else None
        self._loop = asyncio.get_running_loop()
        self._writable: asyncio.Future[None] | None = None
        rs485 = Rs485(before=line.before, after=line.after) if line.rs485 == "kernel" else None
        self._tty = Tty(address.path, line, self._heard, self._lose, rs485=rs485, no_rs485=_NO_RS485)

    def set_line(self, line: Line) -> None:
        self._check()
        serial = self._tty.serial
        try:
            serial.apply_settings({"baudrate": line.baud, "parity": line.parity, "bytesize": line.bits})
            serial.stopbits = line.stop
        except (OSError, ValueError, termios.error) as error:
            raise Retry(f"{self.name} does not take {line}: {reason_of(error)}") from None
        self._line = line

    def errors(self) -> LineErrors | None:
        return self._tty.errors()

    def clear(self) -> int:
        if self._echo is not None:
            self._echo.forget()
        return super().clear()

    def close(self) -> None:
        self._lost = self._lost or f"{self.name} is closed"
        if self._tty.is_open:
            self._loop.remove_writer(self._tty.file)
            self._tty.close()
        self._may_write()
        self._wake()

    def _heard(self, data: bytes) -> None:
        self._arrived(data if self._echo is None else self._echo.strip(data))

    def _pause(self) -> None:
        self._tty.pause()

    def _resume(self) -> None:
        self._tty.resume()

    async def _put(self, data: bytes) -> None:
        if self._echo is not None:
            self._echo.sent(data)
        if self._line.rs485 != "rts":
            await self._write(data)
            return
        serial = self._tty.serial
        try:
            serial.rts = True
            await asyncio.sleep(self._line.before)
            await self._write(data)
            await asyncio.sleep(self._line.after + _TAIL * self._line.char_time)
        finally:
            if serial.is_open:
                serial.rts = False

    async def _write(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._tty.file, data) :]
            except BlockingIOError:
                await self._until_writable()
            except OSError as error:
                self._lose(f"{self.name} was lost: {reason_of(error)}")
            self._check()
        while waiting := self._unsent():
            await asyncio.sleep(waiting * self._line.char_time)
            self._check()

    async def _until_writable(self) -> None:
        self._writable = self._loop.create_future()
        self._loop.add_writer(self._tty.file, self._may_write)
        try:
            await self._writable
        finally:
            self._writable = None
            if self.is_open:
                self._loop.remove_writer(self._tty.file)

    def _may_write(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    def _unsent(self) -> int:
        """Bytes that the driver has still to send."""
        try:
            found: int = struct.unpack("i", fcntl.ioctl(self._tty.file, termios.TIOCOUTQ, b"\0\0\0\0"))[0]
        except OSError:
            return 0  # a driver that does not say
        return found


class _Tcp(Wire):
    """A serial server."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._stream: TcpStream | None = None

    async def connect(self, address: TcpAddress, timeout: float) -> None:
        """Raises Retry."""

        def lost(reason: str) -> None:
            self._lose(f"{self.name} {reason}")

        self._stream = await connected(self.name, address.host, address.port, timeout, self._arrived, lost)

    def close(self) -> None:
        self._lost = self._lost or f"{self.name} is closed"
        if self._stream is not None:
            self._stream.close()
        self._wake()

    async def _put(self, data: bytes) -> None:
        assert self._stream is not None
        self._stream.send(data)
        await self._stream.drained()
        self._check()

    def _pause(self) -> None:
        if self._stream is not None:
            self._stream.pause()

    def _resume(self) -> None:
        if self._stream is not None:
            self._stream.resume()
