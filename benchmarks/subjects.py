"""The brokers under measurement: each started on a free loopback port in a folder of its own, and stopped.

The gateway stands as on a real site: access, an uplink with its outbox, and the shipped rules are there.
``durable`` forwards what the load publishes, so that every message is committed to the outbox before its answer; its
cloud is away, so that nothing but the store is measured. ``full`` gives that outbox so little room that it is soon
full.
"""

from __future__ import annotations

import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from e2e.rig.notify import NotifySocket
from e2e.rig.waiting import free_port, wait_until
from gateway.mqtt.encode import encode
from gateway.mqtt.packets import Connect, Disconnect, Filter, Subscribe

ROOT: Final = Path(__file__).parents[1]
COMPILED: Final = ROOT / "build" / "compiled"
AMQTT: Final = ROOT / "build" / "amqtt"
"""A virtual environment for amqtt, which is no dependency of anything here."""
START_SECONDS: Final = 15.0
STOP_SECONDS: Final = 10.0
SMALL: Final = "24MiB"
"""An outbox that is full after about 200 000 messages of 64 bytes."""
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

    def written(self) -> int | None:
        """Bytes that it has given to the file system so far (proc(5), io); None where that is not told."""
        try:
            lines = Path(f"/proc/{self.pid}/io").read_text().splitlines()
        except OSError:
            return None
        return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))

    def _ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def _log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-4000:]


class MosquittoSubject(Subject):
    """mosquitto without bounds that would drop messages, so that it delivers all of them like the others.

    ``saved``: seconds between two times that it writes what it has to its file. A client that is away then wants
    everything that the load publishes, as the cloud does that the gateway's outbox waits for; and like that it loses
    what is younger when the power goes, although it was acknowledged. None: it keeps nothing.
    """

    def __init__(self, name: str, folder: Path, nodelay: bool, saved: int | None = None) -> None:
        super().__init__(name, folder)
        self._saved = saved
        kept = "false"
        if saved is not None:
            # Started by root it would become a user who may not write here.
            kept = f"true\npersistence_location {folder}/\nautosave_interval {saved}\nuser {getpass.getuser()}"
        (folder / "mosquitto.conf").write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence {kept}\nlog_type error\n"
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
        if self._saved is not None:
            _absent_client(self.port, "load/#")


class AmqttSubject(Subject):
    """amqtt, the broker in plain Python, without its plug-ins for logging and statistics."""

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name, folder)
        (folder / "amqtt.yaml").write_text(
            f"listeners:\n  default:\n    type: tcp\n    bind: 127.0.0.1:{self.port}\n"
            "plugins:\n  amqtt.plugins.authentication.AnonymousAuthPlugin:\n    allow_anonymous: true\n"
        )

    @staticmethod
    def program() -> str | None:
        """Where it is installed."""
        own = AMQTT / "bin" / "amqtt"
        return str(own) if own.exists() else shutil.which("amqtt")

    def start(self) -> None:
        program = self.program()
        assert program is not None, "amqtt is not installed"
        begin = time.monotonic()
        environment = {**os.environ}
        environment.pop("PYTHONPATH", None)
        self._launch([program, "-c", str(self.folder / "amqtt.yaml")], self.folder, environment)
        wait_until(lambda: self._ended() or _listens(self.port), START_SECONDS, "amqtt listens")
        assert not self._ended(), self._log()
        self.seconds_to_ready = time.monotonic() - begin


class GatewaySubject(Subject):
    """``gateway run`` from ``tree``: the source, or the folder that ``make compiled`` has filled.

    gather  ``mqtt.gather``; empty: as it comes
    """

    def __init__(
        self, name: str, folder: Path, tree: Path, durable: bool = False, full: bool = False, gather: str = ""
    ) -> None:
        super().__init__(name, folder)
        self.tree = tree
        (folder / "gateway.toml").write_text(
            f'[gateway]\nname = "bench"\n\n[listener.load]\nkind = "mqtt"\nbind = "127.0.0.1:{self.port}"\n\n'
            f"[mqtt]\nmax_sessions = {CLIENTS}\n"
            + (f'gather = "{gather}"\n' if gather else "")
            + (f'\n[store]\nmax_bytes = "{SMALL}"\n' if full else "")
            + f'\n[rules]\npath = "{ROOT / "rules"}"\n\n'
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

    def dropped(self) -> int:
        """Messages that the outbox has dropped because it was full."""
        command = [sys.executable, "-m", "gateway", "status", "--json", "--state", str(self.folder / "state")]
        status = json.loads(subprocess.run(command, cwd=self.tree, capture_output=True, check=True).stdout)
        return int(status["drops"].get("outbox_full", 0))


def _absent_client(port: int, pattern: str) -> None:
    """A session of QoS 1 that outlives its client."""
    with socket.create_connection(("127.0.0.1", port), timeout=START_SECONDS) as client:
        client.sendall(encode(Connect("absent", 4, False, 0), 4) + encode(Subscribe(1, (Filter(pattern, 1),)), 4))
        answers = b""
        while len(answers) < 9:  # CONNACK and SUBACK
            more = client.recv(9)
            assert more, "mosquitto has closed the connection"
            answers += more
        client.sendall(encode(Disconnect(), 4))


def _listens(port: int) -> bool:
    """Whether somebody accepts on this port of 127.0.0.1, without connecting: proc(5), net/tcp, state 0A."""
    wanted = f"0100007F:{port:04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(fields[1] == wanted and fields[3] == "0A" for fields in map(str.split, lines))
