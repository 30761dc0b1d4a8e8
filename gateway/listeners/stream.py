"""One connected socket in the pool: bytes in, bytes out, half-close and end. It knows nothing of what they mean.

Everything is non-blocking. What the system does not take at once is kept here, and whoever writes is told to stop
until it has gone. ``Pool`` says when there is something to read and when there is room.
"""

from __future__ import annotations

import contextlib
import select
import socket
from typing import TYPE_CHECKING, Final

from gateway.listeners import system
from gateway.native import mypyc_attr

if TYPE_CHECKING:
    from gateway.listeners.pool import Pool

READ: Final = system.SMALL
READ_LARGE: Final = 64 << 10
"""Bytes asked for in one read. The packets of a client that is not in a hurry fit the first; from one that fills it,
the rest is read at once, and much the next time."""

_read: Final = system.read
_write: Final = system.write

IN: Final = int(select.EPOLLIN)
OUT: Final = int(select.EPOLLOUT)


@mypyc_attr(allow_interpreted_subclasses=True)
class Stream:
    """See the module's docstring. A subclass says what happens with data, with room, and at the end.

    fd      its number while it is open
    closed  it is out of the pool; ``on_lost`` has been or will be called
    is_new  what it brings next is much work: few such are served in one turn
    """

    __slots__ = ("_ends", "_interest", "_pool", "_size", "_socket", "_unsent", "closed", "fd", "is_new")

    def __init__(self, pool: Pool, sock: socket.socket) -> None:
        self._pool = pool
        self._socket = sock
        self._size = READ
        self._unsent = b""
        self._ends = False
        self._interest = IN
        self.fd = sock.fileno()
        self.closed = False
        self.is_new = False

    # -- for subclasses --------------------------------------------------------------------------------------

    def on_data(self, data: bytes) -> None:
        """Something has come."""
        raise NotImplementedError

    def on_room(self, room: bool) -> None:
        """False: the system takes no more, write nothing. True: it does again."""
        raise NotImplementedError

    def on_lost(self) -> None:
        """It is over, whoever ended it. Called once."""
        raise NotImplementedError

    def flush(self) -> None:
        """Write what is queued; the pool calls it at the end of the turn that asked for it."""
        raise NotImplementedError

    # -- out ---------------------------------------------------------------------------------------------------

    @property
    def unsent(self) -> int:
        """Bytes that the system did not take yet."""
        return len(self._unsent)

    def write(self, data: bytes) -> None:
        """Send ``data``; the rest of it waits here, after what waits already."""
        if self.closed:
            return
        if self._unsent:
            self._unsent += data
            return
        try:
            sent = _write(self.fd, data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self.abort()
            return
        if sent < len(data):
            self._unsent = data[sent:]
            self._watch(self._interest | OUT)
            self.on_room(False)

    def writable(self) -> None:
        """The system takes more; for the pool."""
        try:
            sent = _write(self.fd, self._unsent)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.abort()
            return
        self._unsent = self._unsent[sent:]
        if self._unsent:
            return
        self._watch(self._interest & ~OUT)
        if self._ends:
            self._half_close()
        self.on_room(True)

    def end_output(self) -> None:
        """Nothing follows what was written: the other side reads the end of the stream after it."""
        self._ends = True
        if not self._unsent:
            self._half_close()

    def _half_close(self) -> None:
        with contextlib.suppress(OSError):  # the other side is gone already
            self._socket.shutdown(socket.SHUT_WR)

    # -- in ----------------------------------------------------------------------------------------------------

    def readable(self) -> None:
        """There is something to read; for the pool. One read: others are waiting too."""
        size = self._size
        try:
            data = _read(self.fd, size)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.abort()
            return
        if data:
            if len(data) < READ:
                self._size = READ
            elif size == READ:
                self._size = READ_LARGE
                data = self._read_on(data)
            self._pool.received += len(data)
            self.on_data(data)
        else:
            # Whatever this turn has to say to it is written first: it may have closed one direction only.
            self.pause()
            self._pool.end_after_flush(self)

    def _read_on(self, data: bytes) -> bytes:
        """``data`` and what is behind it."""
        try:
            return data + _read(self.fd, READ_LARGE)
        except OSError:
            # Nothing more now, or an error that the next read meets again.
            return data

    def broken(self) -> None:
        """Both directions are shut; for the pool. What may be left to read comes first."""
        if self._interest & IN:
            self.readable()
        else:
            self.abort()

    def pause(self) -> None:
        """Read nothing until ``resume``: what comes stays with the system, and then with the sender."""
        self._watch(self._interest & ~IN)

    def resume(self) -> None:
        self._watch(self._interest | IN)

    def _watch(self, interest: int) -> None:
        if interest != self._interest and not self.closed:
            self._interest = interest
            self._pool.watch(self, interest)

    # -- the end -----------------------------------------------------------------------------------------------

    def abort(self) -> None:
        """Close now, whatever is under way; ``on_lost`` follows in this turn of the pool."""
        if not self.closed:
            self.closed = True
            self._pool.leave(self)
            self._socket.close()
