"""What somebody far away needs to help: status, settings without their secrets, logs, and the state of the machine.

The log of the appliance is in memory: what is not taken before a restart is gone. Each part is bounded, and one that
cannot be had says why in its place.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import platform
import re
import subprocess
import tarfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from gateway import __version__
from gateway.config.declare import Secret
from gateway.errors import GatewayError

MOST: Final = 1 << 20
"""Bytes of one part; of a longer one the end."""

PATIENCE: Final = 20.0
"""Seconds for one program."""

COMMANDS: Final = {
    "log.txt": "journalctl --no-pager --output=short-iso --lines=5000 --unit=gateway*",
    "kernel.txt": "journalctl --no-pager --output=short-iso --lines=1000 --dmesg",
    "units.txt": "systemctl --no-pager --failed",
    "service.txt": "systemctl --no-pager --full status gateway.service",
    "update.txt": "gateway update status",
    "memory.txt": "cat /proc/meminfo /proc/loadavg /proc/uptime",
    "disks.txt": "df -h",
    "mounts.txt": "cat /proc/mounts",
    "network.txt": "ip -brief address",
    "routes.txt": "ip route",
    "time.txt": "timedatectl --no-pager",
    "ports.txt": "ls -l /dev/serial/by-id",
}

HIDDEN: Final = "(secret)"

_IN_A_URL: Final = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s/@:]*):[^\s/@]+@")

Run = Callable[[str], str]


def plain(value: Any) -> Any:
    """Settings as JSON takes them, each secret hidden, and passwords in URLs too."""
    if isinstance(value, Secret):
        return HIDDEN
    if isinstance(value, str):
        return _IN_A_URL.sub(rf"\1:{HIDDEN}@", value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(one) for one in value]
    return value if isinstance(value, int | float | bool) or value is None else repr(value)


def run_program(command: str) -> str:
    """What a program says, or why it did not."""
    try:
        done = subprocess.run(command.split(), capture_output=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        return f"{command}: {error}\n"
    return (done.stdout + done.stderr)[-MOST:].decode(errors="replace")


def parts(settings: Callable[[], Any], status: Callable[[], Any], run: Run = run_program) -> dict[str, str]:
    """The files of the archive by name. ``settings`` and ``status`` may raise GatewayError, which stands in their
    place then."""
    found = {
        "about.json": _json(
            {
                "gateway": __version__,
                "python": platform.python_version(),
                "machine": platform.machine(),
                "kernel": platform.release(),
                "time": datetime.now(UTC).isoformat(timespec="seconds"),
            }
        )
    }
    for name, get in (("settings.json", settings), ("status.json", status)):
        try:
            found[name] = _json(plain(get()))
        except GatewayError as error:
            found[name] = _json({"error": str(error)})
    found |= {name: run(command) for name, command in COMMANDS.items()}
    return found


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=repr) + "\n"


def write(target: Path, files: Mapping[str, str]) -> None:
    """One archive (tar, gzip), readable by its owner only. Raises GatewayError."""
    try:
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise GatewayError(f"{target}: is there already; give another name") from None
    except OSError as error:
        raise GatewayError(f"{target}: cannot be written: {error.strerror}") from None
    with os.fdopen(handle, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, text in files.items():
            data = text.encode()
            member = tarfile.TarInfo(f"diag/{name}")
            member.size, member.mode, member.mtime = len(data), 0o600, int(datetime.now(UTC).timestamp())
            tar.addfile(member, io.BytesIO(data))
