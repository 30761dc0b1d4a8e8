"""kill -9 in the middle of a salvage or a migration: the next start begins it again, and nothing is lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.store.opening import opened
from gateway.store.quarantine import Quarantine
from store import damage

OPENING = Path(__file__).with_name("killed_opening.py")

pytestmark = pytest.mark.slow


def killed_at(path: Path, step: int) -> bool:
    """Open and be killed at the step; False when it came to its end before."""
    command = [sys.executable, str(OPENING), str(path), str(step)]
    environment = {**os.environ, "PYTHONPATH": f"{OPENING.parents[2]}{os.pathsep}{OPENING.parents[1]}"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ended.returncode in (0, -signal.SIGKILL), ended.stderr
    return ended.returncode != 0


@pytest.mark.parametrize("what", ["leaf", "log"])
def test_a_salvage_that_is_killed_at_any_step_is_begun_again(tmp_path: Path, what: str) -> None:
    origin = tmp_path / "origin"
    origin.mkdir()
    path = origin / "gateway.db"
    before = damage.make(path, rows=60, in_log=what == "log")
    if what == "log":
        path.unlink()
    else:
        damage.break_page(path, damage.leaves(path, damage.roots(path)["outbox"])[5])
    found = {file.name: file.read_bytes() for file in origin.iterdir() if not file.name.endswith("-shm")}
    step = 0
    killed = True
    while killed:
        step += 1
        folder = tmp_path / str(step)
        shutil.copytree(origin, folder)
        path = folder / "gateway.db"
        killed = killed_at(path, step)
        if killed and step % 2:
            killed_at(path, step // 2 + 1)  # and once more, while it is begun again
        with opened(path, salvage=True) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows = damage.rows_of(path)["outbox"]
        assert len(rows) >= len(before["outbox"]) - 3, step
        assert set(rows) <= set(before["outbox"])
        entries = Quarantine(path).entries()
        assert len(entries) == 1 and entries[0].report is not None
        kept = {file.name: file.read_bytes() for file in entries[0].path.iterdir()}
        assert {name: kept[name] for name in found} == found, step
        shutil.rmtree(folder)
    assert step > 15
