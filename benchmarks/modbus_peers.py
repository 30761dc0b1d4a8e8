"""Modbus in one run against two other ways of doing it: requests for each scan and processor time for each point.

    PYTHONPATH=. python -m benchmarks.modbus_peers

- **this gateway**: the connector with planner, codec, quality and bus, emitting into a port that drops
- **one request per register**: what thingsboard-gateway does (its modbus connector reads each ``tag`` of the
  configuration with a request of its own), here with pymodbus and nothing around it
- **plain pymodbus loop**: blocks laid out by hand as the planner does, ``read_holding_registers`` and
  ``convert_from_registers``: the least that pymodbus can cost

The device is a process of its own. Then 1000 points at one second: processor and memory of the polling process.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import time
from collections.abc import Awaitable, Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from pymodbus.client import AsyncModbusTcpClient

from gateway.clock import Clock, FixedClock
from gateway.connectors.modbus.config import ModbusDevice, ModbusPoint
from gateway.connectors.modbus.connector import ModbusConnector
from gateway.connectors.modbus.planner import Item, plan
from gateway.connectors.modbus.sim import Simulator

SCANS: Final = 20

LAYOUTS: Final[dict[str, list[int]]] = {
    "100 neighbours": list(range(100, 300, 2)),
    "200 in 5 clusters": [start + 2 * n for start in (0, 500, 1000, 2000, 3000) for n in range(40)],
    "100 scattered": [40 * n for n in range(100)],
}
"""Addresses of float32 points."""


def serve(pipe: Connection) -> None:
    """The device."""

    async def main() -> None:
        simulator = Simulator()
        simulator.questions = type(simulator.questions)(maxlen=1)
        simulator.unit(1).holding.update(dict.fromkeys(range(8000), 0x4120))
        pipe.send(await simulator.start())
        await asyncio.Event().wait()

    asyncio.run(main())


class Port:
    """Takes samples and drops them; counts them and whole scans."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.name = "bench"
        self.clock = clock or Clock()
        self.emitted = 0
        self._shared: dict[str, Any] = {}

    def emit(self, samples: Sequence[Any]) -> None:
        self.emitted += len(samples)

    def share(self, key: str, make: Callable[[], Any]) -> Any:
        return self._shared.setdefault(key, None) or self._shared.update({key: make()}) or self._shared[key]


async def ours(port: int, addresses: list[int]) -> tuple[int, float]:
    points = tuple(ModbusPoint(name=f"p{at}", address=f"holding:{at}", type="float32") for at in addresses)
    config = ModbusDevice(url=f"tcp://127.0.0.1:{port}", poll=1.0, point=points)
    clock = FixedClock()
    sink = Port(clock)
    scans = 0

    async def at_once(seconds: float) -> None:
        nonlocal scans
        scans += 1
        if scans > SCANS + 1:
            raise asyncio.CancelledError
        clock.advance(seconds)
        await asyncio.sleep(0)

    connector = ModbusConnector("bench", config, sink, sleep=at_once)
    started = time.process_time()
    task = asyncio.create_task(connector.run(lambda: None))
    await asyncio.gather(task, return_exceptions=True)
    spent = time.process_time() - started
    assert sink.emitted == (SCANS + 1) * len(addresses), sink.emitted
    return connector.status()["requests_per_scan"], spent / (SCANS + 1)


async def one_each(port: int, addresses: list[int]) -> tuple[int, float]:
    client = await connected(port)
    kind = client.DATATYPE.FLOAT32

    async def scan() -> None:
        for at in addresses:
            answer = await client.read_holding_registers(at, count=2, device_id=1)
            client.convert_from_registers(answer.registers, kind)

    return len(addresses), await timed(scan, client)


async def plain(port: int, addresses: list[int]) -> tuple[int, float]:
    client = await connected(port)
    kind = client.DATATYPE.FLOAT32
    blocks = plan([Item(str(at), "holding", at, 2) for at in addresses], gap=8, max_words=120)

    async def scan() -> None:
        for block in blocks:
            answer = await client.read_holding_registers(block.address, count=block.count, device_id=1)
            for item in block.items:
                start = item.address - block.address
                client.convert_from_registers(answer.registers[start : start + 2], kind)

    return len(blocks), await timed(scan, client)


