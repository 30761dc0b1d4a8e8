"""A USB stick labelled GATEWAY, mounted while somebody looks at it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

DEVICE: Final = "dev/disk/by-label/GATEWAY"
PLACE: Final = "run/gateway-stick"


@contextmanager
def stick(machine: Path) -> Iterator[Path | None]:
    """Where its files are, None without a stick, or with one that cannot be mounted: that is no reason not to start."""
    device, place = machine / DEVICE, machine / PLACE
    if not device.exists():
        yield None
        return
    place.mkdir(parents=True, exist_ok=True)
    options = "nosuid,nodev,noexec,noatime,sync"
    done = subprocess.run(
        ["mount", "-o", options, str(device), str(place)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        yield None
        return
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], capture_output=True, check=False)
