"""The other end of sd_notify(3): a socket that plays systemd and remembers what it was told."""

from __future__ import annotations

import os
import socket
import threading
import time
from types import TracebackType

from e2e.rig.waiting import NotInTime


class NotifySocket:
    """An abstract datagram socket; ``lines`` holds (monotonic time, assignment) in order of arrival."""

    def __init__(self) -> None:
        self.lines: list[tuple[float, str]] = []
        self.address = f"@edge-gateway-test-{os.getpid()}-{time.monotonic_ns()}"
        self._news = threading.Condition()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + self.address[1:])
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while datagram := self._socket.recv(4096):
            with self._news:
                now = time.monotonic()
                self.lines += [(now, line) for line in datagram.decode().splitlines()]
                self._news.notify_all()

    def count(self, start: str) -> int:
        """How many lines begin with ``start``."""
        with self._news:
            return sum(line.startswith(start) for _, line in self.lines)

    def wait(self, start: str, timeout: float, at_least: int = 1) -> None:
        """Return when ``at_least`` lines begin with ``start``. Raises NotInTime."""
        with self._news:
            if not self._news.wait_for(
                lambda: sum(line.startswith(start) for _, line in self.lines) >= at_least, timeout
            ):
                raise NotInTime(f"not within {timeout:g} s: {start} on the notify socket; got {self.lines}")

    def close(self) -> None:
        """An empty datagram ends the thread."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", "\0" + self.address[1:])
        self._thread.join()
        self._socket.close()

    def __enter__(self) -> NotifySocket:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()
