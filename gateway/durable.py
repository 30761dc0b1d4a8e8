"""Files that a power cut leaves whole: waited for until they are on the disk, replaced by a rename."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def on_the_disk(path: Path) -> None:
    """Wait until a file, or what a folder names, is where a power cut cannot take it."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def write_whole(
    path: Path, content: str | bytes, mode: int | None = None, owner: tuple[int, int] | None = None
) -> None:
    """Write a small file so that a power cut leaves the old or the new one; on the disk at return. Raises OSError; then
    the old one is there and nothing of the new.

    ``mode``: its permissions, which it has before there is anything in it; ``owner``: user and group.
    """
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666 if mode is None else mode)
    try:
        with os.fdopen(file, "wb") as out:
            if mode is not None:
                os.fchmod(file, mode)
            if owner is not None:
                os.fchown(file, *owner)
            out.write(content.encode() if isinstance(content, str) else content)
            out.flush()
            os.fsync(file)
        fresh.rename(path)
    except OSError:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise
    on_the_disk(path.parent)
