"""One command to the monitor of a running QEMU (QMP, docs/interop/qmp-spec of QEMU)."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any, Final

SECONDS: Final = 30.0
"""A guest that keeps both processors of a busy machine lets its monitor wait for some of them."""


class MonitorError(Exception):
    """It refused; the text is what it said."""


def ask(monitor: Path, command: str, **arguments: Any) -> Any:
    """What it answers. Raises MonitorError, and OSError when nobody is there or says nothing within 30 s."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(SECONDS)
        line.connect(str(monitor))
        with line.makefile("rwb") as file:
            file.readline()  # its greeting
            # It takes no other command before this one.
            _one(file, "qmp_capabilities", {})
            return _one(file, command, arguments)


def _one(file: Any, command: str, arguments: dict[str, Any]) -> Any:
    file.write(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
    file.flush()
    while text := file.readline():
        said = json.loads(text)
        if "error" in said:
            raise MonitorError(f"{command}: {said['error']['desc']}")
        if "return" in said:  # anything else is an event
            return said["return"]
    raise ConnectionError(f"{command}: the monitor hung up")
