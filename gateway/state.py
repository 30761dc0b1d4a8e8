"""The state folder: where everything lies that outlives a restart."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gateway.errors import GatewayError

SYSTEM: Final = Path("/var/lib/gateway")
"""What gateway.service has as its StateDirectory."""


def state_folder(
    option: str | None, setting: str | None, environ: Mapping[str, str], of_the_system: bool = False
) -> Path:
    """``--state``, else ``gateway.state``, else $STATE_DIRECTORY (systemd.exec(5)), else that of the service for whom
    the settings are ``of_the_system``, else the user's state folder."""
    for choice in (option, setting, environ.get("STATE_DIRECTORY", "").split(":")[0]):
        if choice:
            return Path(choice)
    if of_the_system:
        return SYSTEM
    base = environ.get("XDG_STATE_HOME") or os.path.join(environ.get("HOME", "/tmp"), ".local", "state")
    return Path(base) / "gateway"


def make_folder(folder: Path) -> None:
    """Make the folder if need be. Raises GatewayError when it cannot be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = error.strerror
    else:
        if os.access(folder, os.W_OK | os.X_OK):
            return
        problem = "no right to write"
    raise GatewayError(f"state folder {folder} cannot be used: {problem}; set --state or gateway.state")
