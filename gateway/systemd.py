"""Tell systemd how we are: READY, STATUS, WATCHDOG, STOPPING (sd_notify(3)).

Outside systemd (no ``NOTIFY_SOCKET``) every call does nothing.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping


class Notifier:
    """The notify socket of this service. ``environ`` is ``os.environ``, passed in."""

    def __init__(self, environ: Mapping[str, str], pid: int) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # "@" stands for the NUL byte that begins an abstract socket address (unix(7)).
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) if address else None
        self.watchdog_interval = _watchdog(environ, pid)
        """Seconds between two signs of life, half of what systemd allows; None without a watchdog."""

    def send(self, text: str) -> None:
        """One datagram. An unreachable systemd is no reason to stop working."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.sendto(text.encode(), self._address)

    def ready(self, status: str) -> None:
        """Everything that can be up without the outside world is up."""
        self.send(f"READY=1\nSTATUS={status}")

    def status(self, status: str) -> None:
        """One line for ``systemctl status``."""
        self.send(f"STATUS={status}")

    def watchdog(self) -> None:
        """A sign of life; to be sent only when real work moves."""
        self.send("WATCHDOG=1")

    def extend(self) -> None:
        """The start takes longer and goes on: half a minute from here (``EXTEND_TIMEOUT_USEC``)."""
        self.send("EXTEND_TIMEOUT_USEC=30000000")

    def stopping(self) -> None:
        """The end was asked for and has begun."""
        self.send("STOPPING=1\nSTATUS=stopping")

    def close(self) -> None:
        """Give the socket back."""
        if self._socket is not None:
            self._socket.close()


def _watchdog(environ: Mapping[str, str], pid: int) -> float | None:
    """``WATCHDOG_USEC`` halved, as sd_watchdog_enabled(3) advises; None when it is not meant for this process."""
    for_pid = environ.get("WATCHDOG_PID", "")
    text = environ.get("WATCHDOG_USEC", "")
    if not text.isdigit() or (for_pid.isdigit() and int(for_pid) != pid):
        return None
    return int(text) / 2e6
