"""Two serial ports joined by a wire, as pseudo terminals; one end is for an emulated board, the other for this machine.

A pseudo terminal takes any speed for the same. This wire does not: bytes that are sent at another speed, or with
another parity, than the other end hears with arrive spoilt, as on a real line.
"""

from __future__ import annotations

import os
import pty
import select
import termios
import threading
import tty
from typing import Any, Final

FRAME: Final = termios.CSIZE | termios.CSTOPB | termios.PARENB | termios.PARODD
SPOILT: Final = 0x5A
"""What is changed in each byte that is heard at another speed."""


class Line:
    """``board`` and ``here`` are paths of the two ends. They stay the same whoever opens and closes them."""

    def __init__(self) -> None:
        self._ends = [pty.openpty(), pty.openpty()]
        for master, port in self._ends:
            tty.setraw(port)
            os.set_blocking(master, False)
        self.board, self.here = (os.ttyname(port) for _, port in self._ends)
        self._stop_read, self._stop_write = os.pipe()
        self._thread = threading.Thread(target=self._carry, name="line")
        self._thread.start()

    def _carry(self) -> None:
        first, second = self._ends
        ways = {first[0]: (first[1], second), second[0]: (second[1], first)}
        while True:
            ready, _, _ = select.select([*ways, self._stop_read], [], [])
            if self._stop_read in ready:
                return
            for master in ready:
                sender, (target, hearer) = ways[master]
                data = os.read(master, 4096)
                if _framing(sender) != _framing(hearer):
                    data = bytes(byte ^ SPOILT for byte in data)
                try:
                    os.write(target, data)
                except BlockingIOError:
                    """Nobody reads at the other end: a wire keeps nothing."""

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: Any) -> None:
        os.write(self._stop_write, b"x")
        self._thread.join()
        for fd in (*self._ends[0], *self._ends[1], self._stop_read, self._stop_write):
            os.close(fd)


def _framing(port: int) -> tuple[int, int]:
    """Speed, and the bits that say how a byte is framed. Both speeds of a port are the same here."""
    _, _, control, _, _, speed, _ = termios.tcgetattr(port)
    return speed, control & FRAME
