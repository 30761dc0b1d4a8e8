"""An open serial line: bytes in, bytes out, on the loop, without a thread. The only module that imports pyserial.

``open_wire`` gives a ``Wire`` to a device file or to a serial server. A wire has one owner, which calls ``send`` and
``receive`` in turn. Whatever is wrong with it is ``Retry``: unplugged, in use, refused by the driver. A device file is
locked against other programs that lock theirs too.

What pyserial and Linux do, and this module makes up for, each with a test:

- A tty that hangs up is readable and gives nothing, as one does that woke us for no reason: poll() tells them apart.
- ``termios.error`` is no OSError: a pty refuses parity with it, when nothing else changes.
- A close waits up to 30 s for bytes that flow control holds back: they are thrown away before.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import select
import socket
import struct
import termios
from abc import ABC, abstractmethod
from typing import Any, Final, cast

from gateway.connectors.line_errors import LineErrors, counted
from gateway.connectors.serial_line import Address, Echo, Line, SerialAddress, TcpAddress
from gateway.errors import Retry

MOST: Final = 65_536
"""Bytes that may wait for ``receive``. More stay with the driver, and with flow control at the device."""

_AT_ONCE: Final = 4096
_TAIL: Final = 2
"""Characters that may be in the adapter when the driver has none left."""

_KEEP_ALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 20),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000),
)
"""A serial server that is switched off says no good-bye: after 50 seconds of its silence the system does."""

_IN_USE: Final = "it is in use by another program, or by a device of this gateway whose url has other options"

_GONE: Final = select.POLLHUP | select.POLLERR | select.POLLNVAL


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
    return await _connect(address, timeout)


class _Tty(Wire):
    """A device file."""

    def __init__(self, address: SerialAddress) -> None:
        super().__init__(address.path)
        self._line = address.line
        self._echo = Echo() if address.line.echo else None
        self._loop = asyncio.get_running_loop()
        self._writable: asyncio.Future[None] | None = None
        self._serial = _open(address)
        self._fd: int = self._serial.fileno()
        self._loop.add_reader(self._fd, self._read)

    def set_line(self, line: Line) -> None:
        self._check()
        try:
            self._serial.apply_settings({"baudrate": line.baud, "parity": line.parity, "bytesize": line.bits})
            self._serial.stopbits = line.stop
        except (OSError, ValueError, termios.error) as error:
            raise Retry(f"{self.name} does not take {line}: {_said(error)}") from None
        self._line = line

    def errors(self) -> LineErrors | None:
        return counted(self._fd)

    def clear(self) -> int:
        if self._echo is not None:
            self._echo.forget()
        return super().clear()

    def close(self) -> None:
        if not self._serial.is_open:
            return
        self._lost = self._lost or f"{self.name} is closed"
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        try:
            termios.tcflush(self._fd, termios.TCOFLUSH)
        except termios.error:
            pass  # it is gone already
        self._serial.close()
        self._may_write()
        self._wake()

    def _pause(self) -> None:
        self._loop.remove_reader(self._fd)

    def _resume(self) -> None:
        if self.is_open:
            self._loop.add_reader(self._fd, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, _AT_ONCE)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(f"{self.name} was lost: {_said(error)}")
            return
        if data:
            self._arrived(self._echo.strip(data) if self._echo is not None else data)
        elif self._has_gone():
            self._lose(f"{self.name} was lost: unplugged, or the other end was closed")

    def _has_gone(self) -> bool:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return any(event & _GONE for _, event in poll.poll(0))

    async def _put(self, data: bytes) -> None:
        if self._echo is not None:
            self._echo.sent(data)
        if self._line.rs485 != "rts":
            await self._write(data)
            return
        try:
            self._serial.rts = True
            await asyncio.sleep(self._line.before)
            await self._write(data)
            await asyncio.sleep(self._line.after + _TAIL * self._line.char_time)
        finally:
            if self._serial.is_open:
                self._serial.rts = False

    async def _write(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:
                await self._until_writable()
            except OSError as error:
                self._lose(f"{self.name} was lost: {_said(error)}")
            self._check()
        while waiting := self._unsent():
            await asyncio.sleep(waiting * self._line.char_time)
            self._check()

    async def _until_writable(self) -> None:
        self._writable = self._loop.create_future()
        self._loop.add_writer(self._fd, self._may_write)
        try:
            await self._writable
        finally:
            self._writable = None
            if self.is_open:
                self._loop.remove_writer(self._fd)

    def _may_write(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    def _unsent(self) -> int:
        """Bytes that the driver has still to send."""
        try:
            found: int = struct.unpack("i", fcntl.ioctl(self._fd, termios.TIOCOUTQ, b"\0\0\0\0"))[0]
        except OSError:
            return 0  # a driver that does not say
        return found


def _open(address: SerialAddress) -> Any:
    """The device file, open and set. Raises Retry."""
    import serial
    from serial.rs485 import RS485Settings

    line = address.line
    port = serial.Serial(
        None,
        baudrate=line.baud,
        bytesize=line.bits,
        parity=line.parity,
        stopbits=line.stop,
        timeout=0,
        xonxoff=line.flow == "xonxoff",
        rtscts=line.flow == "rtscts",
        exclusive=True,
    )
    port.port = address.path
    port.dtr = line.dtr
    port.rts = line.rts and line.rs485 != "rts"
    try:
        port.open()
        if line.rs485 == "kernel":
            port.rs485_mode = RS485Settings(delay_before_tx=line.before, delay_before_rx=line.after)
        elif line.rs485 == "rts":
            port.rts = False  # the open passes over a line without an RTS wire; here it is needed
    except (OSError, ValueError, termios.error) as error:
        port.close()
        raise Retry(f"cannot connect to {address.path} ({line}): {_why(error, line)}") from None
    return port


def _why(error: Exception, line: Line) -> str:
    number = _number(error)
    if number == errno.EWOULDBLOCK:
        return _IN_USE
    if line.rs485 == "kernel" and isinstance(error, ValueError):
        return "its driver does not know RS-485; use rs485=rts, or off for an adapter that switches by itself"
    if line.rs485 == "rts" and number == errno.ENOTTY:
        return "it has no RTS wire; use rs485=off"
    return _said(error)


def _number(error: Exception) -> int | None:
    """The errno of an OSError, or of a termios.error, which keeps it in its arguments."""
    found = getattr(error, "errno", None) or (error.args[0] if error.args else None)
    return found if isinstance(found, int) else None


def _said(error: Exception) -> str:
    number = _number(error)
    return str(error) if number is None else os.strerror(number)


class _Tcp(Wire, asyncio.Protocol):
    """A serial server."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._transport: asyncio.Transport | None = None
        self._can_write = asyncio.Event()
        self._can_write.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        found = transport.get_extra_info("socket")
        for level, option, value in _KEEP_ALIVE:
            found.setsockopt(level, option, value)

    def data_received(self, data: bytes) -> None:
        self._arrived(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose(f"{self.name} closed the connection" + (f": {exc}" if exc else ""))

    def pause_writing(self) -> None:
        self._can_write.clear()

    def resume_writing(self) -> None:
        self._can_write.set()

    def close(self) -> None:
        self._lost = self._lost or f"{self.name} is closed"
        if self._transport is not None:
            self._transport.abort()
        self._can_write.set()
        self._wake()

    async def _put(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)
        await self._can_write.wait()
        self._check()

    def _pause(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._transport is not None and self.is_open:
            self._transport.resume_reading()


async def _connect(address: TcpAddress, timeout: float) -> Wire:
    wire = _Tcp(str(address))
    try:
        async with asyncio.timeout(timeout):
            await asyncio.get_running_loop().create_connection(lambda: wire, address.host, address.port)
    except TimeoutError:
        wire.close()
        raise Retry(f"cannot connect to {address} within {timeout:g} s") from None
    except OSError as error:
        raise Retry(f"cannot connect to {address}: {_said(error)}") from None
    except BaseException:
        wire.close()
        raise
    return wire
