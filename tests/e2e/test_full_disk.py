"""A real disk that runs full under the real gateway: a small tmpfs, and a limit of the kernel on what it may write.

``make diskfull`` runs these and ``test_failing_disk.py``.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from e2e.rig import settings
from e2e.rig.asker import TOPIC, Asker
from e2e.rig.clients import Collector
from e2e.rig.gateway import GatewayProcess
from e2e.rig.waiting import free_port, wait_until
from peers.mosquitto import Mosquitto
from store.bench import rows_in

pytestmark = pytest.mark.slow

MIB = 1 << 20
SIZE = 24 * MIB
FLOOR = 3 * MIB
MESSAGE = 16 << 10
MNT_DETACH = 2


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Path]:
    """A folder that is a file system of SIZE."""
    folder = tmp_path / "gateway" / "state"
    folder.mkdir(parents=True)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, b"size=%d" % SIZE):
        pytest.skip(f"cannot mount a tmpfs: {os.strerror(ctypes.get_errno())}; needs root")
    yield folder
    libc.umount2(os.fsencode(folder), MNT_DETACH)


def free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def fill(path: Path) -> None:
    """What another program does to the disk: everything that is left."""
    with path.open("wb", buffering=0) as file:
        for size in (MIB, 4096):
            try:
                while file.write(b"n" * size) == size:
                    pass
            except OSError:
                continue


def alarms(gateway: GatewayProcess) -> list[str]:
    return [one["alarm"] for one in gateway.status()["alarms"]]


def ready(gateway: GatewayProcess, ends: int = 0) -> Any:
    """Why it says that it is not ready (regression 26)."""
    return json.loads(gateway.command("status", "--ready", "--json", ends=ends))["reasons"]


def outbox(state: Path) -> set[bytes]:
    """What is in the outbox of a gateway that is gone; the database must be whole."""
    with closing(sqlite3.connect(state / "gateway.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return {row.payload for row in rows_in(connection)}


def test_a_full_tmpfs_refuses_publishers_serves_readers_and_drains(
    tmpfs: Path, tmp_path: Path, closing: ExitStack
) -> None:
    folder = tmp_path / "cloud"
    folder.mkdir()
    cloud = Mosquitto(folder, persistence=False)
    closing.callback(cloud.kill)
    port = free_port()
    text = settings.listener(port) + settings.uplink(cloud.port, "line/#") + f"[store]\nfree_floor = {FLOOR}\n"
    gateway = GatewayProcess(tmpfs.parent, text)
    closing.callback(gateway.close)
    gateway.start()
    client = Asker(port)
    closing.callback(client.close)
    reader = Collector(port, "other/#", "$SYS/gateway/alarms/#", client_id="reader")
    closing.callback(reader.close)

    client.until_refused(MESSAGE, 3 * SIZE // MESSAGE)
    assert set(client.refused) == {0x97}
    assert free(tmpfs) > FLOOR // 2, "appends stop before the disk is full"
    reader.wait_for("$SYS/gateway/alarms/disk", 5)
    client.tell("other/a", b"still")
    reader.wait_for("other/a", 5)

    fill(tmpfs / "neighbour")
    wait_until(lambda: not gateway.status()["store"]["disk"]["reserve"], 5, "the reserve is given up")
    fill(tmpfs / "another")
    assert free(tmpfs) == 0
    cloud.start()
    got = Collector(cloud.port, "site-7/line/#", client_id="cloud")
    closing.callback(got.close)
    # Not a byte is free, and the rows that leave make room in the file of the database.
    client.until_taken(b"on a full disk", 45)
    assert free(tmpfs) < FLOOR
    (tmpfs / "neighbour").unlink()
    (tmpfs / "another").unlink()
    wait_until(lambda: not alarms(gateway), 15, "the alarm is over")
    reader.wait_for("$SYS/gateway/alarms/disk", 5, b"")
    taken = set(client.acknowledged)
    got.wait(lambda all_: taken <= {one.payload for one in all_}, 60, "the cloud has all that was acknowledged")
    gateway.kill()
    outbox(tmpfs)


def limit(gateway: GatewayProcess, size: int) -> None:
    """No file of the process may be written behind ``size``: the kernel refuses it (setrlimit(2), RLIMIT_FSIZE)."""
    _soft, hard = resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (size, hard))


def test_a_limit_on_files_refuses_publishers_and_it_recovers(tmp_path: Path, closing: ExitStack) -> None:
    port = free_port()
    gateway = GatewayProcess(tmp_path, settings.listener(port) + settings.uplink(free_port(), "line/#"))
    closing.callback(gateway.close)
    gateway.start()
    client = Asker(port)
    closing.callback(client.close)
    reader = Collector(port, "other/#", client_id="reader")
    closing.callback(reader.close)
    client.until_taken(b"before")
    limit(gateway, 256 << 10)

    client.until_refused(MESSAGE, 200)
    assert set(client.refused) == {0x97}
    wait_until(lambda: alarms(gateway) == ["disk"], 5, "an alarm stands")
    store: Any = gateway.status()["store"]
    assert store["failed"] > 0
    assert store["disk"]["trouble"] == "disk I/O error"
    assert ready(gateway, 1) == ["the store cannot write: disk I/O error"]
    client.tell("other/a", b"still")
    reader.wait_for("other/a", 5)

    limit(gateway, resource.RLIM_INFINITY)
    client.until_taken(b"after")
    wait_until(lambda: not alarms(gateway), 25, "the alarm is over")
    assert ready(gateway) == []
    client.publish(TOPIC, b"last")
    wait_until(lambda: b"last" in client.acknowledged, 5, "it goes on")
    gateway.kill()
    assert set(client.acknowledged) <= outbox(gateway.state)
