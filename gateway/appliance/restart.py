"""The restart of the machine, where there is one: a folder that stands for a machine is not restarted."""

from __future__ import annotations

import subprocess
from pathlib import Path


def restart(machine: Path) -> None:
    """Ask systemd for it, and return at once."""
    if machine == Path("/"):
        subprocess.run(["systemctl", "--no-block", "reboot"], check=False)
