"""An open device file of a serial line on the loop, without a thread. The only module that imports pyserial.

Who opens one is told of what arrives through ``received`` and of the end through ``lost``; ``serial_port.py`` makes a
``Wire`` of it, on which one waits. Whatever is wrong is ``Retry``: unplugged, in use, refused by the driver. The file
is locked against other programs that lock theirs too.

What pyserial and Linux do, and this module makes up for, each with a test:

- A tty that hangs up is readable and gives nothing, as one does that woke us for no reason: poll() tells them apart.
- ``termios.error`` is no OSError.
- A pseudo terminal has no parity, takes it once, and refuses the next open with EINVAL because nothing was left to
  change: it is opened without.
- A close waits up to 30 s for bytes that flow control holds back: they are thrown away before.
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
import stat
import termios
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, NamedTuple

from gateway.connectors.line_errors import LineErrors, counted
from gateway.connectors.serial_line import Line
from gateway.connectors.system_words import number_of, reason_of
from gateway.errors import Retry

CHUNK: Final = 4096
"""Bytes that are read at once; a tty holds no more."""

_PSEUDO: Final = range(136, 144)
"""Major numbers of pseudo-terminals on Linux (Documentation/admin-guide/devices.txt)."""

_GONE: Final = select.POLLHUP | select.POLLERR | select.POLLNVAL

Received = Callable[[bytes], None]
Lost = Callable[[str], None]


class Rs485(NamedTuple):
    """The direction of a half-duplex line, switched by the driver (Linux: driver-api/serial/serial-rs485).

    rts_on_send    level of RTS while sending; it is the other while receiving
    before, after  seconds between the switch and the first bit, and between the last bit and the switch
    hears_itself   the receiver stays on while sending
    """

    rts_on_send: bool = True
    before: float = 0.0
    after: float = 0.0
    hears_itself: bool = False


class Tty:
    """One open device file.

    rs485     how the driver switches; None: it does not
    no_rs485  what to do where the driver cannot
    """

    def __init__(
        self,
        path: str,
        line: Line,
        received: Received,
        lost: Lost,
        *,
        rs485: Rs485 | None = None,
        no_rs485: str = "",
    ) -> None:
        self.path = path
        self._received = received
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self.serial = _open(path, line, rs485, no_rs485)
        self.file: int = self.serial.fileno()
        self._loop.add_reader(self.file, self._read)

    @property
    def is_open(self) -> bool:
        """Whether it still stands, as far as this side knows."""
        return bool(self.serial.is_open)

    def send(self, data: bytes) -> None:
        """Hand all of it to the driver, which takes 4 KiB. Raises Retry when it does not."""
        if not self.is_open:
            raise Retry(f"{self.path} is closed")
        try:
            sent = os.write(self.file, data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise Retry(f"{self.path} was lost: {reason_of(error)}") from None
        if sent != len(data):
            raise Retry(f"{self.path} takes no more bytes: is nothing connected to it?")

    def drop(self) -> None:
        """Throw away what has arrived and was not looked at yet."""
        with suppress(OSError):  # what is wrong with the port, the next use of it will say
            while self.is_open and os.read(self.file, CHUNK):
                pass

    def pause(self) -> None:
        """Leave what arrives with the driver."""
        self._loop.remove_reader(self.file)

    def resume(self) -> None:
        """Take it again."""
        if self.is_open:
            self._loop.add_reader(self.file, self._read)

    def errors(self) -> LineErrors | None:
        """What the driver has counted; None where it does not."""
        return counted(self.file) if self.is_open else None

    def close(self) -> None:
        """Close it; ``lost`` is not called."""
        if not self.is_open:
            return
        self._loop.remove_reader(self.file)
        with suppress(termios.error):  # it is gone already
            termios.tcflush(self.file, termios.TCOFLUSH)
        self.serial.close()

    def _read(self) -> None:
        try:
            data = os.read(self.file, CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(f"{self.path} was lost: {reason_of(error)}")
            return
        if data:
            self._received(data)
        elif self._has_gone():
            self._end(f"{self.path} was lost: unplugged, or the other end was closed")

    def _has_gone(self) -> bool:
        poll = select.poll()
        poll.register(self.file, select.POLLIN)
        return any(event & _GONE for _, event in poll.poll(0))

    def _end(self, reason: str) -> None:
        self.close()
        self._lost(reason)


def _open(path: str, line: Line, rs485: Rs485 | None, no_rs485: str) -> Any:
    """The device file, open and set. Raises Retry."""
    # pyserial is loaded by those who have a line.
    from serial.rs485 import RS485Settings

    port: Any = None
    try:
        port = _opened(path, line)
        if rs485 is not None:
            port.rs485_mode = RS485Settings(
                rts_level_for_tx=rs485.rts_on_send,
                rts_level_for_rx=not rs485.rts_on_send,
                loopback=rs485.hears_itself,
                delay_before_tx=rs485.before,
                delay_before_rx=rs485.after,
            )
        elif line.rs485 == "rts":
            port.rts = False  # the open passes over a line without an RTS wire; here it is needed
        port.reset_input_buffer()
    except (OSError, ValueError, termios.error) as error:
        if port is not None:
            port.close()
        why = _why(error, line, rs485 is not None and port is not None, no_rs485)
        raise Retry(f"cannot connect to {path} ({line}): {why}") from None
    return port


def _opened(path: str, line: Line) -> Any:
    try:
        return _attempt(path, line, line.parity)
    except termios.error as error:
        if number_of(error) != errno.EINVAL or not _is_pseudo(path):
            raise
        return _attempt(path, line, "N")


def _attempt(path: str, line: Line, parity: str) -> Any:
    import serial

    port = serial.Serial(
        None,
        baudrate=line.baud,
        bytesize=line.bits,
        parity=parity,
        stopbits=line.stop,
        timeout=0,
        xonxoff=line.flow == "xonxoff",
        rtscts=line.flow == "rtscts",
        exclusive=True,
    )
    port.port = path
    port.dtr = line.dtr
    port.rts = line.rts and line.rs485 != "rts"
    port.open()
    return port


def _is_pseudo(path: str) -> bool:
    found = os.stat(path)
    return stat.S_ISCHR(found.st_mode) and os.major(found.st_rdev) in _PSEUDO


def _why(error: Exception, line: Line, is_switching: bool, no_rs485: str) -> str:
    number = number_of(error)
    if number == errno.EWOULDBLOCK:
        return "it is in use by another program, or by a device of this gateway whose url has other options"
    if is_switching and (isinstance(error, ValueError) or number == errno.ENOTTY):
        return f"its driver does not know RS-485; {no_rs485}"
    if line.rs485 == "rts" and number == errno.ENOTTY:
        return "it has no RTS wire; use rs485=off"
    return reason_of(error)
