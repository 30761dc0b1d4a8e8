"""Settings of a CoAP device: where it is, and which resource each of its points is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal, NamedTuple
from urllib.parse import unquote, urlsplit

from gateway.config.declare import Duration, Secret, Size, between, not_empty, setting
from gateway.connectors.points import DeviceSettings, PointSettings

PORTS: Final = {"coap": 5683, "coaps": 5684}
"""RFC 7252 sections 6.1 and 6.2."""

CONTENTS: Final = {
    "text": 0,
    "octets": 42,
    "json": 50,
    "cbor": 60,
    "senml-json": 110,
    "senml-cbor": 112,
    "tlv": 11542,
}
"""Content formats by the words of the settings (RFC 7252 section 12.3, RFC 8949 section 9.5, RFC 8428 section 12.3.3,
LwM2M 1.1 section 7.4)."""


DAY: Final = 86_400.0


class Endpoint(NamedTuple):
    """Host, without brackets, and port of a CoAP server."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def parse_url(text: str) -> Endpoint:
    """The endpoint behind ``coap://host:port``. Raises ValueError with what it must be."""
    problem = ValueError('must be like "coap://10.0.0.7", or "coaps://10.0.0.7" with psk; a port may follow')
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise problem from None
    if url.scheme not in PORTS or not url.hostname or port == 0 or url.path.strip("/") or url.query or url.username:
        raise problem
    return Endpoint(url.scheme, url.hostname, port or PORTS[url.scheme])


class Resource(NamedTuple):
    """Path and query of a resource, as the options of a request (RFC 7252 section 6.4)."""

    path: tuple[str, ...]
    query: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "/" + "/".join(self.path) + ("?" + "&".join(self.query) if self.query else "")


def parse_path(text: str) -> Resource:
    """The resource behind ``/3303/0/5700`` or ``/sensors/temp?u=c``. Raises ValueError with what it must be."""
    head, question, tail = text.partition("?")
    if not head.startswith("/") or "#" in text or "//" in head or not text.isprintable():
        raise ValueError('must be the path of a resource, such as "/3303/0/5700" or "/sensors/temp?u=c"')
    path = tuple(unquote(part) for part in head[1:].split("/")) if head != "/" else ()
    query = tuple(unquote(part) for part in tail.split("&")) if question else ()
    if any(len(part.encode()) > 255 for part in (*path, *query)):
        raise ValueError("must have parts of at most 255 bytes")
    return Resource(path, query)


def _url(value: str) -> str | None:
    return _said_by(parse_url, value)


def _path(value: str) -> str | None:
    return _said_by(parse_path, value)


def _said_by(parse: Callable[[str], object], value: str) -> str | None:
    """A check from a parser that raises ValueError with what the value must be."""
    try:
        parse(value)
    except ValueError as error:
        return str(error)
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Psk:
    """The key for coaps:// (DTLS, RFC 4279). Needs the extra dtls."""

    identity: str = setting(text="PSK identity of this gateway at the device.", check=not_empty, example='"gw1"')
    key: Secret = setting(text="Pre-shared key, as text.", check=not_empty, example='{ file = "node.key" }')


