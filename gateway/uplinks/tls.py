"""How an uplink proves who it is, and whom it believes: what fits together in the settings, and the context of it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Protocol


class At(Protocol):
    """Where a broker listens."""

    @property
    def tls(self) -> bool: ...


class Credentials(Protocol):
    """What the settings of an uplink say of it."""

    @property
    def endpoint(self) -> At: ...
    @property
    def username(self) -> str | None: ...
    @property
    def password(self) -> str | None: ...
    @property
    def ca(self) -> str | None: ...
    @property
    def cert(self) -> str | None: ...
    @property
    def key(self) -> str | None: ...


def login_problems(config: Credentials) -> Iterator[tuple[str, str]]:
    """What does not fit together, as (key, text)."""
    if config.password is not None and config.username is None:
        yield "password", "needs a username beside it"
    if (config.cert is None) != (config.key is None):
        given, missing = ("cert", "key") if config.key is None else ("key", "cert")
        yield given, f"needs {missing} beside it: a client certificate is both"
    if not config.endpoint.tls:
        for name, value in (("ca", config.ca), ("cert", config.cert), ("key", config.key)):
            if value is not None:
                yield name, "has no effect with mqtt://; use mqtts:// for TLS"


def client_context(config: Credentials) -> ssl.SSLContext:
    """The TLS context of a connection; reads files. Raises OSError, which ssl.SSLError is too."""
    context = ssl.create_default_context(cafile=config.ca)
    if config.cert is not None:
        context.load_cert_chain(config.cert, config.key)
    return context
