"""Other people's programs as processes of a test: found or the test is skipped, logged, and gone at the end."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from e2e.rig.waiting import free_port, is_listening, wait_until
from peers.mosquitto import Mosquitto

ROOT = Path(__file__).parents[3]
NODE_MODULES = ROOT / ".venv" / "peers" / "node_modules"
PEERS = ROOT / "tests" / "peers"


def need(program: str) -> str:
    """Path of ``program``; skips the test when it is not installed. Debian keeps daemons in /usr/sbin."""
    found = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"{program} is not installed; `make peers` says how")
    return found


def need_node(module: str) -> str:
    """Path of node; skips the test without it or without the npm ``module``."""
    node = need("node")
    if not (NODE_MODULES / module).is_dir():
        pytest.skip(f"npm module {module} is not installed; `make peers` says how")
    return node


class Program:
    """One process that listens on ``port``, or without one on a port of its choice, which it prints first."""

    def __init__(self, name: str, command: list[str], log: Path, port: int | None = None) -> None:
        self.name = name
        self._port = port
        self._command = command
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, timeout: float = 15.0) -> None:
        """Start it and return when it accepts connections."""
        environment = {**os.environ, "NODE_PATH": str(NODE_MODULES)}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, env=environment)
        try:
            wait_until(self._is_up, timeout, f"{self.name} listens")
        except AssertionError:
            self.stop()
            raise

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1."""
        assert self._port is not None, f"{self.name} has not said its port"
        return self._port

    def _is_up(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"{self.name} ended with {self._process.returncode}:\n{self._log.read_text()}")
        if self._port is None:
            line, end, _ = self._log.read_text().partition("\n")
            self._port = int(line) if end else None
        return self._port is not None and is_listening(self._port)

    def stop(self) -> None:
        """End it and wait until it is gone. Does nothing when it does not run."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """End it as a power cut does. Does nothing when it does not run."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def __enter__(self) -> Program:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def mosquitto(folder: Path) -> Mosquitto:
    """A mosquitto that keeps sessions, and all that waits for them, over a stop and a start."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ("allow_anonymous true", "max_queued_messages 0", "max_inflight_messages 100", "set_tcp_nodelay true")
    return Mosquitto(folder, lines)


def modbusd(folder: Path) -> str:
    """``modbusd.c`` on libmodbus, compiled: holding register i holds i, input register i holds 1000 + i."""
    compiler = need("cc")
    if not Path("/usr/include/modbus/modbus.h").exists():
        pytest.skip("libmodbus-dev is not installed; `make peers` says how")
    folder.mkdir(parents=True, exist_ok=True)
    binary = str(folder / "modbusd")
    source = str(PEERS / "modbusd.c")
    subprocess.run([compiler, "-O1", source, "-I/usr/include/modbus", "-lmodbus", "-o", binary], check=True)
    return binary


def libmodbus_server(folder: Path) -> Program:
    """A Modbus TCP server on libmodbus."""
    return Program("libmodbus", [modbusd(folder)], folder / "modbusd.log")


def units_server(folder: Path) -> Program:
    """A Modbus TCP server on npm modbus-serial with many units; see ``modbus_units.js``."""
    node = need_node("modbus-serial")
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    return Program(
        "modbus-serial", [node, str(PEERS / "modbus_units.js"), str(port)], folder / "modbus_units.log", port
    )
