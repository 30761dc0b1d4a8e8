"""The gateway as a process of a test: started until READY, asked, stopped, killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from e2e.rig.notify import NotifySocket
from e2e.rig.programs import ROOT
from e2e.rig.waiting import NotInTime, wait_until

START_SECONDS = 15.0
STOP_SECONDS = 5.0
"""ARCHITECTURE.md section 7: a stop is clean within this."""


def run_command(*arguments: str, timeout: float = 30.0, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """``gateway ARGUMENTS``, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        cwd=ROOT,
        input=text,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


class GatewayProcess:
    """``gateway run`` on a settings file and a state folder of its own, which outlive the process.

    notify       what it told systemd; a new one for each start
    log          file that its log of all starts goes to
    interpreter  options of Python, as for a profiler
    """

    def __init__(
        self,
        folder: Path,
        settings: str,
        watchdog_seconds: float | None = None,
        interpreter: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.settings = folder / "gateway.toml"
        self.state = folder / "state"
        self.rules = folder / "rules"
        self.log = folder / "gateway.log"
        self.notify = NotifySocket()
        self._launched = 0.0
        self._watchdog_seconds = watchdog_seconds
        self._interpreter = interpreter
        self._process: subprocess.Popen[bytes] | None = None
        self.rules.mkdir(parents=True, exist_ok=True)
        self.settings.write_text(settings)

    @property
    def pid(self) -> int:
        assert self._process is not None, "the gateway does not run"
        return self._process.pid

    @property
    def was_launched(self) -> bool:
        """Whether there is a process, though it may have ended."""
        return self._process is not None

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, timeout: float = START_SECONDS) -> None:
        """Start it and return at READY=1."""
        self.launch()
        wait_until(lambda: not self.runs or self.is_ready, timeout, "the gateway is READY or has ended")
        if not self.runs:
            assert self._process is not None
            raise AssertionError(f"the gateway ended with {self._process.returncode}:\n{self.log_text()}")

    def launch(self) -> None:
        """Start it and return at once; ``is_ready`` tells the rest."""
        assert self._process is None, "the gateway runs already"
        self.notify.close()
        self.notify = NotifySocket()
        environment = {**os.environ, "NOTIFY_SOCKET": self.notify.address}
        if self._watchdog_seconds is not None:
            environment["WATCHDOG_USEC"] = str(int(self._watchdog_seconds * 1e6))
        command = [sys.executable, *self._interpreter, "-m", "gateway", "run"]
        command += ["--config", str(self.settings), "--state", str(self.state)]
        self._launched = time.monotonic()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env=environment)

    @property
    def is_ready(self) -> bool:
        """Whether it has said READY=1."""
        return bool(self.notify.count("READY=1"))

    @property
    def seconds_to_ready(self) -> float:
        """From its start to READY=1. Only when it is ready."""
        return self.notify.lines[0][0] - self._launched

    def stop(self) -> None:
        """SIGTERM; it must end within 5 s with exit code 0."""
        assert self._process is not None, "the gateway does not run"
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise NotInTime(f"the gateway did not stop within {STOP_SECONDS:g} s:\n{self.log_text()}") from None
        self._process = None
        assert code == 0, f"the gateway stopped with {code}:\n{self.log_text()}"

    def kill(self) -> None:
        """kill -9: what a power cut is to a process."""
        assert self._process is not None, "the gateway does not run"
        self._process.kill()
        self._process.wait()
        self._process = None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def command(self, *arguments: str, ends: int = 0) -> str:
        """Output of ``gateway ARGUMENTS --state DIR``, which must end with the exit code ``ends``."""
        done = run_command(*arguments, "--state", str(self.state))
        assert done.returncode == ends, f"gateway {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def status(self) -> Any:
        """What ``gateway status --json`` says."""
        return json.loads(self.command("status", "--json"))

    def log_text(self) -> str:
        """Everything it has logged over all its starts."""
        return self.log.read_text() if self.log.exists() else ""

    def close(self) -> None:
        """At the end of a test: stop it if it runs, and show its log (pytest prints it when the test failed)."""
        sys.stdout.write(f"--- log of the gateway in {self.folder}:\n{self.log_text()[-20_000:]}\n")
        try:
            if self.runs:
                self.stop()
        finally:
            if self._process is not None:
                self.kill()
            self.notify.close()
