"""A server of bundles on 127.0.0.1 with TLS, whose line breaks where a test says so; also for a virtual machine."""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trustme

GUEST = "10.0.2.2"
"""This machine as a guest of QEMU sees it."""


class BundleServer:
    """``content`` by path. ``cut``: bytes after which the next answers end; ``answers``: codes that come first."""

    def __init__(self, folder: Path) -> None:
        self.content: dict[str, bytes] = {}
        self.cut: list[int] = []
        self.answers: list[int] = []
        self.moved: dict[str, str] = {}
        self.knows_ranges = True
        self.wrong_range = False
        self.asked: list[str | None] = []
        self.sent = 0
        self.ca = folder / "bundles-ca.pem"
        self._authority = trustme.CA()
        self._authority.cert_pem.write_to_path(str(self.ca))
        self.port = 0

    def url(self, path: str = "/site.gwu", host: str = "127.0.0.1") -> str:
        return f"https://{host}:{self.port}{path}"

    @contextmanager
    def running(self) -> Iterator[None]:
        mine = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                mine.answer(self)

            def log_message(self, *arguments: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                """A client that does not trust us is no news."""

        server = Server(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert("127.0.0.1", GUEST).configure_cert(context)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        self.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range")
        self.asked.append(asked)
        if self.answers:
            handler.send_error(self.answers.pop(0))
            return
        if handler.path in self.moved:
            handler.send_response(302)
            handler.send_header("Location", self.moved[handler.path])
            handler.end_headers()
            return
        if handler.path not in self.content:
            handler.send_error(404)
            return
        whole = self.content[handler.path]
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.knows_ranges else 0
        handler.send_response(206 if start else 200)
        if start:
            said = start + 1 if self.wrong_range else start
            handler.send_header("Content-Range", f"bytes {said}-{len(whole) - 1}/{len(whole)}")
        handler.send_header("Content-Length", str(len(whole) - start))
        handler.end_headers()
        rest = whole[start:]
        if self.cut:
            rest = rest[: self.cut.pop(0)]
        handler.wfile.write(rest)
        self.sent += len(rest)