async def beside(port: int, addresses: list[int], scans: int = 100) -> tuple[float, float]:
    """Least processor seconds of a scan, ours and a plain loop's, taken in turns: what else runs disturbs both."""
    points = tuple(ModbusPoint(name=f"p{at}", address=f"holding:{at}", type="float32") for at in addresses)
    connector = ModbusConnector("beside", ModbusDevice(url=f"tcp://127.0.0.1:{port}", point=points), Port())
    client = await connected(port)
    kind, due = client.DATATYPE.FLOAT32, tuple(point.name for point in points)
    spent: tuple[list[float], list[float]] = ([], [])
    async with connector._bus.member(connector._terms) as member:
        for _ in range(scans):
            started = time.process_time()
            await connector._scan(member, due)
            between = time.process_time()
            for at in addresses:
                answer = await client.read_holding_registers(at, count=2, device_id=1)
                client.convert_from_registers(answer.registers, kind)
            spent[0].append(between - started)
            spent[1].append(time.process_time() - between)
    client.close()
    return min(spent[0]), min(spent[1])


async def connected(port: int) -> AsyncModbusTcpClient:
    client = AsyncModbusTcpClient("127.0.0.1", port=port)
    await client.connect()
    return client


async def timed(scan: Callable[[], Awaitable[None]], client: AsyncModbusTcpClient) -> float:
    await scan()
    started = time.process_time()
    for _ in range(SCANS):
        await scan()
    spent = (time.process_time() - started) / SCANS
    client.close()
    return spent


def resident_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise LookupError("no VmRSS")


async def thousand(port: int, seconds: float) -> None:
    """1000 points of ten devices, once a second."""
    before = resident_mb()
    sink = Port()
    devices = []
    for number in range(10):
        points = tuple(
            ModbusPoint(name=f"p{n}", address=f"holding:{number * 300 + 2 * n}", type="float32") for n in range(100)
        )
        config = ModbusDevice(url=f"tcp://127.0.0.1:{port}", poll=1.0, point=points)
        devices.append(ModbusConnector(f"dev{number}", config, sink))
    tasks = [asyncio.create_task(one.run(lambda: None)) for one in devices]
    await asyncio.sleep(2)
    emitted, started = sink.emitted, time.process_time()
    await asyncio.sleep(seconds)
    spent, rate = time.process_time() - started, (sink.emitted - emitted) / seconds
    scans = [one.status()["scans"] for one in devices]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    done, due = sum(one["done"] for one in scans), sum(one["due"] for one in scans)
    print(
        f"\n1000 points at 1 s: {rate:.0f} values/s, {spent / seconds:.1%} of one core, "
        f"{resident_mb() - before:.1f} MB more resident, {done} of {due} scans"
    )


async def main(port: int, seconds: float) -> None:
    print(f"{'layout':20}{'way':28}{'requests':>10}{'CPU us a point':>16}")
    for name, addresses in LAYOUTS.items():
        for way, run in (("this gateway", ours), ("one request per register", one_each), ("pymodbus loop", plain)):
            requests, spent = await run(port, addresses)
            print(f"{name:20}{way:28}{requests:>10}{spent / len(addresses) * 1e6:>16.1f}")
    scattered = LAYOUTS["100 scattered"]
    mine, theirs = (seconds / len(scattered) * 1e6 for seconds in await beside(port, scattered))
    print(f"\n100 scattered, in turns: {mine:.1f} us a point, {theirs:.1f} in a plain loop: {mine / theirs:.2f} times")
    await thousand(port, seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    arguments = parser.parse_args()
    near, far = multiprocessing.Pipe()
    device = multiprocessing.Process(target=serve, args=(far,), daemon=True)
    device.start()
    try:
        asyncio.run(main(near.recv(), arguments.seconds))
    finally:
        device.kill()
        device.join()
