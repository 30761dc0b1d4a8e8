"""A board by address: commands on it, and the ports of this PC that are ports of the board, and the other way.

Everything goes through ssh, so that no listener has to be opened for a test. Without a host the board is this machine.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterable, Sequence

from e2e.rig.waiting import wait_until

SSH = (
    "ssh",
    "-o",
    "BatchMode=yes",
    "-o",
    "ConnectTimeout=5",
    "-o",
    "ServerAliveInterval=5",
    "-o",
    "ServerAliveCountMax=2",
)


class Tunnel:
    """Ports of 127.0.0.1 here that lead to the same ports there, and back. Ends with ``close``."""

    def __init__(self, command: Sequence[str], here: Iterable[int], there: Iterable[int]) -> None:
        options = ["-N", "-o", "ExitOnForwardFailure=yes"]
        for port in here:
            options += ["-L", f"127.0.0.1:{port}:127.0.0.1:{port}"]
        for port in there:
            options += ["-R", f"127.0.0.1:{port}:127.0.0.1:{port}"]
        # The host is the last word of the command.
        self._command = [*command[:-1], *options, command[-1]]
        self._process: subprocess.Popen[bytes] | None = None

    def open(self) -> None:
        """Make it, or make it anew when the network took it."""
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL)

    def close(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None


class Board:
    """``host`` as ssh takes it (root@192.168.1.7), "" for this machine; ``options`` are more words for ssh."""

    def __init__(self, host: str, options: Sequence[str] = ()) -> None:
        self.host = host
        self._command = [*SSH, *options, host] if host else []

    @property
    def is_here(self) -> bool:
        """Whether this machine plays the board."""
        return not self.host

    def run(
        self, command: str, text: str | None = None, check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a line of shell on the board. Raises AssertionError when it fails, unless not to ``check``."""
        words = [*self._command, f"sh -c {shlex.quote(command)}"] if self._command else ["sh", "-c", command]
        done = subprocess.run(
            words,
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if check and done.returncode != 0:
            raise AssertionError(
                f"{command!r} ended with {done.returncode} on {self.host or 'this machine'}: {done.stderr}"
            )
        return done

    def answers(self) -> bool:
        """Whether a command can be run on it now."""
        try:
            return self.run("true", check=False, timeout=20).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def wait_until_it_answers(self, timeout: float = 180) -> None:
        """Return when it does: after its start, or when the network is back."""
        wait_until(self.answers, timeout, f"{self.host} answers")

    def tunnel(self, here: Iterable[int], there: Iterable[int]) -> Tunnel | None:
        """A tunnel, not open; None where board and PC are one."""
        return Tunnel(self._command, here, there) if self._command else None

    def put(self, path: str, text: str) -> None:
        """Write a file there."""
        self.run(f'mkdir -p "$(dirname {shlex.quote(path)})" && cat >{shlex.quote(path)}', text=text)
