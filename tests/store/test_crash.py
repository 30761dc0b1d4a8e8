"""Kill -9 in the middle, and a disk that is full: what was answered is there, what is there is whole."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.errors import Refused
from gateway.message import Message
from store.bench import Bench, run, settle, store

WRITER = Path(__file__).with_name("writer.py")
ROUNDS = 20

pytestmark = pytest.mark.slow


def killed_writer(path: Path, first: int, acknowledgements: int) -> list[int]:
    """Let a writer run until it has answered so many, kill it; every number it answered."""
    command = [sys.executable, str(WRITER), str(path), str(first)]
    environment = {**os.environ, "PYTHONPATH": str(WRITER.parents[2])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(acknowledgements)]
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.read().splitlines(keepends=True)
    return [int(line) for line in lines if line.endswith(b"\n")]


def test_every_answered_row_survives_kill_9(bench: Bench) -> None:
    chance = random.Random(7)
    numbers: set[int] = set()
    seen: set[int] = set()
    for round in range(ROUNDS):
        answered = killed_writer(bench.path, round * 1_000_000, chance.randrange(1, 1500))
        assert answered == sorted(answered)
        numbers.update(answered)
        (acked,) = bench.look("SELECT acked FROM outbox_cursor WHERE class = 0")[0]
        rows = [row for row in bench.rows() if row.seq > acked]
        numbers_left = [row.seq for row in rows]
        assert numbers_left == sorted(set(numbers_left))
        present = {int(re.match(rb"\d+", row.payload)[0]) for row in rows}  # type: ignore[index]
        # What has gone was acknowledged: numbers before the oldest that is left.
        oldest = min(present)
        assert {n for n in answered if n >= oldest} <= present
        seen |= present
        assert bench.look("PRAGMA integrity_check") == [("ok",)]
        books = dict(bench.look("SELECT name, n FROM tally"))
        assert books["produced"] == books["stored"]
    assert len(seen) > 1000

    async def body() -> None:
        async with bench.outbox("cloud") as (outbox, _database):
            assert await store(outbox, Message("t", b"x")) == [None]

    run(body)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)]
    if mount is None or subprocess.run([mount, *options], capture_output=True).returncode:
        pytest.skip("a small file system can be mounted by root only")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_refuses_keeps_what_it_has_and_goes_on_when_there_is_room(small_disk: Path) -> None:
    bench = Bench(small_disk / "gateway.db")
    ballast = small_disk / "ballast"

    async def body() -> None:
        async with bench.outbox("cloud") as (outbox, database):
            stored = 0
            errors: list[BaseException | None] = [None]
            while errors == [None] and stored < 1000:
                errors = await store(outbox, Message("t", b"%d" % stored + b" " + os.urandom(20_000)))
                stored += errors == [None]
                if stored == 10:
                    free = os.statvfs(small_disk)
                    ballast.write_bytes(bytes(max(0, free.f_bavail * free.f_frsize - 500_000)))
            assert isinstance(errors[0], Refused)
            assert 10 < stored < 1000
            ballast.unlink()
            assert await store(outbox, Message("t", b"again")) == [None]
            await settle(database)
            kept = [re.match(rb"\d+|again", row.payload)[0] for row in bench.rows()]  # type: ignore[index]
            assert kept == [*(b"%d" % n for n in range(stored)), b"again"]
            assert bench.look("PRAGMA integrity_check") == [("ok",)]

    run(body)
    assert not bench.lost
