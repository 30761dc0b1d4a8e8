"""The local control socket: how ``gateway status`` and other commands speak with the running daemon.

A Unix socket in the state folder, readable by the gateway's user only. One JSON object a line in, one a line
out: ``{"command": "status"}`` answers ``{"ok": true, "result": {...}}``. Requests are small and rare.

A stream answers with many lines, ``{"ok": true, "line": ...}``, until it is over or the reader leaves; then
``{"ok": true, "result": {"lost": 0}}`` says how many lines a reader that was too slow has missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import os
import socket
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from gateway.errors import GatewayError
from gateway.feed import Feed

SOCKET_NAME: Final = "control.sock"
MAX_REQUEST: Final = 64 << 10
IDLE_SECONDS: Final = 30.0
MAX_CLIENTS: Final = 16

Command = Callable[[Mapping[str, Any]], Any]
"""Takes the request; returns the result, or an awaitable of it. Raises GatewayError to say no."""

Stream = Callable[[Mapping[str, Any], Callable[[Any], None], Callable[[], None]], Callable[[], None]]
"""Takes the request, what to call with each line, and what to call at the end; returns what stops it.

Raises GatewayError to say no.
"""


class NotRunning(GatewayError):
    """No gateway answers on the control socket."""


@contextlib.contextmanager
def _short_path(folder: Path) -> Iterator[str]:
    """A path to the socket that fits the 108 bytes of ``sun_path`` (unix(7)) however deep the folder lies."""
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{fd}/{SOCKET_NAME}"
    finally:
        os.close(fd)


class ControlServer:
    """Answers requests from ``commands`` and ``streams``: name -> function of the request."""

    def __init__(
        self, folder: Path, commands: Mapping[str, Command], streams: Mapping[str, Stream] | None = None
    ) -> None:
        self._folder = folder
        self._commands = commands
        self._streams = streams or {}
        self._clients: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}

    async def run(self, up: Callable[[], None]) -> None:
        """Bind, answer, and remove the socket at the end."""
        path = self._folder / SOCKET_NAME
        path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with _short_path(self._folder) as short:
            listening.bind(short)
        os.chmod(path, 0o600)
        server = await asyncio.start_unix_server(self._serve, sock=listening, limit=MAX_REQUEST)
        up()
        try:
            await asyncio.Event().wait()
        finally:
            server.close()
            path.unlink(missing_ok=True)
            await self._hang_up()

    async def _hang_up(self) -> None:
        """End what is still open. Their tasks see the end of the line; a cancelled one would be logged as an error."""
        tasks = [task for task in self._clients.values() if task is not None]
        for writer in self._clients:
            writer.transport.abort()
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients[writer] = asyncio.current_task()
        try:
            while len(self._clients) <= MAX_CLIENTS:
                async with asyncio.timeout(IDLE_SECONDS):
                    line = await reader.readline()
                    if not line:
                        return
                    wanted = self._stream_of(line)
                    if wanted is None:
                        await _write(writer, await self._answer(line))
                if wanted is not None:
                    await _pour(*wanted, reader, writer)
                    return
        except (OSError, ValueError, TimeoutError):
            pass  # a client that left, sent a line without end, or fell asleep is its own affair
        finally:
            del self._clients[writer]
            writer.close()

    def _stream_of(self, line: bytes) -> tuple[Stream, Mapping[str, Any]] | None:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            request = json.loads(line)
            return self._streams[request["command"]], request
        return None

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            command = self._commands[request["command"]]
        except (ValueError, KeyError, TypeError):
            return {"ok": False, "error": "unknown request; known commands: " + ", ".join(self._known())}
        try:
            result = command(request)
            return {"ok": True, "result": await result if inspect.isawaitable(result) else result}
        except GatewayError as error:
            return {"ok": False, "error": str(error)}

    def _known(self) -> list[str]:
        return sorted({*self._commands, *self._streams})


async def _write(writer: asyncio.StreamWriter, reply: dict[str, Any]) -> None:
    """One line. Raises TimeoutError for a reader that takes nothing."""
    writer.write(json.dumps(reply, default=str).encode() + b"\n")
    async with asyncio.timeout(IDLE_SECONDS):
        await writer.drain()


async def _departure(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(OSError):
        await reader.read(1)


async def _pour(
    stream: Stream, request: Mapping[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Everything that the stream gives, to the end of it or of the reader."""
    feed = Feed()
    try:
        stop = stream(request, feed.put, feed.end)
    except GatewayError as error:
        await _write(writer, {"ok": False, "error": str(error)})
        return
    # The reader has nothing more to say; what comes from it is its end.
    leaving = asyncio.ensure_future(_departure(reader))
    leaving.add_done_callback(lambda _: feed.end())
    try:
        async for line in feed:
            await _write(writer, {"ok": True, "line": line})
    finally:
        leaving.cancel()
        stop()
    await _write(writer, {"ok": True, "result": {"lost": feed.lost}})


def _replies(folder: Path, timeout: float | None, request: dict[str, Any]) -> Generator[dict[str, Any], None, None]:
    """Send a request; the replies one after the other. Raises NotRunning, and GatewayError when the answer is no."""
    try:
        with _short_path(folder) as short, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(timeout)
            client.connect(short)
            client.sendall(json.dumps(request).encode() + b"\n")
            with client.makefile("rb") as answer:
                for line in answer:
                    reply = json.loads(line)
                    if not reply["ok"]:
                        raise GatewayError(reply["error"])
                    yield reply
    except OSError as error:
        raise NotRunning(f"no gateway answers in {folder} ({error.strerror or error}); is it running?") from None
    raise NotRunning(f"the gateway in {folder} closed the connection")


def follow(folder: Path, command: str, **arguments: Any) -> Generator[dict[str, Any], None, None]:
    """Open a stream: each line as ``{"line": ...}``, and at its end ``{"result": {"lost": n}}``.

    Raises NotRunning when nobody answers, or the gateway ends first; GatewayError when the gateway says no.
    """
    with contextlib.closing(_replies(folder, None, {"command": command, **arguments})) as replies:
        for reply in replies:
            yield reply
            if "result" in reply:
                return


def ask(folder: Path, command: str, timeout: float = 5.0, **arguments: Any) -> Any:
    """Send one request to the gateway whose state is in ``folder`` and return its result.

    Raises NotRunning when nobody answers, GatewayError when the gateway says no.
    """
    with contextlib.closing(_replies(folder, timeout, {"command": command, **arguments})) as replies:
        return next(replies)["result"]
