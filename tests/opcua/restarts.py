"""M10: a server is killed at random times, and the client must be back with everything: ``python -m opcua.restarts``.

After each start of the server: how long until every point has a new value, how many sessions and subscriptions the
server counts, how much memory the client holds.

    PYTHONPATH=.:tests python -m opcua.restarts --rounds 100
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import statistics
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from connectors.fakes import FakePort
from e2e.rig.waiting import free_port
from gateway.clock import Clock
from gateway.connectors.base import Connector
from gateway.connectors.opcua.config import OpcuaDevice, OpcuaPoint
from gateway.connectors.opcua.connector import OpcuaConnector
from gateway.message import Value
from gateway.metrics import Metrics
from gateway.supervise import Supervised

POINTS = 200
LATEST = 15.0
"""Seconds within which everything must be back (M10)."""


class Round(NamedTuple):
    """What one restart showed: seconds until all points were back, what the server counts, the client's memory."""

    seconds: float
    server: str
    resident: float


class Server:
    """The server as a process, and the one that will follow it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._process: asyncio.subprocess.Process | None = None
        self._next: asyncio.subprocess.Process | None = None

    async def _spawn(self) -> asyncio.subprocess.Process:
        root = Path(__file__).parents[2]
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "opcua.server", str(self.port), str(POINTS), "standby", cwd=root / "tests",
            env={"PYTHONPATH": f"{root}:{root / 'tests'}", "PATH": "/usr/bin:/bin"},
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def prepare(self) -> None:
        """Wait until the next one could listen."""
        if self._next is None:
            self._next = await self._spawn()
            assert await _line(self._next) == "ready"

    async def start(self) -> None:
        """Listen."""
        await self.prepare()
        self._process, self._next = self._next, None
        await self.ask()

    async def ask(self) -> str:
        """What it counts; "up" the first time."""
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(b"?\n")
        return await _line(self._process)

    async def kill(self) -> None:
        """End it, without a word to its clients."""
        await _kill(self._process)
        self._process = None

    async def close(self) -> None:
        """End both."""
        await self.kill()
        await _kill(self._next)
        self._next = None


async def _line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(60):
        return (await process.stdout.readline()).decode().strip()


async def _kill(process: asyncio.subprocess.Process | None) -> None:
    if process is not None:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


def resident_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


class Client:
    """The connector, kept alive as the gateway does it."""

    def __init__(self, port: int) -> None:
        points = tuple(
            OpcuaPoint(name=f"n{n}", node=f"nsu=urn:plant;s=N{n}", poll=0.5 if n % 2 else 1.0) for n in range(POINTS)
        )
        device = OpcuaDevice(url=f"opc.tcp://127.0.0.1:{port}", point=points)
        self.port = FakePort()
        self.port.keep = 0
        self.connector: Connector = OpcuaConnector("dev", device, self.port)
        self._task: asyncio.Task[Any] | None = None

    def start(self) -> None:
        kept = Supervised(
            "device", "dev", self.connector.run, random=random.Random(1).random, metrics=Metrics(), now=Clock().now
        )
        self._task = asyncio.create_task(kept.supervise())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def values(self) -> dict[str, Value]:
        return {name: sample.value for name, sample in self.port.last.items() if self.port.good(name)}


async def rounds(count: int, chance: random.Random, say: Any = None) -> list[Round]:
    """Restart the server so many times, at random moments and for random whiles."""
    server, clock = Server(free_port()), Clock()
    client = Client(server.port)
    found: list[Round] = []
    await server.start()
    client.start()
    try:
        for number in range(count + 1):
            if number:
                await asyncio.sleep(chance.uniform(0.0, 2.0))
                await server.prepare()
                await server.kill()
                client.port.last.clear()
                await asyncio.sleep(chance.choice([0.0, 0.2, 1.0, 3.0]))
                await server.start()
            since = clock.now()
            async with asyncio.timeout(60):
                while len(client.values()) < POINTS:
                    client.port.changed.clear()
                    await client.port.changed.wait()
            seconds = clock.now() - since
            gc.collect()
            if number:
                found.append(Round(seconds, await server.ask(), resident_mb()))
                if say is not None:
                    say(f"{number:4}  back after {seconds:5.2f} s  {found[-1].server}  {found[-1].resident:.1f} MB")
    finally:
        await client.stop()
        await server.close()
    return found


def judge(found: Sequence[Round]) -> list[str]:
    """What is not as it must be."""
    wrong = [f"round {n}: back after {one.seconds:.1f} s" for n, one in enumerate(found, 1) if one.seconds > LATEST]
    wanted = f"sessions 1 subscriptions 2 items {POINTS}"
    wrong += [f"round {n}: {one.server}" for n, one in enumerate(found, 1) if one.server != wanted]
    half = len(found) // 2
    if half >= 20:
        growth = statistics.median(one.resident for one in found[-10:]) - found[half].resident
        if growth > 1.0:
            wrong.append(f"memory grew by {growth:.1f} MB in the second half")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    found = asyncio.run(rounds(args.rounds, random.Random(args.seed), print))
    seconds = sorted(one.seconds for one in found)
    print(  # noqa: T201
        f"{len(found)} restarts: back after {statistics.median(seconds):.2f} s (median), {seconds[-1]:.2f} s (latest); "
        f"memory {found[0].resident:.1f} -> {found[-1].resident:.1f} MB"
    )
    wrong = judge(found)
    print("\n".join(wrong) or "as it must be")  # noqa: T201
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
