"""A line between an uplink and its cloud, on the loop of the test; ``e2e/rig/proxy.py`` has one for processes."""

from __future__ import annotations

import asyncio
from typing import Self

from uplinks.bench import until


class Proxy:
    """Passes bytes on to a port of this machine, and cuts the line when told to."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self._target = target
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._lines = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        await asyncio.sleep(0.005)
        self._server.close()
        self.cut()
        await until(lambda: not self._lines)

    def cut(self) -> None:
        """Reset both sides of every connection; what is in the buffers is lost."""
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._lines += 1
        self._writers.add(writer)
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target)
            self._writers.add(up_writer)
            await asyncio.gather(self._pass(reader, up_writer), self._pass(up_reader, writer))
            self._writers.discard(up_writer)
        except OSError:
            writer.transport.abort()
        finally:
            self._writers.discard(writer)
            self._lines -= 1

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
        except ConnectionError:
            pass
        finally:
            writer.transport.abort() if writer.transport.is_closing() else writer.close()
