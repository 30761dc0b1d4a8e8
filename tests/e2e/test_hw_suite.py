"""The suite for boards (hw-tests), with this machine as the board, and how it speaks to one that is elsewhere."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hw.board import Board, Tunnel

from e2e.rig.programs import ROOT, need

SSH = """\
#!/bin/sh
# Stands in for ssh and sshd: notes its words, and runs the last one as a login shell of the board would.
printf '%s\\n' "$*" >>"$SSH_LOG"
for last; do :; done
sh -c "$last"
exit $?
"""


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ssh that keeps what it was told in a file, which is the result."""
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(SSH)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SSH_LOG", str(tmp_path / "log"))
    return tmp_path / "log"


def test_a_command_arrives_on_the_board_as_it_was_written(ssh: Path) -> None:
    board = Board("root@board", ["-p", "2222"])
    assert board.run("""printf '%s|' "a  b" 'c"d' $((1 + 1)); cat""", text="in").stdout == 'a  b|c"d|2|in'
    assert "-p 2222 -o BatchMode=yes" in ssh.read_text() and "root@board" in ssh.read_text()
    with pytest.raises(AssertionError, match="ended with 3 on root@board: why"):
        board.run("echo why >&2; exit 3")


def test_a_file_is_put_where_it_is_said(ssh: Path, tmp_path: Path) -> None:
    Board("board").put(f"{tmp_path}/a folder/file", 'x = "y"\n')
    assert (tmp_path / "a folder" / "file").read_text() == 'x = "y"\n'


def test_ports_lead_both_ways(ssh: Path) -> None:
    tunnel = Board("board").tunnel([15001], [16001])
    assert isinstance(tunnel, Tunnel)
    tunnel.open()
    tunnel.close()
    assert "-L 127.0.0.1:15001:127.0.0.1:15001 -R 127.0.0.1:16001:127.0.0.1:16001 board" in ssh.read_text()
    assert Board("").tunnel([1], [2]) is None and Board("board").tunnel([], []) is None


def test_a_tunnel_made_anew_ends_what_the_old_one_has_left_on_the_board(ssh: Path) -> None:
    """A cut line leaves a process of sshd there that has the ports still."""
    tunnel = Board("board").tunnel([], [16001])
    assert isinstance(tunnel, Tunnel)
    tunnel.open()
    left, old = tunnel._process, tunnel._far_end
    assert left is not None and old is not None
    tunnel._process = None  # as if it had been cut: nobody has told the far end
    tunnel.open()
    assert left.wait(10) != 0 and tunnel._far_end != old
    assert left.stdin is not None and left.stdout is not None
    left.stdin.close()
    left.stdout.close()
    tunnel.close()


@pytest.mark.slow
def test_this_machine_plays_the_board(tmp_path: Path) -> None:
    """Cuts of the supply are kills here; what needs hardware says which."""
    need("mosquitto")
    folder = tmp_path / "board"
    kill = f"kill -9 $(cat {shlex.quote(str(folder / 'pid'))})"
    suite = ("power_cut", "network", "watchdog", "first_boot", "rs485", "board_care")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *(f"hw-tests/test_{name}.py" for name in suite)]
        + ["--folder", str(folder), "--power-off", kill, "--power-on", "true", "--cuts", "2"]
        + ["--basetemp", str(tmp_path / "inner"), "-p", "no:cacheprovider"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None and int(passed[1]) >= 2, done.stdout[-1000:]
    for hardware in ("a switch whose port", "hardware watchdog", "needs a board", "RS-485 port", "climate chamber"):
        assert hardware in done.stdout
