"""The certificate of a listener while it runs: files that change are read again, at the next handshake.

Connections that are open keep what they began with. A file that cannot be used is logged once, and what was read
before stays: a certificate that is being replaced, file by file, is never seen half.
"""

from __future__ import annotations

import logging
import ssl
from pathlib import Path
from typing import Final

from gateway.config.listener import Tls
from gateway.listeners.tls import BadCertificate, server_context, warning
from gateway.metrics import Metrics

log = logging.getLogger("gateway")

LOOK_SECONDS: Final = 1.0
"""The files are looked at no more often than this."""

Stamp = tuple[tuple[int, int, int] | None, ...]


class Certificates:
    """The TLS context of one listener. Raises BadCertificate when it is made and a file cannot be used."""

    def __init__(self, listener: str, settings: Tls, metrics: Metrics) -> None:
        self._listener = listener
        self._settings = settings
        self._metrics = metrics
        self._looked = 0.0
        self._stamp = self._look()
        self._context = server_context(settings)
        text = warning(settings)
        if text:
            log.warning("private key is not private", extra={"listener": listener, "reason": text})

    def context(self, now: float) -> ssl.SSLContext:
        """What a handshake that begins at ``now`` uses."""
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            if self._look() != self._stamp:
                self.reload()
        return self._context

    def reload(self) -> bool:
        """Read the files again. False: one of them cannot be used, and what was read before stays."""
        self._stamp = self._look()
        try:
            # A new context also forgets the session tickets: who is revoked cannot resume.
            self._context = server_context(self._settings)
        except BadCertificate as error:
            self._metrics.count("certificate_errors")
            log.error("certificate not reloaded", extra={"listener": self._listener, "reason": str(error)})
            return False
        self._metrics.count("certificate_reloads")
        log.info("certificate reloaded", extra={"listener": self._listener})
        return True

    def _look(self) -> Stamp:
        settings = self._settings
        return tuple(
            _stamp(path) for path in (settings.cert, settings.key, settings.client_ca, settings.crl) if path is not None
        )


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
