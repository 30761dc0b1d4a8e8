"""Real loss on a line: segments that the kernel throws away, in a network namespace of the rig's own.

Needs root and nft. The namespace and its rules go with the process, however it ends.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import Final

INSIDE: Final = "GATEWAY_RIG_NETNS"
"""In the environment of a process that has a namespace of its own."""

SBIN: Final = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def enter() -> None:
    """Start this program again in a namespace of its own, if that can be had; else do nothing."""
    if INSIDE in os.environ:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True, env={**os.environ, "PATH": SBIN})
        return
    unshare, nft = shutil.which("unshare"), shutil.which("nft", path=SBIN)
    if unshare is None or nft is None or os.geteuid() != 0:
        return
    if subprocess.run([unshare, "--net", nft, "list", "tables"], capture_output=True).returncode == 0:
        command = [unshare, "--net", sys.executable, *sys.orig_argv[1:]]
        os.execve(unshare, command, {**os.environ, INSIDE: "1"})


class Loss:
    """Of segments from and to 127.0.0.1:``port``. Made only where ``is_possible``."""

    @staticmethod
    def is_possible() -> bool:
        """Whether this process has a network of its own."""
        return INSIDE in os.environ

    def __init__(self, port: int) -> None:
        self._nft = shutil.which("nft", path=SBIN) or "nft"
        self._port = port
        self._tell("add table ip rig", "add chain ip rig in { type filter hook input priority 0; }")

    def lose(self, part: float) -> None:
        """This part of the segments is thrown away, in each direction; 0: none."""
        rules = [
            f"add rule ip rig in tcp {which} {self._port} numgen random mod 100 < {round(100 * part)} drop"
            for which in ("dport", "sport")
        ]
        self._tell("flush chain ip rig in", *(rules if part else ()))

    def _tell(self, *lines: str) -> None:
        subprocess.run([self._nft, "-f", "-"], input="\n".join(lines), text=True, check=True)
