"""Switches on a Unix socket: what a switchable outlet is to a board, this is to an emulated one.

``python -m machine.panel SOCKET power off`` is what the suite for boards gets as its command; the process that has the
machine does it. Ends with 0 when it is done, with 1 and the reason when not.
"""

from __future__ import annotations

import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

DONE: Final = "done"


@contextmanager
def panel(path: Path, switches: Mapping[str, Callable[[], None]]) -> Iterator[None]:
    """Serve ``switches`` by name ("power off") at ``path``, one at a time, until the end of the block."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            name = self.rfile.readline().decode().strip()
            self.wfile.write(_throw(switches, name).encode())

    with socketserver.UnixStreamServer(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="panel")
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def _throw(switches: Mapping[str, Callable[[], None]], name: str) -> str:
    if name not in switches:
        return f"no switch {name!r}; there are {', '.join(switches)}"
    try:
        switches[name]()
    except Exception as error:
        # Whatever it is, the one who pressed must hear of it, and the panel goes on.
        return f"{name}: {error!r}"
    return DONE


def press(path: Path, name: str) -> str:
    """Throw a switch; "done", or why not."""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(path))
        line.sendall(name.encode() + b"\n")
        with line.makefile("r") as answer:
            return answer.read()


def main() -> int:
    """The command."""
    answer = press(Path(sys.argv[1]), " ".join(sys.argv[2:]))
    if answer != DONE:
        sys.stderr.write(f"{answer or 'the panel hung up'}\n")
    return int(answer != DONE)


if __name__ == "__main__":
    raise SystemExit(main())
