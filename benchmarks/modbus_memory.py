"""What Modbus costs in memory: nothing where it is not configured, and what each transport adds.

    PYTHONPATH=. python -m benchmarks.modbus_memory

Resident memory of a fresh process after each step; a step is what a gateway loads for such a device.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Final

STEPS: Final = {
    "the gateway, no device": ["gateway.parts"],
    "a Modbus device is configured": ["gateway.connectors.modbus.connector"],
    "it is on TCP or TLS (pymodbus)": ["gateway.connectors.modbus.client"],
    "it is on a serial line (pyserial)": ["gateway.connectors.modbus.serial_port"],
    "a Modbus server is configured": ["gateway.connectors.modbus.server"],
}


def resident_kb() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise LookupError("no VmRSS")


def step(name: str) -> None:
    """In a process of its own: what is loaded before, then this step."""
    before = [] if name == "the gateway, no device" else STEPS["the gateway, no device"]
    if name in ("it is on TCP or TLS (pymodbus)", "it is on a serial line (pyserial)"):
        before = [*before, *STEPS["a Modbus device is configured"]]
    for module in before:
        importlib.import_module(module)
    started = resident_kb()
    for module in STEPS[name]:
        importlib.import_module(module)
    print(f"{name:40}{(resident_kb() - started) / 1024:>8.1f} MB more")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        step(sys.argv[1])
    else:
        for name in STEPS:
            subprocess.run([sys.executable, "-m", "benchmarks.modbus_memory", name], check=True)
