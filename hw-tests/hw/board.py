"""A board by address: commands on it, and the ports of this PC that are ports of the board, and the other way.

Everything goes through ssh, so that no listener has to be opened for a test. Without a host the board is this machine.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterable, Sequence

from e2e.rig.waiting import wait_until

DEFAULTS = (
    "-o",
    "BatchMode=yes",
    "-o",
    "ConnectTimeout=5",
    "-o",
    "ServerAliveInterval=5",
    "-o",
    "ServerAliveCountMax=2",
)
OPEN_SECONDS = 60.0

STANDS = "echo up $PPID $(cat /proc/sys/kernel/random/boot_id); exec cat"
"""The far end of a tunnel: says that all ports stand, and which process of sshd has them; then waits for its end."""


class Tunnel:
    """Ports of 127.0.0.1 here that lead to the same ports there, and back. Ends with ``close``."""

    def __init__(self, board: Board, here: Sequence[int], there: Sequence[int]) -> None:
        self._board = board
        self._takes_ports_there = bool(there)
        self._options = ["-o", "ExitOnForwardFailure=yes"]
        for port in here:
            self._options += ["-L", f"127.0.0.1:{port}:127.0.0.1:{port}"]
        for port in there:
            self._options += ["-R", f"127.0.0.1:{port}:127.0.0.1:{port}"]
        self._process: subprocess.Popen[str] | None = None
        self._far_end: tuple[str, str] | None = None

    def open(self) -> None:
        """Make it, or make it anew, and return when both ends have their ports. Raises AssertionError."""
        self.close()
        self._forget_far_end()
        wait_until(self._open, OPEN_SECONDS, "a tunnel to the board")

    def _open(self) -> bool:
        words = self._board.words(STANDS, self._options)
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        up, *far_end = self._process.stdout.readline().split() or [""]
        if up != "up":
            self.close()
            return False
        if self._takes_ports_there:
            self._far_end = (far_end[0], far_end[1])
        return True

    def _forget_far_end(self) -> None:
        """A line that was cut leaves a process of sshd on the board that does not know of it, and has the ports."""
        if self._far_end is not None:
            process, boot = self._far_end
            self._board.run(f'[ "$(cat /proc/sys/kernel/random/boot_id)" != {boot} ] || kill {process}', check=False)
            self._far_end = None

    def close(self) -> None:
        """Let go of the ports here; what a cut line has left there ends by itself, or is ended by ``open``."""
        if self._process is not None:
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe is not None
                pipe.close()
            self._process.terminate()
            self._process.wait(10)
            self._process = None


class Board:
    """``host`` as ssh takes it (root@192.168.1.7), "" for this machine; ``options`` are more words for ssh."""

    def __init__(self, host: str, options: Sequence[str] = ()) -> None:
        self.host = host
        # Of an option that is given twice, ssh takes the first.
        self._ssh = ["ssh", *options, *DEFAULTS]

    @property
    def is_here(self) -> bool:
        """Whether this machine plays the board."""
        return not self.host

    def words(self, command: str, options: Sequence[str] = ()) -> list[str]:
        """What runs a line of shell on the board, as words for a process here; ``options`` are more words for ssh."""
        if self.is_here:
            return ["sh", "-c", command]
        return [*self._ssh, *options, self.host, f"sh -c {shlex.quote(command)}"]

    def run(
        self, command: str, text: str | None = None, check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a line of shell on the board. Raises AssertionError when it fails, unless not to ``check``."""
        done = subprocess.run(
            self.words(command),
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
        """A tunnel, not open; None where no port needs one: board and PC are one, or there are no ports."""
        here, there = list(here), list(there)
        return Tunnel(self, here, there) if (here or there) and not self.is_here else None

    def put(self, path: str, text: str) -> None:
        """Write a file there."""
        self.run(f'mkdir -p "$(dirname {shlex.quote(path)})" && cat >{shlex.quote(path)}', text=text)
