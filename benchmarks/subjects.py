"""The brokers under measurement: each started on a free loopback port in a folder of its own, and stopped.

The gateway stands as on a real site: access, an uplink with its outbox, and the shipped rules are there.
``durable`` forwards what the load publishes, so that every message is committed to the outbox before its answer; its
cloud is away, so that nothing but the store is measured.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from e2e.rig.notify import NotifySocket
from e2e.rig.waiting import free_port, wait_until

ROOT: Final = Path(__file__).parents[1]
COMPILED: Final = ROOT / "build" / "compiled"
START_SECONDS: Final = 15.0
STOP_SECONDS: Final = 10.0
CLIENTS: Final = 12_000
"""Connections a subject must allow: the workload of idle ones opens as many as this."""


class Subject:
    """A broker that runs. ``seconds_to_ready`` is from its start to its first welcome."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.port = free_port()
        self.seconds_to_ready = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} does not run"
        return self._process.pid

    def start(self) -> None:
        """Start it, and return when it takes connections. Raises AssertionError with its log when it does not."""
        raise NotImplementedError

    def stop(self) -> None:
        """End it, by force if it must be."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _launch(self, command: list[str], cwd: Path, environment: dict[str, str]) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def _ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def _log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-4000:]


class MosquittoSubject(Subject):
    """mosquitto without bounds that would drop messages, so that it delivers all of them like the others."""

    def __init__(self, name: str, folder: Path, nodelay: bool) -> None:
        super().__init__(name, folder)
        (folder / "mosquitto.conf").write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence false\nlog_type error\n"
            f"max_queued_messages 0\nset_tcp_nodelay {str(nodelay).lower()}\n"
        )

    @staticmethod
    def program() -> str | None:
        """Where it is installed."""
        return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")

    def start(self) -> None:
        program = self.program()
        assert program is not None, "mosquitto is not installed"
        begin = time.monotonic()
        self._launch([program, "-c", str(self.folder / "mosquitto.conf")], self.folder, dict(os.environ))
        wait_until(lambda: self._ended() or _listens(self.port), START_SECONDS, "mosquitto listens")
        assert not self._ended(), self._log()
        self.seconds_to_ready = time.monotonic() - begin


class GatewaySubject(Subject):
    """``gateway run`` from ``tree``: the source, or the folder that ``make compiled`` has filled."""

    def __init__(self, name: str, folder: Path, tree: Path, durable: bool = False) -> None:
        super().__init__(name, folder)
        self.tree = tree
        (folder / "gateway.toml").write_text(
            f'[gateway]\nname = "bench"\n\n[listener.load]\nkind = "mqtt"\nbind = "127.0.0.1:{self.port}"\n\n'
            f'[mqtt]\nmax_sessions = {CLIENTS}\n\n[rules]\npath = "{ROOT / "rules"}"\n\n'
            '[uplink.cloud]\nkind = "mqtt"\nurl = "mqtt://127.0.0.1:1"\n'
            f'forward = [{{ filter = "{"load/#" if durable else "plant/#"}" }}]\n\n'
            '[log]\nlevel = "error"\n'
        )

    def start(self) -> None:
        notify = NotifySocket()
        command = [sys.executable, "-m", "gateway", "run", "--config", str(self.folder / "gateway.toml")]
        command += ["--state", str(self.folder / "state")]
        environment = {**os.environ, "NOTIFY_SOCKET": notify.address}
        environment.pop("PYTHONPATH", None)
        begin = time.monotonic()
        try:
            self._launch(command, self.tree, environment)
            wait_until(lambda: self._ended() or notify.count("READY=1") > 0, START_SECONDS, f"{self.name} is READY")
            assert not self._ended(), self._log()
            self.seconds_to_ready = notify.lines[0][0] - begin
        finally:
            notify.close()


def _listens(port: int) -> bool:
    """Whether somebody accepts on this port of 127.0.0.1, without connecting: proc(5), net/tcp, state 0A."""
    wanted = f"0100007F:{port:04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(fields[1] == wanted and fields[3] == "0A" for fields in map(str.split, lines))
