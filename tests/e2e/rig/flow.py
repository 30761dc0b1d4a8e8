"""One direction of one connection through the fault proxy: what has come, and when it may go on.

Loss is a model of what TCP makes of it, since a proxy cannot lose bytes of a stream: a lost segment comes after its
retransmission timeout, which doubles with each further loss (RFC 6298 section 5.5), and all segments behind it wait.
Fast retransmit and the window of the sender are left out, which makes a bad line a little worse than it is.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import Final

CHUNK: Final = 65_536

SEGMENT: Final = 1448
"""Payload of a TCP segment on Ethernet with timestamps."""

TIMEOUT: Final = 0.2
"""Shortest retransmission timeout of Linux, in seconds."""

MOST_HELD: Final = 1 << 20
"""Bytes that may be under way: past it nothing is read, and the sender's own buffers fill."""


class Weather:
    """The line in one direction; both flows of a connection have one of their own, all connections share it.

    delay     seconds that everything takes
    loss      part of the segments that are lost, 0 to 1
    is_open   set: bytes pass; clear: they wait
    left      bytes that may still pass until all connections are reset; None: no end
    passed    bytes that have passed so far, over all connections
    """

    def __init__(self, source: random.Random) -> None:
        self.delay = 0.0
        self.loss = 0.0
        self.left: int | None = None
        self.passed = 0
        self.is_open = asyncio.Event()
        self.is_open.set()
        self._source = source

    def heal(self) -> None:
        """As at the beginning. What is under way keeps the time it has."""
        self.delay = self.loss = 0.0
        self.left = None
        self.is_open.set()

    @property
    def is_fair(self) -> bool:
        """Whether bytes may pass at once."""
        return not self.delay and not self.loss

    def travel(self) -> float:
        """Seconds that one segment takes."""
        seconds, timeout = self.delay, TIMEOUT
        while self.loss and self._source.random() < self.loss:
            seconds += timeout
            timeout *= 2
        return seconds


class Flow:
    """Bytes from ``reader`` to ``writer``, in order.

    frozen  set by the proxy: nothing passes any more, whatever the weather, and nothing is read
    on_end  called when the weather's ``left`` is used up
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        weather: Weather,
        on_end: Callable[[], None],
    ) -> None:
        self.frozen = False
        self.writer = writer
        self._reader = reader
        self._weather = weather
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._under_way: deque[tuple[float, bytes]] = deque()
        self._held = 0
        self._last = 0.0
        self._changed = asyncio.Event()

    async def take(self) -> None:
        """Read until the end of the stream. Raises OSError when the sender is gone."""
        while True:
            data = await self._reader.read(CHUNK)
            if self.frozen:
                await asyncio.Event().wait()
            step = len(data) if self._weather.is_fair else SEGMENT
            for start in range(0, len(data) or 1, step or 1):
                # A segment never overtakes another.
                self._last = max(self._last, self._loop.time() + self._weather.travel())
                self._under_way.append((self._last, data[start : start + step]))
            self._held += len(data)
            self._changed.set()
            if not data:
                return
            while self._held > MOST_HELD:
                self._changed.clear()
                await self._changed.wait()

    async def give(self) -> None:
        """Pass on what was read, and the end. Raises OSError when the receiver is gone."""
        while True:
            while not self._under_way:
                self._changed.clear()
                await self._changed.wait()
            due, data = self._under_way.popleft()
            if due > self._loop.time():
                await asyncio.sleep(due - self._loop.time())
            await self._weather.is_open.wait()
            if self.frozen:
                await asyncio.Event().wait()
            if not data:
                self.writer.write_eof()
                return
            self._write(data)
            await self.writer.drain()
            self._held -= len(data)
            self._changed.set()

    def _write(self, data: bytes) -> None:
        weather = self._weather
        if weather.left is not None:
            data = data[: weather.left]
            weather.left -= len(data)
        weather.passed += len(data)
        self.writer.write(data)
        if weather.left == 0:
            weather.left = None
            self._on_end()
