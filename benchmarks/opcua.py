"""What OPC-UA costs: 3000 points at 1 s in CPU and memory, polled and subscribed, plain and encrypted; the server.

Client and server of this project are measured, each in a process of its own that does nothing else; the other side is
asyncua's server, in another process, whose nodes all change once a second. Values go as far as the port of a device:
deadband, JSON and broker are the same for every kind. Writes nothing but what it prints.

    PYTHONPATH=.:tests python -m benchmarks.opcua --points 3000 --seconds 20
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from time import monotonic, process_time
from types import SimpleNamespace
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
ENVIRONMENT: Final = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}


def resident_mb() -> float:
    """VmRSS of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise LookupError("no VmRSS")


async def client(port: int, points: int, seconds: float, mode: Any) -> dict[str, float]:
    """Be the client; what it cost."""
    import gateway.app  # noqa: F401  what a gateway has anyway
    from connectors.fakes import FakePort
    from gateway.kinds import runner

    before = resident_mb()
    kind = runner("device", "opcua")
    loaded = resident_mb()
    from gateway.connectors.opcua.config import OpcuaDevice, OpcuaPoint

    settings = tuple(OpcuaPoint(name=f"n{n}", node=f"nsu=urn:plant;s=N{n}") for n in range(points))
    fake = FakePort()
    fake.keep = 0
    made = kind("dev", OpcuaDevice(url=f"opc.tcp://127.0.0.1:{port}", mode=mode, point=settings), fake)
    task = asyncio.create_task(made.run(lambda: None))
    begun = monotonic()
    while len(fake.last) < points:
        fake.changed.clear()
        await fake.changed.wait()
    up = monotonic() - begun
    await asyncio.sleep(3)
    emitted, used, since = fake.emitted, process_time(), monotonic()
    await asyncio.sleep(seconds)
    passed = monotonic() - since
    found = {
        "cpu_percent": 100 * (process_time() - used) / passed,
        "values_per_second": (fake.emitted - emitted) / passed,
        "up_seconds": up,
        "library_mb": loaded - before,
        "points_mb": resident_mb() - loaded,
    }
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return found


async def listener(points: int, seconds: float) -> dict[str, float]:
    """Be the server, with every point changing once a second and one client that has subscribed to all of them."""
    import gateway.app  # noqa: F401
    from gateway.broker.broker import Broker
    from gateway.broker.retained import Retained
    from gateway.clock import Clock
    from gateway.config.opcua import OpcuaListener as Settings
    from gateway.listeners.base import Plant
    from gateway.message import Message
    from gateway.metrics import Metrics

    broker = Broker(Metrics(), Retained(10, 1000))
    before = resident_mb()
    from gateway.listeners.opcua import OpcuaListener

    settings = Settings(bind="127.0.0.1:0", topics=("plant/#",), security=("none",), anonymous=True)
    server: Any = SimpleNamespace(broker=broker, metrics=Metrics())
    none: Any = None
    made = OpcuaListener("scada", settings, server, Clock(), none, plant=Plant(Path("/nonexistent"), {}))
    up = asyncio.Event()
    task = asyncio.create_task(made.run(up.set))
    await up.wait()
    empty = resident_mb()

    async def change() -> None:
        value = 0.0
        while True:
            value += 1.0
            for number in range(points):
                reading = {"v": value, "q": "good", "t": "2026-11-21T05:29:06.123Z"}
                broker.publish(Message(f"plant/d{number % 50}/n{number}", value=reading))
            await asyncio.sleep(1.0)

    changing = asyncio.create_task(change())
    for _ in range(600):
        if made.status()["nodes"] >= points:
            break
        await asyncio.sleep(0.1)
    shown = resident_mb()
    port = made.bound[0].rpartition(":")[2]
    command = [sys.executable, "-m", "benchmarks.opcua", "--part", "reader", "--port", port, "--points", str(points)]
    reader = await asyncio.create_subprocess_exec(*command, env=ENVIRONMENT, stdout=asyncio.subprocess.PIPE)
    assert reader.stdout is not None
    await reader.stdout.readline()
    used, since = process_time(), monotonic()
    await asyncio.sleep(seconds)
    found = {
        "cpu_percent": 100 * (process_time() - used) / (monotonic() - since),
        "library_mb": empty - before,
        "kb_per_point": (shown - empty) * 1024 / points,
        "reader_mb": resident_mb() - shown,
    }
    reader.kill()
    await reader.communicate()
    for one in (changing, task):
        one.cancel()
        with suppress(asyncio.CancelledError):
            await one
    return found


