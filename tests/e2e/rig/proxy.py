"""A TCP proxy that can be told to fail: the network between the gateway and its cloud.

Runs an event loop in a thread; the verbs are called from the test and take effect before they return.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType

CHUNK = 65_536


class FaultProxy:
    """Listens on ``port``, passes everything to 127.0.0.1:``target`` until told otherwise."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._refuses = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._flows = asyncio.Event()
        self._flows.set()
        self._end = asyncio.Event()
        listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = listening.getsockname()[1]
        self._thread = threading.Thread(target=self._run, args=(listening,), daemon=True)
        self._thread.start()

    def reset(self) -> None:
        """RST on every connection; new ones are accepted."""
        self._call(self._reset_all)

    def cut(self) -> None:
        """RST on every connection and on every new one, until ``heal``."""
        self._call(self._cut)

    def black_hole(self) -> None:
        """Connections stay open and new ones are accepted, but not one byte passes, until ``heal``."""
        self._call(self._flows.clear)

    def heal(self) -> None:
        """Everything passes again."""
        self._call(self._heal)

    def close(self) -> None:
        """Reset what is open and stop listening."""
        self._call(self._end.set)
        self._thread.join()

    def _call(self, verb: Callable[[], None]) -> None:
        done = threading.Event()

        def act() -> None:
            verb()
            done.set()

        self._loop.call_soon_threadsafe(act)
        done.wait()

    def _cut(self) -> None:
        self._refuses = True
        self._reset_all()

    def _heal(self) -> None:
        self._refuses = False
        self._flows.set()

    def _reset_all(self) -> None:
        for writer in list(self._writers):
            _reset(writer)

    def _run(self, listening: socket.socket) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve(listening))
        self._loop.close()

    async def _serve(self, listening: socket.socket) -> None:
        async with asyncio.TaskGroup() as connections:

            def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                tasks.add(connections.create_task(self._join(reader, writer)))

            tasks: set[asyncio.Task[None]] = set()
            server = await asyncio.start_server(accept, sock=listening)
            await self._end.wait()
            server.close()
            self._reset_all()
            for task in tasks:
                task.cancel()
        await asyncio.sleep(0)  # closed transports say so to the loop in its next pass

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuses:
            _reset(writer)
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            _reset(writer)
            return
        pair = {writer, far_writer}
        self._writers |= pair
        try:
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        finally:
            self._writers -= pair
            for one in pair:
                one.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(CHUNK):
                await self._flows.wait()
                writer.write(data)
                await writer.drain()
            writer.write_eof()
        except OSError:
            _reset(writer)

    def __enter__(self) -> FaultProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN (SO_LINGER with time 0, socket(7))."""
    connection = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
