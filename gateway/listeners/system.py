"""What a turn of the pool asks of the system: which sockets are ready, what has come on one, and to send on one.

With the compiled wheel it is ``_system.pyx``, which lets other threads run only where the system waits; else it is
what the interpreter has. Both raise the same errors.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable

Poll = Callable[[float, int], list[tuple[int, int]]]
"""Descriptors and their masks; takes the longest wait in seconds (negative: no end) and how many at most."""

SMALL: int = 448
"""Bytes to ask for where little is expected: room for them is made first, and small room is at hand."""

# A socket's own recv and send say the same and cost twice as many instructions: they look themselves up by name, read
# their arguments by a format, and ask for a time limit.
read: Callable[[int, int], bytes] = os.read
"""Bytes that have come on a descriptor, at most so many; none: the other side has ended. Raises OSError."""

write: Callable[[int, bytes], int] = os.write
"""How many bytes of these the system took. Raises OSError."""


def poll_of(epoll: select.epoll) -> Poll:
    """What asks this set."""
    return _system.poll_of(epoll) if _system is not None else epoll.poll


try:
    from gateway.listeners import _system
except ImportError:
    _system = None  # type: ignore[assignment]
else:
    SMALL, read, write = _system.SMALL, _system.read, _system.write
