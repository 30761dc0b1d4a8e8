"""The state folder: where everything lies that outlives a restart."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gateway.errors import GatewayError

UNIT: Final = Path("/var/lib/gateway")
"""That of ``gateway.service``."""


def state_folder(option: str | None, setting: str | None, environ: Mapping[str, str], unit: Path | None = None) -> Path:
    """``--state``, else ``gateway.state``, else $STATE_DIRECTORY (systemd.exec(5)), else the user's state folder.

    ``unit``: taken before that of the user when it is there: a command that speaks to the gateway which systemd runs.
    """
    for choice in (option, setting, environ.get("STATE_DIRECTORY", "").split(":")[0]):
        if choice:
            return Path(choice)
    if unit is not None and unit.is_dir():
        return unit
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
