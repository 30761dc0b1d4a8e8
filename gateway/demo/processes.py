"""Starts, kills and ends the gateways of the demo; each is a process of its own."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any, Final

from gateway.control import NotRunning, ask
from gateway.errors import GatewayError

START_SECONDS: Final = 20.0
STOP_SECONDS: Final = 8.0


class GatewayProcess:
    """``gateway run`` with one settings file; its log goes to a file beside it."""

    def __init__(self, folder: Path, settings: str) -> None:
        self.state = folder / "state"
        self.state.mkdir(parents=True)
        self._settings = folder / "gateway.toml"
        self._settings.write_text(settings)
        self.log = folder / "gateway.log"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it and wait until it answers. Raises GatewayError with the end of its log when it does not."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "gateway", "run", "--config", str(self._settings), "--state", str(self.state),
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START_SECONDS
        while loop.time() < deadline and self._process.returncode is None:
            if await self.status() is not None:
                return
            await asyncio.sleep(0.05)
        raise GatewayError(f"the gateway did not start; {self.log} ends with:\n{self._tail()}")

    def without_devices(self) -> None:
        """From the next start on, poll nothing: what is in the outbox goes out and nothing is added."""
        text = self._settings.read_text()
        start, end = text.index("[device."), text.index("[uplink.")
        self._settings.write_text(text[:start] + text[end:])

    async def status(self) -> dict[str, Any] | None:
        """What ``gateway status`` would show; None while nobody answers."""
        try:
            answer: dict[str, Any] = await asyncio.to_thread(ask, self.state, "status", 2.0)
            return answer
        except (NotRunning, GatewayError, OSError):
            return None

    async def kill(self) -> None:
        """SIGKILL: no warning, no last words."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def stop(self) -> int:
        """SIGTERM, and SIGKILL when that is not enough; the exit code."""
        process = self._process
        if process is None:
            return 0
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await process.wait()
            except TimeoutError:
                await self.kill()
        return process.returncode or 0

    def _tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-10:])
