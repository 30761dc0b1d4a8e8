"""What one device of each kind adds to the memory of an idle gateway, when configured: RSS and PSS, in MB.

The devices are played by ``gateway sim`` in a process of its own, which is not counted. Each row is a gateway of its
own with one device of two points, both read well, after some seconds of rest; the first row has no device. Writes
nothing but what it prints.

    PYTHONPATH=.:tests python -m benchmarks.kinds_memory
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from benchmarks.footprint import proportional_mb, resident_mb
from e2e.test_sim_kinds import SETTINGS

DEVICE: Final = "[device."
WAIT: Final = 60.0
POINTS: Final = 2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settle", type=float, default=3.0, metavar="SECONDS", help="rest before measuring (3)")
    args = parser.parse_args()
    head, *devices = SETTINGS.split(DEVICE)
    rows: list[tuple[str, float, float]] = []
    for text in ["", *devices]:
        with tempfile.TemporaryDirectory() as folder:
            name = text.partition("]")[0] or "no device"
            settings = head + (DEVICE + text if text else "")
            rows.append((name, *measured(settings, Path(folder), args.settle)))
    _, resident, proportional = rows[0]
    print(f"{'device':<10} {'RSS':>6} {'added':>6} {'PSS':>6} {'added':>6}   MB")
    for name, rss, pss in rows:
        print(f"{name:<10} {rss:6.1f} {rss - resident:6.1f} {pss:6.1f} {pss - proportional:6.1f}")
    return 0


def measured(settings: str, folder: Path, settle: float) -> tuple[float, float]:
    """RSS and PSS of a gateway with these settings. Raises TimeoutError when its device is not read."""
    site, local = folder / "site.toml", folder / "local.toml"
    site.write_text(settings.replace("[gateway]", f'[gateway]\nstate = "{folder / "state"}"'))
    (folder / "state").mkdir()
    running: list[subprocess.Popen[str]] = []
    try:
        if DEVICE in settings:
            running.append(start("sim", str(site), "--write", str(local)))
            assert running[0].stdout is not None
            running[0].stdout.readline()
        else:
            local.write_text(site.read_text())
        gateway = start("run", "--config", str(local))
        running.append(gateway)
        wait_for_points(local, POINTS if DEVICE in settings else 0)
        sleep(settle)
        return resident_mb(gateway.pid), proportional_mb(gateway.pid)
    finally:
        for process in reversed(running):
            process.terminate()
            process.communicate(timeout=20)


def start(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", "gateway", *words], stdout=subprocess.PIPE, text=True)


def wait_for_points(local: Path, count: int) -> None:
    """Until the gateway answers and has so many good points."""
    end = monotonic() + WAIT
    command = [sys.executable, "-m", "gateway", "device", "list", "--json", "--config", str(local)]
    while monotonic() < end:
        told = subprocess.run(command, capture_output=True, text=True)
        if told.returncode == 0 and sum(row["good"] for row in json.loads(told.stdout)) == count:
            return
        sleep(0.2)
    raise TimeoutError(f"no {count} good points in {WAIT:g} s: {told.stderr}")


if __name__ == "__main__":
    sys.exit(main())
