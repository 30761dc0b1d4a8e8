"""The local control socket: how ``gateway status`` and other commands speak with the running daemon.

A Unix socket in the state folder, readable by the gateway's user only. One JSON object a line in, one a line
out: ``{"command": "status"}`` answers ``{"ok": true, "result": {...}}``. Requests are small and rare.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from gateway.errors import GatewayError

SOCKET_NAME: Final = "control.sock"
MAX_REQUEST: Final = 64 << 10
IDLE_SECONDS: Final = 30.0
MAX_CLIENTS: Final = 16

Command = Callable[[Mapping[str, Any]], Awaitable[Any]]


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
    """Answers requests from ``commands``: name -> function of the request."""

    def __init__(self, folder: Path, commands: Mapping[str, Command]) -> None:
        self._folder = folder
        self._commands = commands
        self._clients = 0

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

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients += 1
        try:
            while self._clients <= MAX_CLIENTS:
                async with asyncio.timeout(IDLE_SECONDS):
                    line = await reader.readline()
                    if not line:
                        return
                    writer.write(json.dumps(await self._answer(line), default=str).encode() + b"\n")
                    await writer.drain()
        except (OSError, ValueError, TimeoutError):
            pass  # a client that left, sent a line without end, or fell asleep is its own affair
        finally:
            self._clients -= 1
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            command = self._commands[request["command"]]
        except (ValueError, KeyError, TypeError):
            return {"ok": False, "error": "unknown request; known commands: " + ", ".join(sorted(self._commands))}
        try:
            return {"ok": True, "result": await command(request)}
        except GatewayError as error:
            return {"ok": False, "error": str(error)}


def ask(folder: Path, command: str, timeout: float = 5.0, **arguments: Any) -> Any:
    """Send one request to the gateway whose state is in ``folder`` and return its result.

    Raises NotRunning when nobody answers, GatewayError when the gateway says no.
    """
    try:
        with _short_path(folder) as short, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(timeout)
            client.connect(short)
            client.sendall(json.dumps({"command": command, **arguments}).encode() + b"\n")
            with client.makefile("rb") as answer:
                line = answer.readline()
    except OSError as error:
        raise NotRunning(f"no gateway answers in {folder} ({error.strerror or error}); is it running?") from None
    if not line:
        raise NotRunning(f"the gateway in {folder} closed the connection")
    reply = json.loads(line)
    if not reply["ok"]:
        raise GatewayError(reply["error"])
    return reply["result"]
