"""A USB stick labelled GATEWAY, mounted while somebody looks at it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

DEVICE: Final = "dev/disk/by-label/GATEWAY"
PLACE: Final = "run/gateway-stick"


class Stick(NamedTuple):
    """``folder``: where its files are. ``problem``: why there is none, with a stick that cannot be read; both are None
    without a stick."""

    folder: Path | None
    problem: str | None = None


@contextmanager
def stick(machine: Path) -> Iterator[Stick]:
    """The stick, if there is one. One that cannot be mounted is no reason not to start: it is for the caller to say."""
    device, place = machine / DEVICE, machine / PLACE
    if not device.exists():
        yield Stick(None)
        return
    options = "nosuid,nodev,noexec,noatime,sync"
    try:
        place.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-o", options, str(device), str(place)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        problem = (done.stderr.strip() or f"mount ended with {done.returncode}") if done.returncode else None
    except OSError as error:
        problem = str(error)
    if problem is not None:
        yield Stick(
            None, f"the stick labelled GATEWAY cannot be read: {problem}; format it anew (FAT32) or take another"
        )
        return
    try:
        yield Stick(place)
    finally:
        subprocess.run(["umount", str(place)], capture_output=True, check=False)