async def reader(port: int, points: int) -> None:
    """A client of the listener: our own, in a process of its own."""
    from connectors.fakes import FakePort
    from gateway.connectors.opcua.config import OpcuaDevice, OpcuaPoint
    from gateway.connectors.opcua.connector import OpcuaConnector

    settings = tuple(
        OpcuaPoint(name=f"n{n}", node=f"nsu=urn:edge-gateway:points;s=plant/d{n % 50}/n{n}") for n in range(points)
    )
    fake = FakePort()
    fake.keep = 0
    made = OpcuaConnector("dev", OpcuaDevice(url=f"opc.tcp://127.0.0.1:{port}", timeout=30.0, point=settings), fake)
    task = asyncio.create_task(made.run(lambda: None))
    while len(fake.last) < points:
        fake.changed.clear()
        await fake.changed.wait()
    print("reading", flush=True)
    await task


def part(*words: str) -> dict[str, float]:
    """Run one part in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.opcua", *words]
    done = subprocess.run(command, env=ENVIRONMENT, stdout=subprocess.PIPE, timeout=300, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def unconfigured() -> float:
    """Modules of asyncua that a gateway without OPC-UA loads, with every other kind."""
    code = (
        "import sys; from gateway import kinds, parts, app\n"
        "for section in kinds.KINDS:\n"
        "    for kind in kinds.names(section):\n"
        "        kinds.declaration(section, kind)\n"
        "print(sum(name.split('.')[0] in ('asyncua', 'cryptography') for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, stdout=subprocess.PIPE, check=True)
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=3000)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--part", choices=("client", "listener", "reader"))
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--mode", choices=("subscribe", "poll"), default="subscribe")
    args = parser.parse_args()
    if args.part == "client":
        print(json.dumps(asyncio.run(client(args.port, args.points, args.seconds, args.mode))))
        return
    if args.part == "listener":
        print(json.dumps(asyncio.run(listener(args.points, args.seconds))))
        return
    if args.part == "reader":
        asyncio.run(reader(args.port, args.points))
        return
    print(f"modules of asyncua and cryptography without OPC-UA in the settings: {unconfigured():g}")
    words = ("--points", str(args.points), "--seconds", str(args.seconds))
    server = subprocess.Popen(
        [sys.executable, "-m", "opcua.server", "0", str(args.points)],
        env=ENVIRONMENT, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        port = server.stdout.readline().split()[1]
        for mode in ("subscribe", "poll"):
            found = part("--part", "client", "--port", port, "--mode", mode, *words)
            print(
                f"client, {args.points} points at 1 s, {mode:9}: {found['cpu_percent']:5.1f} % of a core, "
                f"{found['values_per_second']:.0f} values/s, all there after {found['up_seconds']:.1f} s, "
                f"{found['library_mb']:.1f} MB library + {found['points_mb']:.1f} MB points"
            )
    finally:
        server.kill()
        server.communicate()
    found = part("--part", "listener", *words)
    print(
        f"server, {args.points} points at 1 s, one client with all: {found['cpu_percent']:.1f} % of a core, "
        f"{found['library_mb']:.1f} MB without points, {found['kb_per_point']:.1f} KB for a point, "
        f"{found['reader_mb']:.1f} MB for the client"
    )


if __name__ == "__main__":
    main()
