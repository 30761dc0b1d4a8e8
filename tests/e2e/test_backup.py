"""docs/backup.md as it stands: a backup of a gateway that runs, put back on another machine."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from e2e.rig import settings
from e2e.rig.clients import Publisher
from e2e.rig.gateway import GatewayProcess, run_command
from e2e.rig.waiting import free_port, wait_until
from gateway.appliance.backup import _copy
from gateway.store.older_copy import LEAP

pytestmark = pytest.mark.slow

UPLINK = """
[uplink.cloud]
kind = "mqtt"
url = "mqtt://127.0.0.1:1"
username = "a"
password = { file = "cloud.secret" }
forward = [{ filter = "plant/#", to = "site/#" }]
"""


def text(port: int) -> str:
    return settings.listener(port) + UPLINK


def backlog(gateway: GatewayProcess) -> int:
    return int(gateway.status()["outbox"]["depth"])


def test_a_backup_of_a_running_gateway_goes_on_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / "first"
    folder.mkdir()
    secret = folder / "cloud.secret"
    secret.write_text("geheim")
    secret.chmod(0o600)
    port = free_port()
    gateway = GatewayProcess(folder, text(port))
    gateway.start()
    try:
        publisher = Publisher(port, "plant")
        for number in range(50):
            publisher.publish("plant/a", str(number).encode())
        wait_until(lambda: not publisher.unanswered, 20, "all is stored")
        publisher.close()
        archive = tmp_path / "backup.tar.gz"
        made = run_command(
            "backup", str(archive), "--json", "--config", str(gateway.settings), "--state", str(gateway.state)
        )
        assert made.returncode == 0, made.stderr
        assert archive.stat().st_mode & 0o777 == 0o600
        assert json.loads(made.stdout)["bytes"] == archive.stat().st_size
        refused = run_command("restore", str(archive), "--config", str(gateway.settings), "--state", str(gateway.state))
        assert refused.returncode == 1
        assert "stop it first" in refused.stderr
        boot = gateway.status()["gateway"]["boot"]
    finally:
        gateway.stop()
        gateway.notify.close()

    other = tmp_path / "other"
    words = ["--config", str(other / "etc/gateway.toml"), "--state", str(other / "state")]
    done = run_command("restore", str(archive), *words)
    assert done.returncode == 0, done.stderr
    assert (other / "etc/cloud.secret").read_text() == "geheim"
    again = run_command("restore", str(archive), *words)
    assert again.returncode == 1
    assert "--replace" in again.stderr
    (other / "state/users.toml").write_text("of today")
    assert run_command("restore", str(archive), *words, "--replace").returncode == 0
    assert (other / "state.replaced/users.toml").read_text() == "of today"
    assert not (other / "state/users.toml").exists()

    second = GatewayProcess(other / "run", text(port))
    shutil.copy2(other / "etc/cloud.secret", other / "run/cloud.secret")
    second.state = other / "state"
    second.start()
    try:
        assert backlog(second) == 50
        assert second.status()["gateway"]["boot"] == boot + LEAP + 1
    finally:
        second.stop()
        second.notify.close()


def test_what_is_no_backup_changes_nothing(tmp_path: Path) -> None:
    archive = tmp_path / "x.tar.gz"
    archive.write_bytes(b"no archive")
    words = ["--config", str(tmp_path / "etc/gateway.toml"), "--state", str(tmp_path / "state")]
    done = run_command("restore", str(archive), *words)
    assert done.returncode == 1
    assert "was not restored" in done.stderr
    assert not (tmp_path / "etc").exists()


def test_a_newer_backup_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "x.tar.gz"
    note = json.dumps({"format": 1, "schema": 9999, "version": "9"}).encode()
    with tarfile.open(archive, "w:gz") as tar:
        member = tarfile.TarInfo("backup.json")
        member.size = len(note)
        tar.addfile(member, io.BytesIO(note))
    done = run_command(
        "restore", str(archive), "--config", str(tmp_path / "etc/gateway.toml"), "--state", str(tmp_path / "state")
    )
    assert done.returncode == 1
    assert "update first" in done.stderr


def test_the_copy_is_a_database_of_one_moment(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db")) as writer:
        writer.executescript("PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES (1);")
        writer.execute("BEGIN")
        writer.execute("INSERT INTO t VALUES (2)")
        _copy(tmp_path / "a.db", tmp_path / "b.db")
        writer.rollback()
    with closing(sqlite3.connect(tmp_path / "b.db")) as copy:
        assert copy.execute("SELECT x FROM t").fetchall() == [(1,)]
