"""Characters that a serial driver could not read: it counts them, and says so by ``TIOCGICOUNT`` (linux/serial.h)."""

from __future__ import annotations

import fcntl
import struct
from typing import Final, NamedTuple

_TIOCGICOUNT: Final = 0x545D
_COUNTS: Final = struct.Struct("20i")
"""``struct serial_icounter_struct``: cts dsr rng dcd rx tx frame overrun parity brk buf_overrun, and nine reserved."""


class LineErrors(NamedTuple):
    """Characters that came without a stop bit, or with wrong parity, and those that the driver has lost."""

    framing: int = 0
    parity: int = 0
    overrun: int = 0

    def since(self, before: LineErrors) -> LineErrors:
        """Those that came after ``before``; the counts of some drivers go around."""
        return LineErrors(*(max(0, now - then) for now, then in zip(self, before, strict=True)))


def counted(file: int) -> LineErrors | None:
    """The counts of an open port since its driver was loaded; None where it does not count: pseudo-terminals, some
    adapters."""
    try:
        counts = _COUNTS.unpack(fcntl.ioctl(file, _TIOCGICOUNT, bytes(_COUNTS.size)))
    except OSError:
        return None
    return LineErrors(framing=counts[6], parity=counts[8], overrun=counts[7] + counts[10])
