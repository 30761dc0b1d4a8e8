"""The state folder: where it is, and that only one gateway uses it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path

from gateway.errors import GatewayError


class StateInUse(GatewayError):
    """Another gateway runs on the same state folder."""


def state_folder(option: str | None, setting: str | None, environ: Mapping[str, str]) -> Path:
    """``--state``, else ``gateway.state``, else $STATE_DIRECTORY (systemd.exec(5)), else the user's state folder."""
    for choice in (option, setting, environ.get("STATE_DIRECTORY", "").split(":")[0]):
        if choice:
            return Path(choice)
    base = environ.get("XDG_STATE_HOME") or os.path.join(environ.get("HOME", "/tmp"), ".local", "state")
    return Path(base) / "gateway"


class StateLock:
    """Holds the state folder for this process until it ends, however it ends."""

    def __init__(self, folder: Path) -> None:
        """Make the folder if need be and lock it. Raises StateInUse, or GatewayError when it cannot be written."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise GatewayError(
                f"state folder {folder} cannot be used: {error.strerror}; set --state or gateway.state"
            ) from None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._fd)
            raise StateInUse(f"another gateway runs on {folder}; stop it or give this one its own --state") from None

    def release(self) -> None:
        """Give the folder back."""
        os.close(self._fd)
