"""What an idle gateway costs on this machine: memory, CPU, and the time from start to READY.

Idle means: a Modbus TCP device with ten points, read once a second, and an uplink that forwards what it reads. The
device is the simulator of this project, the cloud another gateway; both run beside and are not counted. Writes
nothing but what it prints.

    make bench
    PYTHONPATH=tests python -m benchmarks.footprint --seconds 60 --share 15
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sqlite3
import statistics
import sys
import tempfile
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from benchmarks import byte_code
from benchmarks.cpu_share import cpu_share
from e2e.rig import settings
from e2e.rig.gateway import GatewayProcess
from e2e.rig.waiting import free_port, wait_until
from gateway.connectors.modbus.sim import Simulator

STARTS: Final = 5
SETTLE_SECONDS: Final = 5.0
POINTS: Final = 10

MOST_MEMORY: Final = 45.0
MOST_CPU: Final = 0.5
MOST_START: Final = 1.5
"""What the gateway promises: MB resident, per cent of one core, seconds."""


def resident_mb(pid: int) -> float:
    """VmRSS: what the process holds, with its share of libraries that others use too."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise LookupError("no VmRSS")


def proportional_mb(pid: int) -> float:
    """Pss: shared pages divided by those who share them."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise LookupError("no Pss")


def cpu_seconds(pid: int) -> float:
    """User and system time of the whole process (proc(5): fields 14 and 15 of stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cpu_model() -> str:
    """As /proc/cpuinfo or the device tree has it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Model")):
            return line.partition(":")[2].strip()
    return platform.machine()


def measure(folder: Path, device_port: int, seconds: float, share: float) -> bool:
    """Run it and print; whether every promise was kept. ``share``: per cent of a core for one more start."""
    cloud_port = free_port()
    cloud = GatewayProcess(folder / "cloud", settings.listener(cloud_port))
    points = [settings.point(f"p{number}", f"holding:{number}") for number in range(POINTS)]
    gateway = GatewayProcess(
        folder / "gateway",
        settings.listener(free_port())
        + settings.modbus("plc", device_port, points, poll="1s")
        + settings.uplink(cloud_port),
    )
    starts: list[float] = []
    cloud.start()
    try:
        for _ in range(STARTS):
            if gateway.runs:
                gateway.stop()
            gateway.start()
            starts.append(gateway.seconds_to_ready)
        if share:
            gateway.stop()
            with cpu_share(share):
                gateway.start()
        wait_until(lambda: gateway.status()["uplinks"]["cloud"]["connected_since"], 10, "the uplink is connected")
        sleep(SETTLE_SECONDS)
        before, begin = cpu_seconds(gateway.pid), monotonic()
        sleep(seconds)
        percent = 100 * (cpu_seconds(gateway.pid) - before) / (monotonic() - begin)
        memory, shared = resident_mb(gateway.pid), proportional_mb(gateway.pid)
    finally:
        for process in (gateway, cloud):
            if process.runs:
                process.stop()
            process.notify.close()
    start = statistics.median(starts)
    print(f"machine            {cpu_model()}, {os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}")
    print(f"software           Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}")
    print(f"resident memory    {memory:6.1f} MB   (promise: < {MOST_MEMORY:g}; proportional {shared:.1f})")
    print(f"CPU over {seconds:g} s      {percent:6.2f} %    (promise: < {MOST_CPU:g} % of a core)")
    print(f"start to READY     {start:6.2f} s    (promise: < {MOST_START:g}; slowest of {STARTS}: {max(starts):.2f})")
    if share:
        print(f"the same, slow     {gateway.seconds_to_ready:6.2f} s    (with {share:g} % of a core)")
    return memory < MOST_MEMORY and percent < MOST_CPU and start < MOST_START


async def main() -> int:
    """0 when every promise was kept, else 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="how long the CPU is measured (20)")
    parser.add_argument("--share", type=float, default=0.0, help="one more start with so many per cent of a core; root")
    options = parser.parse_args()
    byte_code.keep(Path.cwd())
    simulator = Simulator()
    simulator.unit(1).holding.update({number: number for number in range(POINTS)})
    device_port = await simulator.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            kept = await asyncio.to_thread(measure, Path(folder), device_port, options.seconds, options.share)
    finally:
        await simulator.stop()
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
