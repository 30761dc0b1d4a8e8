"""Why a serial port of this machine cannot be opened, or does not behave: what is there, and who else has it.

Looks at device files and at ``/proc``; opens no port.
"""

from __future__ import annotations

import glob
import grp
import os
from pathlib import Path
from typing import Final

_NAMED: Final = "/dev/serial/by-id/*"
_PLAIN: Final = ("/dev/ttyUSB*", "/dev/ttyACM*", "/dev/ttyAMA*", "/dev/ttymxc*")


def ports() -> list[str]:
    """The serial ports of this machine, by the names that stay."""
    found = sorted(glob.glob(_NAMED))
    return found or sorted(path for pattern in _PLAIN for path in glob.glob(pattern))


def users(path: str, proc: str = "/proc") -> list[str]:
    """Programs that have a device file open, such as ``minicom (pid 712)``, without this one. Those of other users
    are only seen by root."""
    try:
        wanted = os.stat(path).st_rdev
    except OSError:
        return []
    found = []
    for folder in glob.glob(f"{proc}/[0-9]*"):
        pid = int(os.path.basename(folder))
        if pid != os.getpid() and _has_open(folder, wanted):
            found.append((pid, f"{_name(folder)} (pid {pid})"))
    return [text for _, text in sorted(found)]


def advice(path: str) -> str:
    """What to do about a port that was not opened; empty when nothing is known."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        there = ports()
        return f"ports of this machine: {', '.join(there)}" if there else "this machine has no serial port: plugged in?"
    except OSError:
        return ""
    if not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
        try:
            group = grp.getgrgid(status.st_gid).gr_name
        except KeyError:
            group = str(status.st_gid)
        return f"run this as root, or as a user of the group {group} (usermod -aG {group} USER)"
    others = users(path)
    return f"it is held by {', '.join(others)}" if others else ""


def _has_open(folder: str, device: int) -> bool:
    try:
        names = os.listdir(f"{folder}/fd")
    except OSError:
        return False  # of another user, or gone
    for name in names:
        try:
            if os.stat(f"{folder}/fd/{name}").st_rdev == device:
                return True
        except OSError:
            continue
    return False


def _name(folder: str) -> str:
    try:
        return Path(f"{folder}/comm").read_text(errors="replace").strip()
    except OSError:
        return "a program"
