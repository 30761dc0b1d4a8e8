"""A part of one core, for a start as on a small board: a control group of the kernel, version 1 or 2; needs root."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path("/sys/fs/cgroup")
PERIOD: Final = 100_000
"""Microseconds; the kernel's default."""


@contextmanager
def cpu_share(percent: float) -> Iterator[None]:
    """This process and those it starts have so much of one core meanwhile. Raises OSError where that cannot be had."""
    is_v2 = (ROOT / "cgroup.controllers").exists()
    parent = ROOT if is_v2 else ROOT / "cpu"
    group = parent / f"bench-{os.getpid()}"
    quota = round(PERIOD * percent / 100)
    group.mkdir()
    try:
        if is_v2:
            (group / "cpu.max").write_text(f"{quota} {PERIOD}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        (group / "cgroup.procs").write_text(str(os.getpid()))
        yield
    finally:
        # What was started and still runs leaves with us: a group with processes in it cannot be removed.
        for pid in (group / "cgroup.procs").read_text().split():
            (parent / "cgroup.procs").write_text(pid)
        group.rmdir()
