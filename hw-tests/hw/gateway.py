"""A gateway on the board, as the scenarios of tests/e2e know it: ``GatewayProcess`` is the same on this machine.

It is a process of its own beside the service, with settings and state in a folder on the board; the service is not
touched. The folder must be on the flash that is to be tested.
"""

from __future__ import annotations

import json
import re
import shlex
import time
from typing import Any

from e2e.rig.waiting import is_listening, wait_until
from hw.board import Board

START_SECONDS = 120.0
"""A small board that starts everything else at once takes a minute."""
STOP_SECONDS = 5.0
_LISTENS = re.compile(r'bind = "127\.0\.0\.1:(\d+)"')
_REACHES = re.compile(r'"(?:mqtt|tcp)://127\.0\.0\.1:(\d+)')


class BoardGateway:
    """``command`` is how the gateway is called there. Ports of 127.0.0.1 in the settings are tunnelled."""

    def __init__(self, board: Board, folder: str, command: str, settings: str, rules: str | None = None) -> None:
        self.board = board
        self.folder = folder
        self._gateway = command
        self._settings = settings
        self._rules = rules
        # Apart, because a gateway looks for its cloud when it starts, and nobody may find a port here while it is off.
        self._listens = board.tunnel(self._ports(_LISTENS), ())
        self._reaches = board.tunnel((), self._ports(_REACHES) - self._ports(_LISTENS))
        self.seconds_to_ready = 0.0
        """How long the last start took, to the moment when its ports could be reached from here."""
        self._files = {
            name: shlex.quote(f"{folder}/{name}") for name in ("gateway.toml", "state", "gateway.log", "pid")
        }

    def prepare(self) -> None:
        """An empty folder with the settings."""
        self.board.run(f"rm -rf {shlex.quote(self.folder)} && mkdir -p {shlex.quote(self.folder)}/rules")
        self.board.put(f"{self.folder}/gateway.toml", self._settings)
        if self._rules is not None:
            self.board.put(f"{self.folder}/rules/rules.toml", self._rules)

    def _ports(self, pattern: re.Pattern[str]) -> set[int]:
        return {int(port) for port in pattern.findall(self._settings)}

    def start(self) -> None:
        """Start it and return when it is ready and its ports can be reached from here."""
        begin = time.monotonic()
        if self._reaches is not None:
            self._reaches.open()
        files = self._files
        self.board.run(
            f"setsid {self._gateway} run --config {files['gateway.toml']} --state {files['state']} "
            f">>{files['gateway.log']} 2>&1 </dev/null & echo $! >{files['pid']}"
        )
        wait_until(self._has_started, START_SECONDS, "the gateway is ready or has ended")
        self._reach()
        self.seconds_to_ready = time.monotonic() - begin

    def _has_started(self) -> bool:
        """Whether its listeners are up too: a tunnel takes connections for one that is not. Raises AssertionError when
        it has ended."""
        files, ended = self._files, 99
        asked = f"{self._gateway} status --ready --state {files['state']}"
        code = self.board.run(f"kill -0 $(cat {files['pid']}) || exit {ended}; {asked}", check=False).returncode
        assert code != ended, f"the gateway ended:\n{self.log_text()}"
        return code == 0

    def _reach(self) -> None:
        if self._listens is not None:
            self._listens.open()
        for port in self._ports(_LISTENS):
            wait_until(lambda port=port: is_listening(port), START_SECONDS, f"port {port}")  # type: ignore[misc]

    def reconnect(self) -> None:
        """Make the tunnels anew after the network was away."""
        if self._reaches is not None:
            self._reaches.open()
        self._reach()

    @property
    def runs(self) -> bool:
        return self.board.run(f"kill -0 $(cat {self._files['pid']})", check=False).returncode == 0

    def _end(self, signal: str, seconds: float) -> None:
        """On the board, and without a question for each look: a slow one takes a second to shake hands."""
        looks = f"n={seconds * 10:.0f}; while kill -0 $p 2>/dev/null && [ $n -gt 0 ]; do sleep 0.1; n=$((n - 1)); done"
        gone = f"p=$(cat {self._files['pid']}); kill -{signal} $p && {{ {looks}; ! kill -0 $p 2>/dev/null; }}"
        ended = self.board.run(gone, check=False)
        assert ended.returncode == 0, f"the gateway did not end at SIG{signal} within {seconds:g} s: {ended.stderr}"
        if self._listens is not None:
            self._listens.close()

    def stop(self) -> None:
        """SIGTERM; it must be gone in time."""
        self._end("TERM", STOP_SECONDS)

    def kill(self) -> None:
        """kill -9."""
        self._end("KILL", STOP_SECONDS)

    def command(self, *arguments: str) -> str:
        """Output of ``gateway ARGUMENTS`` on the board, for this gateway."""
        return self.board.run(f"{self._gateway} {shlex.join(arguments)} --state {self._files['state']}").stdout

    def status(self) -> Any:
        """What ``gateway status --json`` says."""
        return json.loads(self.command("status", "--json"))

    def log_text(self) -> str:
        return self.board.run(f"cat {self._files['gateway.log']}", check=False).stdout

    def close(self) -> None:
        """End it, and take its folder away."""
        try:
            if self.board.answers():
                if self.runs:
                    self.kill()
                self.board.run(f"rm -rf {shlex.quote(self.folder)}")
        finally:
            for tunnel in (self._listens, self._reaches):
                if tunnel is not None:
                    tunnel.close()
