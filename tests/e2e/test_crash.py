"""kill -9 at random moments under mixed load: a short run of the crash rig. ``make crash ROUNDS=300`` is a long one."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from e2e.crash.rounds import crash

pytestmark = pytest.mark.slow

ROUNDS = 12


def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    seed = time.time_ns() % 1_000_000
    sys.stdout.write(f"SEED={seed}: {crash(tmp_path, ROUNDS, seed)}\n")
