"""Opens a serial port through pyserial. The only module here that imports it; it reads and writes nothing.

What pyserial 3.5 does and this makes up for: a driver that refuses a setting raises ``termios.error``, which is no
OSError; a pseudo-terminal has no parity, takes it once, and refuses the next open with EINVAL because nothing was
left to change; RS-485 of a driver that has none is a ValueError.
"""

from __future__ import annotations

import errno
import os
import stat
import termios
from typing import Final

import serial
from serial.rs485 import RS485Settings

from gateway.connectors.modbus.endpoint import Endpoint
from gateway.connectors.modbus.serial_settings import Rs485
from gateway.errors import Retry

_PSEUDO: Final = range(136, 144)
"""Major numbers of pseudo-terminals on Linux (Documentation/admin-guide/devices.txt)."""


def open_port(endpoint: Endpoint, rs485: Rs485 | None) -> serial.Serial:
    """The open port, for this process alone, with what it had received before thrown away. Raises Retry."""
    try:
        port = _open(endpoint)
    except (serial.SerialException, OSError, termios.error, ValueError) as error:
        raise Retry(f"cannot open {endpoint.path} at {endpoint.line}: {_reason(error)}") from None
    try:
        if rs485 is not None:
            port.rs485_mode = RS485Settings(
                rts_level_for_tx=rs485.rts_on_send,
                rts_level_for_rx=not rs485.rts_on_send,
                loopback=rs485.hears_itself,
                delay_before_tx=rs485.before,
                delay_before_rx=rs485.after,
            )
        port.reset_input_buffer()
    except (OSError, termios.error, ValueError) as error:
        port.close()
        what = "switch to RS-485" if rs485 is not None else "use"
        raise Retry(
            f"cannot {what} {endpoint.path}: {_reason(error)}"
            + ("; adapters that switch by themselves need no rs485 table" if rs485 is not None else "")
        ) from None
    return port


def _open(endpoint: Endpoint) -> serial.Serial:
    def attempt(parity: str) -> serial.Serial:
        return serial.Serial(
            endpoint.path,
            baudrate=endpoint.baud,
            bytesize=endpoint.bits,
            parity=parity,
            stopbits=endpoint.stop,
            timeout=0,
            exclusive=True,
        )

    try:
        return attempt(endpoint.parity)
    except termios.error as error:
        if error.args[0] != errno.EINVAL or not _is_pseudo(endpoint.path):
            raise
        return attempt("N")


def _is_pseudo(path: str) -> bool:
    found = os.stat(path)
    return stat.S_ISCHR(found.st_mode) and os.major(found.st_rdev) in _PSEUDO


def _reason(error: Exception) -> str:
    """The system's words where there are some; pyserial wraps them twice."""
    number = getattr(error, "errno", None) or (error.args[0] if error.args and isinstance(error.args[0], int) else None)
    if number == errno.EAGAIN:
        return "another program uses it"
    return os.strerror(number) if number else str(error)
