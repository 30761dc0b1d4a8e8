"""TLS for listeners: from settings to an ``ssl.SSLContext``, and from a certificate to a name."""

from __future__ import annotations

import ssl
from typing import Any, Final

from gateway.config.settings import Tls
from gateway.errors import GatewayError


class BadCertificate(GatewayError):
    """A file that the settings name is no usable certificate or key. ``key``: the setting below the listener."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(text)
        self.key = key


_VERIFY: Final = {"none": ssl.CERT_NONE, "request": ssl.CERT_OPTIONAL, "require": ssl.CERT_REQUIRED}


def server_context(settings: Tls) -> ssl.SSLContext:
    """A context for TLS 1.2 and later. Raises BadCertificate when a file cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.cert, settings.key)
    except (OSError, ssl.SSLError) as error:
        raise BadCertificate(
            "tls.cert", f"{settings.cert} and {settings.key} are no certificate with its key: {error}"
        ) from None
    if settings.client_ca is not None:
        try:
            context.load_verify_locations(settings.client_ca)
        except (OSError, ssl.SSLError) as error:
            raise BadCertificate("tls.client_ca", f"{settings.client_ca} is no certificate: {error}") from None
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