@dataclass(frozen=True, slots=True, kw_only=True)
class CoapPoint(PointSettings):
    """One value of a CoAP device: a resource, or a part of what one answers."""

    path: str = setting(
        text="Path of the resource, with its query if it needs one. Points with one path share its answers.",
        check=_path,
        example='"/3303/0/5700"',
    )
    content: Literal["auto", "text", "json", "cbor", "senml-json", "senml-cbor", "tlv", "octets"] = setting(
        "auto",
        text="What the resource answers with: auto takes what it says itself; another asks it for that (Accept) and "
        "writes so. octets are bytes, published in hexadecimal; tlv is that of LwM2M.",
    )
    field: str | None = setting(
        None,
        text="Where in the answer: a JSON pointer for JSON and CBOR; the whole name, base name included, for SenML; "
        'the path below the resource, such as "5700", for TLV. Without it: the whole answer, or its only value.',
        check=not_empty,
        example='"/temperature"',
    )
    type: Literal["auto", "number", "int", "float", "bool", "text"] = setting(
        "auto",
        text="What the value is. auto takes text that looks like a number, true or false for that; tlv does not say "
        "and needs int, float, bool or text.",
    )
    observe: bool = setting(
        False,
        text="Let the device say when it changes (RFC 7641). What does not do that is polled instead.",
    )
    write_path: str | None = setting(
        None, text="Where it is written, if elsewhere.", check=_path, example='"/setpoint"'
    )

    @property
    def resource(self) -> Resource:
        """``path`` taken apart."""
        return parse_path(self.path)

    @property
    def target(self) -> Resource:
        """Where it is written."""
        return parse_path(self.write_path or self.path)

    @property
    def accept(self) -> int | None:
        """The content format that is asked for."""
        return CONTENTS.get(self.content)

    def problems(self) -> Iterator[tuple[str, str]]:
        yield from PointSettings.problems(self)
        if self.content == "tlv" and self.type in ("auto", "number"):
            yield "type", 'must be "int", "float", "bool" or "text": TLV does not say what its bytes are'
        if self.field is not None and self.content in ("text", "octets"):
            yield "field", f"has no effect with content = {self.content!r}"
        if self.field is not None and self.content in ("json", "cbor") and not self.field.startswith("/"):
            yield "field", 'must be a JSON pointer, such as "/temperature"'
        if self.content == "tlv" and self.field is not None and not re.fullmatch(r"[0-9]+(/[0-9]+){0,2}", self.field):
            yield "field", 'must be numbers such as "5700" or "0/5700"'
        if self.write_path is not None and self.write is None:
            yield "write_path", "has no effect; set write = {}, or remove it"


@dataclass(frozen=True, slots=True, kw_only=True)
class CoapDevice(DeviceSettings):
    """A device that serves CoAP: a sensor node, an LwM2M-like object server."""

    kind: Literal["coap"] = setting("coap", text="CoAP (RFC 7252) over UDP, or over DTLS with coaps://.")
    url: str = setting(
        text="Address of the device. Port 5683, with coaps:// 5684, unless given.",
        check=_url,
        example='"coap://10.0.0.7"',
    )
    poll: Duration = setting(10.0, text="How often the device is read.", check=between(0.01, DAY))
    psk: Psk | None = setting(None, text="")
    timeout: Duration = setting(
        10.0, text="How long one answer may take, with all repeats of the request.", check=between(0.05, 300)
    )
    ack_timeout: Duration = setting(
        2.0,
        text="How long to wait before a request is sent again, doubled each time (ACK_TIMEOUT).",
        check=between(0.05, 60),
    )
    block: Literal[16, 32, 64, 128, 256, 512, 1024] = setting(
        1024, text="Bytes of a block, for a device that can take no large ones."
    )
    max_payload: Size = setting(
        64 * 1024, text="Longest answer that is put together from blocks.", check=between(64, 16 * 1024 * 1024)
    )
    refresh: Duration | None = setting(
        None,
        text="After this long without a notification an observation is made anew. Without it: after the Max-Age of the "
        "last one, and five seconds.",
        check=between(0.1, DAY),
        example='"5m"',
    )
    expect: Duration | None = setting(
        None,
        text="The node sleeps, and shows itself about this often, by a notification or by an answer. It is asked again "
        "and again until it is awake, writes wait for that until they expire, and its values are stale only after "
        "stale_after of these times.",
        check=between(1, 30 * DAY),
        example='"1h"',
    )
    point: tuple[CoapPoint, ...] = setting(text="", check=not_empty)

    @property
    def endpoint(self) -> Endpoint:
        """``url`` taken apart."""
        return parse_url(self.url)

    @property
    def patient(self) -> CoapDevice:
        """The same device for what is known of its points: a node that sleeps is read when it shows itself."""
        return self if self.expect is None else replace(self, poll=max(self.expect, self.poll))

    def problems(self) -> Iterator[tuple[str, str]]:
        yield from DeviceSettings.problems(self)
        if (self.endpoint.scheme == "coaps") != (self.psk is not None):
            yield "psk", 'a url that begins with "coaps://" needs it, and no other may have it'
        if self.refresh is not None and not any(point.observe for point in self.point):
            yield "refresh", "has no effect; no point has observe = true"
