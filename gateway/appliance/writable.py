"""The boot partition is mounted read-only but for the moment of a change: a power cut finds it clean."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def writable(boot: Path) -> Iterator[None]:
    """Let ``boot`` be written meanwhile. Raises subprocess.SubprocessError when the kernel refuses."""
    if not os.statvfs(boot).f_flag & os.ST_RDONLY:
        yield
        return
    subprocess.run(["mount", "-o", "remount,rw", boot], check=True, timeout=30)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,ro", boot], check=False, timeout=30)
