"""The settings of listeners: where clients connect, over what, and within which bounds."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from gateway.config.address import Address, address, parse_address
from gateway.config.declare import Duration, File, between, not_empty, setting

BIND = (
    "Address and port to listen on. 0.0.0.0 is every IPv4 address, [::] every IPv6 address; "
    "port 0 is any free port; unix:/path is a Unix socket."
)
DEFAULT_MODE = "0660"
LOOPBACK = ("127.0.0.0/8", "::1/128")


def socket_mode(value: str) -> str | None:
    """Check: permissions in octal, as chmod takes them."""
    is_octal = len(value) in (3, 4) and all(digit in "01234567" for digit in value)
    return None if is_octal and int(value, 8) <= 0o777 else 'must be permissions in octal, such as "0660"'


def networks(values: tuple[str, ...]) -> str | None:
    """Check: addresses or networks in CIDR form."""
    for value in values:
        try:
            ipaddress.ip_network(value)
        except ValueError:
            return f'must be addresses or networks such as "10.0.0.0/8", but "{value}" is none'
    return None


def http_path(value: str) -> str | None:
    """Check: the path part of a URL."""
    is_path = value.startswith("/") and value.isascii() and value.isprintable() and not set(value) & set(" ?#")
    return None if is_path else 'must be the path of a URL, such as "/mqtt"'


def origins(values: tuple[str, ...]) -> str | None:
    """Check: scheme and host of web pages, or ``*``."""
    for value in values:
        parts = urlsplit(value)
        if value not in ("*", "null") and (not parts.scheme or value != f"{parts.scheme}://{parts.netloc}"):
            return f'must be origins such as "https://panel.example" or "*", but "{value}" is none'
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """TLS of a listener. Without this table it speaks plain text."""

    cert: File = setting(text="Certificate chain of this gateway, PEM.", example='"cert.pem"')
    key: File = setting(
        text="Private key of the certificate, PEM, without a passphrase. Not readable by everybody.",
        example='"key.pem"',
    )
    client_ca: File | None = setting(
        None, text="Certificates of those who sign client certificates, PEM.", example='"ca.pem"'
    )
    client_auth: Literal["none", "request", "require"] = setting(
        "none",
        text="Whether clients show a certificate: none does not ask, request checks one that is shown, require lets "
        "nobody in without one.",
    )
    crl: File | None = setting(
        None,
        text="Lists of revoked client certificates, PEM: one of each authority that signs them. An expired list lets "
        "nobody of that authority in.",
        example='"crl.pem"',
    )
    identity: Literal["cn", "san"] = setting(
        "cn",
        text="Which name in a client certificate is the user: cn is its common name, san its first alternative name "
        "of the type DNS, URI or email.",
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        if self.client_auth != "none" and self.client_ca is None:
            yield "client_ca", f'required key is missing: client_auth = "{self.client_auth}" checks against it'
        if self.client_auth == "none" and self.client_ca is not None:
            yield "client_ca", 'has no effect; set client_auth = "require" or "request", or remove it'
        if self.client_auth == "none" and self.crl is not None:
            yield "crl", 'has no effect; set client_auth = "require" or "request", or remove it'


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketListener:
    """What every listener on a stream socket has."""

    kind: str = setting(text="What it speaks.")
    bind: str = setting(text=BIND, check=address, example='"127.0.0.1:1883"')
    mode: str = setting(DEFAULT_MODE, text="Permissions of a Unix socket: who may connect.", check=socket_mode)
    group: str | None = setting(None, text="Group of a Unix socket.", check=not_empty, example='"gateway"')
    max_connections: int = setting(
        10_000,
        text="Connections at once. Those beyond it are closed and counted. Fewer when the system allows the gateway "
        "fewer open files.",
        check=between(1, 1_000_000),
    )
    handshake_timeout: Duration = setting(
        10.0,
        text="How long everything before the first MQTT packet may take: proxy header, TLS handshake, HTTP upgrade.",
        check=between(0.1, 600),
    )
    max_handshakes: int = setting(
        256, text="Handshakes that go on at once. One more ends the oldest, and is counted.", check=between(1, 100_000)
    )
    proxy: bool = setting(
        False,
        text="Clients come through a proxy that says who they are in a header of the PROXY protocol, version 2. "
        "A connection without it is closed.",
    )
    proxy_from: tuple[str, ...] = setting(
        LOOPBACK, text="Addresses and networks of that proxy; others are refused.", check=networks
    )
    tls: Tls | None = setting(None, text="")

    @property
    def address(self) -> Address:
        """``bind`` taken apart."""
        return parse_address(self.bind)

    @property
    def is_local(self) -> bool:
        """Whether everybody who connects is on this machine. Behind a proxy nobody is taken to be."""
        return self.address.is_loopback and not self.proxy

    @property
    def is_datagram(self) -> bool:
        """Whether it is UDP, whose ports are not those of TCP."""
        return False

    def problems(self) -> Iterator[tuple[str, ...]]:
        if not self.address.path:
            if self.mode != DEFAULT_MODE:
                yield "mode", 'has no effect; it is for a bind that begins with "unix:"'
            if self.group is not None:
                yield "group", 'has no effect; it is for a bind that begins with "unix:"'
        if self.proxy_from != LOOPBACK and not self.proxy:
            yield "proxy_from", "has no effect; set proxy = true, or remove it"


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttListener(SocketListener):
    """MQTT 3.1, 3.1.1 and 5 over TCP or a Unix socket, with or without TLS."""

    kind: Literal["mqtt"] = setting("mqtt", text="MQTT over TCP or a Unix socket.")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketListener(SocketListener):
    """MQTT over WebSocket; with TLS it is what browsers call wss."""

    kind: Literal["websocket"] = setting("websocket", text="MQTT over WebSocket.")
    bind: str = setting(text=BIND, check=address, example='"127.0.0.1:9001"')
    path: str = setting("/mqtt", text="Path in the URL that clients use.", check=http_path)
    origins: tuple[str, ...] = setting(
        (),
        text='Web pages that may connect, as the browser names them; "*" is every page. A client that names no page '
        "is no browser and needs no entry, nor does a page that this very address and port serve.",
        check=origins,
        example='["https://panel.example"]',
    )
