"""The power goes under load: the gateway starts by itself, and nothing that was acknowledged is missing.

The gateway runs with its state on a file system that remembers every write and every fsync. Each cut takes one
moment of that history and builds one of the states that a power cut may have left there (``powercut/cut.py``). In
each of them, every message that was acknowledged before that moment must be in the outbox, in the session of a
subscriber that is away, and, if it was retained, among the retained ones.
``CUTS=100 pytest tests/e2e/test_powercut.py`` (``make powercut``) is the full run; the seed is printed and taken
from SEED.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.reasoncodes import ReasonCode

from e2e.powercut.cut import leave
from e2e.powercut.fuse import Mount, NotHere
from e2e.powercut.memory import ROOT, Memory
from e2e.rig import settings
from e2e.rig.clients import Collector, Publisher
from e2e.rig.gateway import GatewayProcess
from e2e.rig.waiting import free_port
from gateway.store.opening import opened
from store.bench import rows_in

pytestmark = pytest.mark.slow

CUTS = int(os.environ.get("CUTS", "10"))
SEED = int(os.environ.get("SEED", "0")) or time.time_ns() % 1_000_000
SECONDS = 6.0
"""Of load, with two starts in it: one from nothing, one after kill -9."""

RETAINED_EVERY = 10
"""One message of so many is retained, at a topic of its own."""

STARTS = 10
"""Every so many cuts the whole gateway is started on what was left, not only its database."""


class Witness(Publisher):
    """A publisher that notes how long the history was when each answer came."""

    def __init__(self, port: int, client_id: str, memory: Memory) -> None:
        self._memory = memory
        self.moments: dict[int, int] = {}
        super().__init__(port, client_id)

    def _on_publish(self, client: Any, data: Any, mid: int, reason: ReasonCode, properties: Any) -> None:
        self.moments.setdefault(mid, len(self._memory.journal))
        super()._on_publish(client, data, mid, reason, properties)

    def publish_retained(self, topic: str, payload: bytes) -> None:
        self._payloads[self._client.publish(topic, payload, qos=1, retain=True).mid] = payload

    def answers(self) -> list[tuple[int, bytes]]:
        """(moment, payload) of everything that was acknowledged."""
        return [(self.moments[mid], self._payloads[mid]) for mid in self._acknowledged if mid in self._payloads]


def load(gateway: GatewayProcess, port: int, memory: Memory, first: int) -> tuple[int, list[tuple[int, bytes]]]:
    """Half of the load; the next number, and what was answered when."""
    witness = Witness(port, f"plant-{first}", memory)
    number = first
    end = time.monotonic() + SECONDS / 2
    while time.monotonic() < end:
        for _ in range(10):
            payload = b"%d:" % number + b"x" * (number * 131 % 3000)
            if number % RETAINED_EVERY:
                witness.publish(f"line/{number % 7}", payload)
            else:
                witness.publish_retained(f"line/kept/{number}", payload)
            number += 1
        time.sleep(0.02)
    gateway.kill()
    witness.close()
    return number, witness.answers()


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> tuple[Memory, list[tuple[int, bytes]], str]:
    """What happened to the files of a gateway under load, what it acknowledged when, and its settings."""
    folder = tmp_path_factory.mktemp("powercut")
    memory = Memory()
    port = free_port()
    text = settings.listener(port) + settings.uplink(free_port(), "line/#")
    text += '[mqtt]\nqueue_count = 100_000\nqueue_bytes = "256MiB"\noffline_bytes = "256MiB"\n'
    (folder / "state").mkdir()
    with ExitStack() as stack:
        try:
            mount = Mount(memory, folder / "state")
        except NotHere as reason:
            pytest.skip(f"needs FUSE and root: {reason}")
        stack.callback(mount.close)
        gateway = GatewayProcess(folder, text)
        stack.callback(gateway.close)
        gateway.start()
        Collector(port, "line/#", client_id="away").close()
        moves = moves_of_the_log(memory)
        number, answers = load(gateway, port, memory, 0)
        moves = moves_of_the_log(memory) - moves
        gateway.start()
        _number, more = load(gateway, port, memory, number)
    assert len(answers) > 100 and len(more) > 100
    assert moves, "a checkpoint under load is part of the history"
    return memory, answers + more, text


def moves_of_the_log(memory: Memory) -> int:
    """How often the database itself was made safe: SQLite does it once in a checkpoint."""
    database = memory.find(ROOT, "gateway.db")
    return sum(op.what == "sync" and op.node == database for op in memory.journal)


def stored(path: Path) -> list[tuple[str, set[bytes]]]:
    """Payloads by the place where they are kept, after an opening that repairs nothing."""
    with opened(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows = rows_in(connection)
        assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
        waiting = "session_entry JOIN session_body ON session_body.id = session_entry.body"
        return [("outbox", {row.payload for row in rows})] + [
            (name, {payload for (payload,) in connection.execute(f"SELECT payload FROM {tables}").fetchall()})
            for name, tables in (("session", waiting), ("retained", "retained"))
        ]


def is_retained(payload: bytes) -> bool:
    return int(payload.partition(b":")[0]) % RETAINED_EVERY == 0


def test_every_cut_leaves_a_database_with_all_that_was_acknowledged(
    history: tuple[Memory, list[tuple[int, bytes]], str], tmp_path: Path
) -> None:
    memory, answers, text = history
    chance = random.Random(SEED)
    modes: dict[str, int] = {}
    checked = 0
    for cut in range(CUTS):
        # Every third one while the database is opened or made; there are few moments of that.
        moment = chance.randrange(400) if cut % 3 == 2 else chance.randrange(len(memory.journal) + 1)
        folder = tmp_path / str(cut)
        (folder / "state").mkdir(parents=True)
        mode = leave(memory, moment, chance, folder / "state")
        modes[mode] = modes.get(mode, 0) + 1
        where = f"SEED={SEED} cut {cut} at {moment} of {len(memory.journal)}, {mode}"
        wanted = [payload for at, payload in answers if at <= moment]
        if cut % STARTS == STARTS - 1:
            gateway = GatewayProcess(folder, text)
            gateway.start()
            gateway.stop()
            assert "damaged" not in gateway.log_text(), where
            gateway.notify.close()
        for place, found in stored(folder / "state" / "gateway.db"):
            needed = [payload for payload in wanted if place != "retained" or is_retained(payload)]
            missing = [payload for payload in needed if payload not in found]
            assert not missing, f"{where}: {len(missing)} of {len(needed)} acknowledged messages lost from {place}"
            checked += len(needed)
        assert not (folder / "state" / "quarantine").exists(), where
        shutil.rmtree(folder)
    sys.stdout.write(
        f"SEED={SEED}: {CUTS} cuts, {checked} times an acknowledged message was looked for, 0 lost; {modes}\n"
    )


def test_the_model_finds_a_store_that_does_not_wait_for_the_disk(tmp_path: Path) -> None:
    """The rig can fail: with synchronous = OFF, acknowledged rows are lost, or the file is broken."""
    memory = Memory()
    (tmp_path / "state").mkdir()
    try:
        mount = Mount(memory, tmp_path / "state")
    except NotHere as reason:
        pytest.skip(f"needs FUSE and root: {reason}")
    script = (
        "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('PRAGMA journal_mode=WAL'); c.execute('PRAGMA synchronous=OFF'); c.execute('CREATE TABLE t (a)')\n"
        "for n in range(200): c.execute('INSERT INTO t VALUES (?)', (n,)); print(n, flush=True); sys.stdin.readline()\n"
    )
    answers = []
    try:
        command = [sys.executable, "-c", script, str(tmp_path / "state" / "a.db")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            for line in process.stdout:
                answers.append((len(memory.journal), int(line)))
                process.stdin.write("\n")
                process.stdin.flush()
    finally:
        mount.close()
    chance = random.Random(1)
    failures = 0
    for cut in range(30):
        moment, number = chance.choice(answers)
        folder = tmp_path / str(cut)
        folder.mkdir()
        leave(memory, moment, chance, folder)
        try:
            with closing(sqlite3.connect(folder / "a.db")) as connection:
                rows = connection.execute("SELECT count(*) FROM t").fetchone()[0]
            failures += rows < number + 1
        except sqlite3.DatabaseError:
            failures += 1
    assert failures > 5
