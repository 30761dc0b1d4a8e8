"""Files that a power cut leaves whole: waited for until they are on the disk, replaced by a rename."""

from __future__ import annotations

import os
from pathlib import Path


def on_the_disk(path: Path) -> None:
    """Wait until a file, or what a folder names, is where a power cut cannot take it."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def write_whole(path: Path, text: str) -> None:
    """Write a small file so that a power cut leaves the old or the new one; on the disk at return. Raises OSError."""
    fresh = path.with_name(path.name + ".new")
    with fresh.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
    on_the_disk(path.parent)
