"""A real mosquitto for tests: start, stop, kill, and start again on the same port with its state kept.

The test is skipped where mosquitto is not installed.
"""

from __future__ import annotations

import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest
import trustme

START_LIMIT: Final = 10.0
"""Seconds until it must listen."""


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


class Mosquitto:
    """One broker on 127.0.0.1. ``lines`` are added to its configuration, ``listener`` to its listener."""

    def __init__(
        self,
        folder: Path,
        lines: Sequence[str] = ("allow_anonymous true",),
        listener: Sequence[str] = (),
        persistence: bool = True,
    ) -> None:
        program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
        if program is None:
            pytest.skip("mosquitto is not installed")
        self.port = free_port()
        self._program = program
        self._log = folder / "mosquitto.log"
        self._config = folder / "mosquitto.conf"
        self._process: subprocess.Popen[bytes] | None = None
        text = ["user root", "per_listener_settings false", "log_type all", *lines]
        if persistence:
            # Written after every change: a kill -9 loses nothing that was acknowledged.
            text += ["persistence true", f"persistence_location {folder}/", "autosave_on_changes true"]
            text += ["autosave_interval 1"]
        text += [f"listener {self.port} 127.0.0.1", *listener]
        self._config.write_text("\n".join(text) + "\n")

    def start(self) -> None:
        """Start, or start again, and wait until it listens."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "-c", str(self._config)], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        limit = time.monotonic() + START_LIMIT
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > limit:
                    self.kill()
                    raise AssertionError(f"mosquitto does not start: {self.log()}") from None
                time.sleep(0.02)

    def stop(self) -> None:
        """Ask it to end; it writes its state."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut does."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Let it hang: the sockets stay open and nobody answers. Ended by ``kill``."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def log(self) -> str:
        """What it said so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            process.wait(START_LIMIT)

    def __enter__(self) -> Mosquitto:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


class Certificates:
    """An authority, a server certificate for localhost and 127.0.0.1, and a client certificate; as files."""

    def __init__(self, folder: Path, client_name: str = "gateway") -> None:
        authority = trustme.CA()
        server = authority.issue_cert("localhost", "127.0.0.1")
        client = authority.issue_cert(f"{client_name}@example.org", common_name=client_name)
        self.ca, self.cert, self.key = folder / "ca.pem", folder / "client.pem", folder / "client.key"
        self.server_cert, self.server_key = folder / "server.pem", folder / "server.key"
        authority.cert_pem.write_to_path(self.ca)
        server.private_key_pem.write_to_path(self.server_key)
        self.server_cert.write_bytes(b"".join(blob.bytes() for blob in server.cert_chain_pems))
        client.private_key_pem.write_to_path(self.key)
        self.cert.write_bytes(b"".join(blob.bytes() for blob in client.cert_chain_pems))

    def listener(self, require: bool = False) -> list[str]:
        """Lines for ``Mosquitto(listener=...)``."""
        lines = [f"cafile {self.ca}", f"certfile {self.server_cert}", f"keyfile {self.server_key}"]
        return [*lines, "require_certificate true"] if require else lines

    def server_context(self) -> ssl.SSLContext:
        """For an asyncio server in the test's own process."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server_cert, self.server_key)
        return context
