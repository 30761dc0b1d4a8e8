"""All connected sockets on one epoll set of our own: one turn reads what is there, acts on it, and answers once.

asyncio would take a callback, a handle and a turn of its machinery for every packet. Here a turn asks the system once
which sockets are ready, reads each of them once, and when all is routed writes each socket's output in one piece.

*Beside asyncio.* Under an ``EventLoop`` (``gateway/loop.py``) the pool is where the loop waits: asyncio's own set
stands in this one as a single descriptor, and messages pass without the loop turning at all. Under any other loop the
pool is shown to it as one descriptor. What another part publishes outside a turn leaves before the loop waits again.

It makes no decisions: ``moderation.py`` says how soon to look again, shells say what bytes mean.
"""

from __future__ import annotations

import asyncio
import select
from typing import Any, Final

from gateway.clock import Clock
from gateway.listeners.moderation import Moderator
from gateway.listeners.stream import IN, OUT, Stream
from gateway.listeners.system import poll_of
from gateway.loop import EventLoop
from gateway.mqtt.turn import Turn

FEW: Final = 42
MANY: Final = 1024
"""Sockets looked at in one turn; the others are first in the next. Room for the answer is made for each question: for
few it is at hand (512 bytes), so many are asked for only after few were found."""

NEWCOMERS: Final = 8
"""Of those, sockets that have yet to say who they are: CONNECT costs as much as a hundred messages, and however many
come at once, whoever is connected already is served in between."""

BROKEN: Final = int(select.EPOLLHUP | select.EPOLLERR)


