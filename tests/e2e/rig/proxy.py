"""A TCP proxy that can be told to fail: the network between the gateway and its cloud.

Runs an event loop in a thread; the verbs are called from the test and take effect before they return. *Up* is from
the side that connects to the side that listens.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final

from e2e.rig.flow import SEGMENT, Flow, Weather

SEGMENTS: Final = slice(136, 144)
"""tcpi_segs_out and tcpi_segs_in in struct tcp_info (linux/tcp.h): two numbers of four bytes."""

HEADERS: Final = 52
"""Bytes of a segment that are no payload: IPv4 20, TCP 20, timestamps 12."""


class FaultProxy:
    """Listens on ``port``, passes everything to 127.0.0.1:``target`` until told otherwise.

    seed         of the random numbers that say which segments are lost
    connections  accepted so far
    """

    def __init__(self, target: int, seed: int = 0) -> None:
        self.connections = 0
        self._target = target
        self._resets = False
        self._joined: dict[asyncio.Task[None], tuple[Flow, ...]] = {}
        self._segments = 0
        self._listening: socket.socket | None = None
        self._loop = asyncio.new_event_loop()
        source = random.Random(seed)
        self._up, self._down = Weather(source), Weather(source)
        self._end = asyncio.Event()
        listening = _listening()
        self.port: int = listening.getsockname()[1]
        self._thread = threading.Thread(target=self._run, args=(listening,), daemon=True)
        self._thread.start()

    def reset(self) -> None:
        """RST on every connection; new ones are accepted."""
        self._call(self._reset_all)

    def cut(self) -> None:
        """RST on every connection and on every new one, until ``heal``."""
        self._call(self._cut)

    def refuse(self) -> None:
        """RST on every connection; nobody listens, until ``heal``: new ones are refused."""
        self._call(self._refuse)

    def black_hole(self, up: bool = True, down: bool = True) -> None:
        """Connections stay open and new ones are accepted, but not one byte passes, until ``heal``."""
        for weather, is_meant in ((self._up, up), (self._down, down)):
            if is_meant:
                self._call(weather.is_open.clear)

    def half_open(self) -> None:
        """On the connections that there are no byte passes any more and no end, for ever. New ones are good."""
        self._call(self._freeze)

    def delay(self, seconds: float) -> None:
        """Everything takes so long in each direction, until ``heal``."""
        self._call(lambda: self._change("delay", seconds))

    def lose(self, part: float) -> None:
        """So many of the segments are lost in each direction, 0 to 1, until ``heal``; see ``flow``."""
        self._call(lambda: self._change("loss", part))

    def truncate(self, after: int) -> None:
        """RST on every connection when so many more bytes have gone up: in the middle of a packet, mostly."""
        self._call(lambda: setattr(self._up, "left", after))

    def heal(self) -> None:
        """Everything passes again, but for connections that are half open."""
        self._call(self._heal)

    @property
    def passed(self) -> tuple[int, int]:
        """Bytes that have gone up and down over all connections, without what TCP and IP add."""
        return self._up.passed, self._down.passed

    def on_the_wire(self) -> int:
        """Bytes up and down with the headers of IPv4 and TCP, acknowledgements too: by the kernel's counts of the
        segments of each connection of the connecting side."""
        found = [0]

        def count() -> None:
            found[0] = self._segments + sum(_segments(flows[1].writer) for flows in self._joined.values() if flows)

        self._call(count)
        return sum(self.passed) + found[0] * HEADERS

    def close(self) -> None:
        """Reset what is open and stop listening."""
        self._call(self._end.set)
        self._thread.join()

    def _call(self, verb: Callable[[], object]) -> None:
        done = threading.Event()

        def act() -> None:
            try:
                verb()
            finally:
                done.set()

        self._loop.call_soon_threadsafe(act)
        done.wait()

    def _cut(self) -> None:
        self._resets = True
        self._reset_all()

    def _refuse(self) -> None:
        if self._listening is not None:
            self._loop.remove_reader(self._listening)
            self._listening.close()
            self._listening = None
        self._reset_all()

    def _freeze(self) -> None:
        for flows in self._joined.values():
            for flow in flows:
                flow.frozen = True

    def _change(self, name: str, value: float) -> None:
        for weather in (self._up, self._down):
            setattr(weather, name, value)

    def _heal(self) -> None:
        self._resets = False
        self._up.heal()
        self._down.heal()
        if self._listening is None:
            self._listen(_listening(self.port))

    def _reset_all(self) -> None:
        for task, flows in self._joined.items():
            for flow in flows:
                _reset(flow.writer)
            task.cancel()

    def _run(self, listening: socket.socket) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve(listening))
        self._loop.close()

    async def _serve(self, listening: socket.socket) -> None:
        self._listen(listening)
        await self._end.wait()
        self._refuse()
        await asyncio.gather(*self._joined, return_exceptions=True)
        await asyncio.sleep(0)  # closed transports say so to the loop in its next pass

    def _listen(self, listening: socket.socket) -> None:
        self._listening = listening
        self._loop.add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        try:
            near, _ = listening.accept()
        except OSError:
            return  # it has left already
        near.setblocking(False)
        self.connections += 1
        task = self._loop.create_task(self._join(near))
        self._joined[task] = ()
        task.add_done_callback(self._joined.pop)

    async def _join(self, near: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=near)
        far_writer: asyncio.StreamWriter | None = None
        try:
            if self._resets:
                return
            await asyncio.sleep(self._up.travel())
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
            up = Flow(reader, far_writer, self._up, self._reset_all)
            down = Flow(far_reader, writer, self._down, self._reset_all)
            task = asyncio.current_task()
            assert task is not None, "this is one"
            self._joined[task] = (up, down)
            async with asyncio.TaskGroup() as group:
                for flow in (up, down):
                    group.create_task(flow.take())
                    group.create_task(flow.give())
            # Both ends have come and gone on: close in peace.
            writer.close()
            far_writer.close()
        except* OSError:
            pass
        finally:
            self._segments += _segments(writer)
            for one in (writer, far_writer):
                if one is not None and not one.is_closing():
                    _reset(one)

    def __enter__(self) -> FaultProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()


def _listening(port: int = 0) -> socket.socket:
    listening = socket.create_server(("127.0.0.1", port))
    # Segments as on Ethernet, not of 64 KiB as on loopback: so many are counted, and may be lost.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT + 12)
    listening.setblocking(False)
    return listening


def _segments(writer: asyncio.StreamWriter) -> int:
    """Segments that the kernel has sent and received on a connection; 0 when it is closed."""
    try:
        info = writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, SEGMENTS.stop)
    except OSError:
        return 0
    return sum(struct.unpack("II", info[SEGMENTS]))


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN (SO_LINGER with time 0, socket(7))."""
    connection = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
