"""3000 OPC-UA values a second by subscription from a server of other people (npm node-opcua), and none lost.

The nodes of the server count up once a second, all of them, so each value that is missing is seen. The client of this
project runs in a process that does nothing else, as in ``benchmarks.opcua``; values go as far as the port of a device.
It samples twice as fast as the values change: two clocks of one speed drift, and then it is the server that passes over
a value. Beside it a plain asyncua subscription to the same nodes, as its documentation shows one.

    PYTHONPATH=.:tests python -m benchmarks.opcua_peer --points 3000 --seconds 30

Needs node and npm's node-opcua, in .venv/peers as for the tests, or where NODE_PATH says. Ends with 1 when one is lost.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from time import process_time
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
ENVIRONMENT: Final = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
SERVER: Final = ROOT / "tests" / "peers" / "opcua_counting_server.js"

NODE: Final = {"NODE_PATH": str(ROOT / ".venv" / "peers" / "node_modules"), **ENVIRONMENT}

RATE: Final = 0.5
"""Seconds of sampling and of the subscription."""

SETTLE: Final = 3.0
"""Seconds between the first value of the last point and the measurement."""


class Count:
    """What came of each point: ``values``, and the numbers that were ``skipped``."""

    def __init__(self) -> None:
        self.last: dict[Any, float] = {}
        self.values = 0
        self.skipped = 0
        self.repeated = 0
        self._wanted = -1
        self._complete = asyncio.Event()

    def took(self, point: Any, value: float) -> None:
        before = self.last.get(point)
        self.last[point] = value
        if before is None:
            if len(self.last) == self._wanted:
                self._complete.set()
            return
        self.values += 1
        self.skipped += max(0, round(value - before) - 1)
        self.repeated += value <= before

    async def measured(self, points: int, seconds: float) -> dict[str, float]:
        """Once all points are there: what came in so many seconds, and the processor time of this process."""
        self._wanted = points
        if len(self.last) < points:
            await self._complete.wait()
        await asyncio.sleep(SETTLE)
        self.values = self.skipped = self.repeated = 0
        used, loop = process_time(), asyncio.get_running_loop()
        since = loop.time()
        await asyncio.sleep(seconds)
        passed, used = loop.time() - since, process_time() - used
        return {
            "values_per_second": self.values / passed,
            "skipped": self.skipped,
            "repeated": self.repeated,
            "cpu_percent": 100 * used / passed,
            "cpu_us_per_value": 1e6 * used / max(1, self.values),
            "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }


async def ours(port: int, points: int, seconds: float) -> dict[str, float]:
    """The client of this project."""
    from connectors.fakes import FakePort
    from gateway.connectors.base import Sample
    from gateway.connectors.opcua.config import OpcuaDevice, OpcuaPoint
    from gateway.connectors.opcua.connector import OpcuaConnector

    count = Count()

    class CountingPort(FakePort):
        def emit(self, samples: Sequence[Sample]) -> None:
            for sample in samples:
                if isinstance(sample.value, float):
                    count.took(sample.point, sample.value)

    settings = tuple(OpcuaPoint(name=f"n{n}", node=f"ns=1;s=N{n}") for n in range(points))
    config = OpcuaDevice(url=f"opc.tcp://127.0.0.1:{port}", timeout=30.0, poll=RATE, point=settings)
    task = asyncio.create_task(OpcuaConnector("dev", config, CountingPort()).run(lambda: None))
    try:
        return await count.measured(points, seconds)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def plain(port: int, points: int, seconds: float) -> dict[str, float]:
    """asyncua alone."""
    from asyncua import ua as names
    from asyncua.client.client import Client

    ua: Any = names

    count = Count()

    class Handler:
        def datachange_notification(self, node: Any, value: float, data: Any) -> None:
            count.took(node.nodeid, value)

    async with Client(f"opc.tcp://127.0.0.1:{port}", timeout=30.0) as client:
        subscription: Any = await client.create_subscription(RATE * 1000, Handler())
        nodes = [client.get_node(ua.NodeId(f"N{n}", 1)) for n in range(points)]
        for at in range(0, points, 500):
            await subscription.subscribe_data_change(nodes[at : at + 500], sampling_interval=RATE * 1000)
        return await count.measured(points, seconds)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        number: int = found.getsockname()[1]
        return number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=3000)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--part", choices=("ours", "plain"))
    parser.add_argument("--port", type=int, default=0)
    args = parser.parse_args()
    if args.part:
        part = ours if args.part == "ours" else plain
        print(json.dumps(asyncio.run(part(args.port, args.points, args.seconds))))
        return
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(
            ["node", str(SERVER), str(port), str(args.points), folder],
            stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True, env=NODE,
        )  # fmt: skip
        try:
            assert server.stdout is not None
            if not server.stdout.readline().startswith("up"):
                sys.exit("no server: this needs node and npm's node-opcua in NODE_PATH")
            missing = 0.0
            for name in ("ours", "plain"):
                command = [sys.executable, "-m", "benchmarks.opcua_peer", "--part", name, "--port", str(port)]
                command += ["--points", str(args.points), "--seconds", str(args.seconds)]
                done = subprocess.run(command, env=ENVIRONMENT, stdout=subprocess.PIPE, timeout=600, check=True)
                found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
                print(
                    f"{name:5}: {found['values_per_second']:.0f} values/s, {found['skipped']:.0f} lost, "
                    f"{found['repeated']:.0f} repeated; {found['cpu_percent']:.1f} % of a core, "
                    f"{found['cpu_us_per_value']:.1f} us a value, {found['memory_mb']:.0f} MB"
                )
                missing += found["skipped"] if name == "ours" else 0
        finally:
            server.kill()
            server.communicate()
    sys.exit(1 if missing else 0)


if __name__ == "__main__":
    main()
