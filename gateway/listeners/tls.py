"""TLS for listeners, sans-IO: the settings as a context, a certificate as a name, and a connection as a layer.

TLS 1.2 and later. OpenSSL checks client certificates: their signature, their dates, and the revocation lists.
"""

from __future__ import annotations

import ssl
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

from gateway.config.listener import Tls
from gateway.errors import GatewayError
from gateway.listeners.layer import Layer


class BadCertificate(GatewayError):
    """A file that the settings name is no usable certificate or key. ``key``: the setting below the listener."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(text)
        self.key = key


RECORD: Final = 16 << 10
"""Bytes of one TLS record at most (RFC 8446 section 5.1)."""

_VERIFY: Final = {"none": ssl.CERT_NONE, "request": ssl.CERT_OPTIONAL, "require": ssl.CERT_REQUIRED}


def server_context(settings: Tls) -> ssl.SSLContext:
    """A context for TLS 1.2 and later. Raises BadCertificate when a file cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        # A key with a passphrase would ask for it on the terminal; this answers with none.
        context.load_cert_chain(settings.cert, settings.key, password="")
    except (OSError, ssl.SSLError) as error:
        raise BadCertificate(
            "tls.cert", f"{settings.cert} and {settings.key} are no certificate with its key: {error}"
        ) from None
    if settings.client_ca is not None:
        _trust(context, "tls.client_ca", settings.client_ca)
    if settings.crl is not None:
        before = context.cert_store_stats()["crl"]
        _trust(context, "tls.crl", settings.crl)
        if context.cert_store_stats()["crl"] == before:
            raise BadCertificate("tls.crl", f"{settings.crl} is no certificate revocation list")
        context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
    context.verify_mode = _VERIFY[settings.client_auth]
    return context


def _trust(context: ssl.SSLContext, key: str, path: str) -> None:
    try:
        context.load_verify_locations(path)
    except (OSError, ssl.SSLError) as error:
        raise BadCertificate(key, f"{path} is no certificate: {error}") from None


def problems(settings: Tls) -> Iterator[tuple[str, str]]:
    """What is wrong with the files: (key below the listener, text)."""
    try:
        server_context(settings)
    except BadCertificate as error:
        yield error.key, str(error)


def warning(settings: Tls) -> str | None:
    """What should be mended but does not stop the listener; None when all is well."""
    mode = stat.S_IMODE(Path(settings.key).stat().st_mode)
    if mode & stat.S_IROTH:
        return f"everybody on this machine can read {settings.key} (mode {mode:04o}); run: chmod o-rwx {settings.key}"
    return None


def identity(certificate: dict[str, Any] | None, kind: Literal["cn", "san"]) -> str | None:
    """The name in a verified client certificate: its common name, or its first DNS, URI or email alternative name.
    None when the certificate has no such name."""
    if not certificate:
        return None
    if kind == "cn":
        names = (value for group in certificate.get("subject", ()) for key, value in group if key == "commonName")
    else:
        names = (value for key, value in certificate.get("subjectAltName", ()) if key in ("DNS", "URI", "email"))
    found = next(names, None)
    return None if found is None else str(found)


class TlsLayer(Layer):
    """The server's side of one TLS connection."""

    __slots__ = ("_identity_kind", "_incoming", "_outgoing", "_said_goodbye", "_tls")

    def __init__(self, context: ssl.SSLContext, identity_kind: Literal["cn", "san"]) -> None:
        super().__init__()
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._identity_kind = identity_kind
        self._said_goodbye = False

    def receive(self, data: bytes) -> bytes:
        if self.ended:
            return b""
        self._incoming.write(data)
        out: list[bytes] = []
        try:
            if not self.is_open:
                self._tls.do_handshake()
                self.identity = identity(self._tls.getpeercert(), self._identity_kind)
                self.is_open = True
            while chunk := self._tls.read(RECORD):
                out.append(chunk)
            self.ended = "TLS closed by the client"
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = "TLS closed by the client"
        except ssl.SSLError as error:
            self.end(f"TLS: {getattr(error, 'verify_message', None) or error.reason or error}")
        return out[0] if len(out) == 1 else b"".join(out)

    def send(self, data: bytes, last: bool) -> bytes:
        if self._said_goodbye:
            return b""
        if self.is_open:
            try:
                if data:
                    self._write(data)
                if last:
                    self._said_goodbye = True
                    self._tls.unwrap()
            except ssl.SSLError:
                # The goodbye is written; that the other side has not said its own is no news.
                pass
        return self._outgoing.read()

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._tls.write(rest) :]
