"""Folders that need no disk, for programs whose own speed is not what is tested."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory


def memory_folder() -> TemporaryDirectory[str]:
    """A folder that outlives processes but not the test, in memory where the machine has such a place."""
    memory = Path("/dev/shm")
    return TemporaryDirectory(prefix="rig-", dir=memory if memory.is_dir() else None)
