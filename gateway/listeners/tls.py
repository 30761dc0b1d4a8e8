"""TLS for listeners: from settings to an ``ssl.SSLContext``, and from a certificate to a name."""

from __future__ import annotations

import ssl
from typing import Any, Protocol

from gateway.errors import ConfigError


class TlsSettings(Protocol):
    """What a listener's ``tls`` table holds; see ``config.settings.Tls``."""

    @property
    def cert(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def client_ca(self) -> str | None: ...
    @property
    def client_auth(self) -> str: ...


_VERIFY = {"none": ssl.CERT_NONE, "request": ssl.CERT_OPTIONAL, "require": ssl.CERT_REQUIRED}


def server_context(settings: TlsSettings) -> ssl.SSLContext:
    """A context for TLS 1.2 and later. Raises ConfigError when certificate and key cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.cert, settings.key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            [f"tls: {settings.cert} and {settings.key} are no certificate with its key: {error}"]
        ) from None
    if settings.client_ca is not None:
        try:
            context.load_verify_locations(settings.client_ca)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError([f"tls.client_ca: {settings.client_ca} is no certificate: {error}"]) from None
    context.verify_mode = _VERIFY[settings.client_auth]
    return context


def identity(certificate: dict[str, Any] | None) -> str | None:
    """The name of a verified client certificate: its common name, else its first DNS or URI alternative name."""
    if not certificate:
        return None
    for group in certificate.get("subject", ()):
        for key, value in group:
            if key == "commonName":
                return str(value)
    for kind, value in certificate.get("subjectAltName", ()):
        if kind in ("DNS", "URI"):
            return str(value)
    return None