class Pool:
    """See the module's docstring. Used between ``open`` and ``close``.

    turn    its clock is set at the beginning of each turn
    gather  see ``Moderator``

    received  bytes that streams have read in this turn
    stirred   set by the loop when a callback is scheduled: the pool must not wait on
    """

    __slots__ = (
        "_aside", "_at_a_time", "_clock", "_dirty", "_ending", "_epoll", "_flush_due", "_inner", "_is_inside", "_loop",
        "_lost", "_next_look", "_now", "_poll", "_poll_aside", "_streams", "_turn", "moderator", "received", "stirred",
    )  # fmt: skip

    def __init__(self, turn: Turn, clock: Clock, gather: float = 0.0) -> None:
        self._turn = turn
        self._clock = clock
        self.moderator = Moderator(gather)
        self._streams: dict[int, Stream] = {}
        self._dirty: list[Stream] = []
        self._ending: list[Stream] = []
        self._lost: list[Stream] = []
        self.received = 0
        self.stirred = False
        self._is_inside = False
        self._flush_due = False
        self._next_look = 0.0
        self._now = 0.0
        """When the last look found out, or the wait began; monotonic. The clock is read once for each wake-up."""
        self._inner = -1
        """The descriptor of asyncio's own set while that stands in ours."""
        self._loop: Any = None
        self._epoll: Any = None
        self._poll: Any = None
        """What the epoll set has found; bound once, for each wake-up asks."""
        self._at_a_time = FEW
        self._aside: Any = None
        self._poll_aside: Any = None

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take a place in ``loop``."""
        self._loop = loop
        self._epoll = select.epoll()
        self._poll = poll_of(self._epoll)
        if isinstance(loop, EventLoop):
            self._inner = loop.host(self)
        if self._inner >= 0:
            self._epoll.register(self._inner, IN)
            self._aside = select.epoll()
            self._aside.register(self._inner, IN)
            self._poll_aside = poll_of(self._aside)
        else:
            loop.add_reader(self._epoll.fileno(), self._on_ready)

    def close(self) -> None:
        """Leave the loop; every stream was ended before."""
        if self._epoll is None:
            return
        if self._inner >= 0:
            self._loop.leave()
            self._aside.close()
            self._inner = -1
        else:
            self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
        self._epoll = self._poll = self._poll_aside = None

    # -- streams -----------------------------------------------------------------------------------------------

    def enter(self, stream: Stream) -> None:
        """Serve this socket from here on."""
        self._streams[stream.fd] = stream
        self._epoll.register(stream.fd, IN)

    def watch(self, stream: Stream, interest: int) -> None:
        """For streams: wait for reading, writing, both or neither."""
        self._epoll.modify(stream.fd, interest)

    def leave(self, stream: Stream) -> None:
        """For streams: it is closed; it hears of it before the turn ends."""
        if self._streams.pop(stream.fd, None) is not None:
            self._epoll.unregister(stream.fd)
        self._lost.append(stream)
        self._soon()

    def end_after_flush(self, stream: Stream) -> None:
        """For streams: the other side sends nothing more."""
        self._ending.append(stream)
        self._soon()

    def add(self, stream: Stream) -> None:
        """Flush ``stream`` at the end of the turn; calling it twice costs one empty flush."""
        self._dirty.append(stream)
        if not self._is_inside:
            self._soon()

    def _soon(self) -> None:
        """Outside a turn: see that one comes. Where the loop waits in the pool, it comes anyway."""
        if not self._is_inside and self._inner < 0 and not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush_soon)

    # -- turns -------------------------------------------------------------------------------------------------

    def wait(self, timeout: float | None) -> bool:
        """Serve sockets until asyncio's own set has something (True), or until ``timeout`` seconds are over or a
        callback was scheduled (False). For ``EventLoop``."""
        self.stirred = False
        self._now = self._clock.now()
        end = -1.0 if timeout is None else self._now + timeout
        self._settle()
        while True:
            left = -1.0
            if self.stirred:
                left = 0.0
            elif end >= 0:
                left = max(0.0, end - self._now)
            pause = self._pause()
            if pause > 0:
                # Let more gather; what is asyncio's does not wait for it.
                if self._poll_aside(pause if left < 0 or pause < left else left, 1):
                    return True
                if 0 <= left <= pause:
                    return False
            if self._look(left):
                return True
            # A timer is late by the turn before at most.
            if self.stirred or (end >= 0 and self._now >= end):
                return False

    def _pause(self) -> float:
        """Seconds to let more gather; not above 0: none.

        A message waits for half of the time between two looks, and then for a turn as long as this one. So the time
        between them is shorter by two turns, and the half of ``gather`` is what a message takes in the middle.
        """
        if not self._next_look:
            return 0.0
        now = self._clock.now()
        return self._next_look - now - 2 * (now - self._now)

    def _on_ready(self) -> None:
        """A turn under a loop that is not ours."""
        self._look(0.0)
        pause = self._pause()
        if pause > 0:
            self._loop.remove_reader(self._epoll.fileno())
            self._loop.call_later(pause, self._look_again)

    def _look_again(self) -> None:
        if self._epoll is not None:
            self._loop.add_reader(self._epoll.fileno(), self._on_ready)

    def _look(self, timeout: float) -> bool:
        """One turn; negative: wait as long as it takes. Whether asyncio's own set has something."""
        found: list[tuple[int, int]] = self._poll(timeout, self._at_a_time)
        now = self._now = self._clock.now()
        if not found:
            return False
        self._at_a_time = MANY if len(found) >= FEW else FEW
        self._turn.now = now
        self._turn.time = self._clock.time_at(now)
        self._is_inside = True
        is_inner = False
        newcomers = 0
        streams = self._streams
        for fd, mask in found:
            stream = streams.get(fd)
            if stream is None:
                # Ours ends while it is served; the only one that is not ours is asyncio's.
                is_inner = is_inner or fd == self._inner
                continue
            if stream.is_new:
                newcomers += 1
                if newcomers > NEWCOMERS:
                    continue
            try:
                if mask & IN:
                    stream.readable()
                elif mask & BROKEN:
                    stream.broken()
                if mask & OUT and not stream.closed:
                    stream.writable()
            except Exception as error:
                self._failed(stream, error)
        self._settle()
        own = len(found) - is_inner
        if own:
            due = self.moderator.next_look(now, own, self.received)
            self._next_look = due if due > now else 0.0
            self.received = 0
        return is_inner

    def _settle(self) -> None:
        """Write what is queued, and say goodbye to those that are gone; each may lead to more of both."""
        self._is_inside = True
        while self._dirty or self._ending or self._lost:
            if self._dirty:
                dirty, self._dirty = self._dirty, []
                for stream in dirty:
                    try:
                        stream.flush()
                    except Exception as error:
                        self._failed(stream, error)
            if self._ending or self._lost:
                self._part()
        self._is_inside = False

    def _part(self) -> None:
        ending, self._ending = self._ending, []
        for stream in ending:
            stream.abort()
        lost, self._lost = self._lost, []
        for stream in lost:
            try:
                stream.on_lost()
            except Exception as bug:
                self._report(bug)

    def _flush_soon(self) -> None:
        self._flush_due = False
        self._settle()

    def _failed(self, stream: Stream, error: Exception) -> None:
        """A bug of ours: it is shown, and costs this connection only."""
        self._report(error)
        stream.abort()

    def _report(self, error: Exception) -> None:
        self._loop.call_exception_handler({"message": "a connection met a bug", "exception": error})
