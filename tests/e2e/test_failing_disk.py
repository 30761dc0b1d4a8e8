"""A disk that fails or is full under the real gateway: publishers are told, and when it is over all goes on.

The state lies on a file system in memory (``powercut/``), whose errors and size a test sets.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from e2e.powercut.cut import leave
from e2e.powercut.fuse import Mount, NotHere
from e2e.powercut.memory import Memory
from e2e.rig import settings
from e2e.rig.asker import Asker
from e2e.rig.gateway import GatewayProcess
from e2e.rig.waiting import free_port, wait_until
from gateway.store.opening import opened
from store.bench import rows_in

pytestmark = pytest.mark.slow

QUOTA = 24 << 20


class Rig:
    """A running gateway on such a disk, and one client."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.memory = Memory()
        self._folder = folder
        port = free_port()
        (folder / "state").mkdir()
        try:
            mount = Mount(self.memory, folder / "state")
        except NotHere as reason:
            pytest.skip(f"needs FUSE and root: {reason}")
        stack.callback(mount.close)
        text = settings.listener(port) + settings.uplink(free_port(), "line/#") + '[store]\nfree_floor = "2MiB"\n'
        self.gateway = GatewayProcess(folder, text)
        stack.callback(self.gateway.close)
        self.gateway.start()
        self.client = Asker(port)
        stack.callback(self.client.close)

    def disk(self) -> Any:
        return self.gateway.status()["store"]["disk"]

    def check(self) -> None:
        """kill -9, and look at the files: whole, with everything that was acknowledged."""
        acknowledged = set(self.client.acknowledged)
        self.gateway.kill()
        left = self._folder / "left"
        left.mkdir()
        leave(self.memory, len(self.memory.journal), random.Random(1), left)
        with opened(left / "gateway.db") as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            found = {row.payload for row in rows_in(connection)}
        assert acknowledged <= found


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with ExitStack() as stack:
        yield Rig(tmp_path, stack)


@pytest.mark.parametrize(("call", "number"), [("fsync", errno.EIO), ("write", errno.EIO), ("write", errno.ENOSPC)])
def test_a_disk_that_fails_and_heals(rig: Rig, call: str, number: int) -> None:
    rig.client.until_taken(b"before")
    rig.memory.failing[call] = number
    rig.client.publish("line/a", b"while it fails")
    wait_until(lambda: rig.disk()["trouble"], 5, "trouble is seen")
    wait_until(lambda: [one["alarm"] for one in rig.gateway.status()["alarms"]] == ["disk"], 5, "an alarm stands")
    wait_until(lambda: rig.client.refused == [0x97], 5, "the publisher is told")
    rig.memory.failing.clear()
    rig.client.until_taken(b"after")
    wait_until(lambda: not rig.gateway.status()["alarms"], 25, "the alarm is over")
    assert b"while it fails" not in rig.client.acknowledged
    rig.check()


def test_a_disk_that_is_full(rig: Rig) -> None:
    rig.memory.quota = QUOTA
    rig.client.until_refused(16 << 10, 3 * QUOTA >> 14)
    assert set(rig.client.refused) == {0x97}
    assert rig.memory.used < QUOTA - (1 << 20), "appends stop before the disk is full"
    wait_until(lambda: rig.disk()["low"], 5, "it says so")
    taken = len(rig.client.acknowledged)
    assert taken > 100
    rig.memory.quota = rig.memory.used  # and others take the rest: the reserve goes
    wait_until(lambda: not rig.disk()["reserve"], 5, "the reserve is given up")
    rig.memory.quota = 2 * QUOTA
    rig.client.until_taken(b"again")
    wait_until(lambda: rig.disk()["reserve"] and not rig.gateway.status()["alarms"], 15, "all is as before")
    rig.check()
