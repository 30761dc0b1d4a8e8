"""The settings of the CoAP listener: where it is bound, who is let in, and within which bounds."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from gateway.config.address import Address, address, parse_address
from gateway.config.declare import Duration, Secret, Size, between, not_empty, setting, topic_filter

KIB: Final = 1024
MIB: Final = 1024 * 1024

FORMATS: Final = ("text", "json", "cbor", "octet-stream", "senml+json", "senml+cbor")
"""Words for content formats (RFC 7252 section 12.3, RFC 7049 section 7.4, RFC 8428 section 12.3.3)."""


def _bind(value: str) -> str | None:
    if value.startswith("unix:"):
        return 'must be an address and a port, such as "127.0.0.1:5683": CoAP is spoken over UDP'
    return address(value)


def _prefix(value: str) -> str | None:
    if value == "":
        return None
    is_path = value.startswith("/") and not value.endswith("/") and "//" not in value
    if not is_path or not value.isascii() or not value.isprintable() or set(value) & set(" ?#+%"):
        return 'must be a path such as "/ps", or empty: then the whole path is the topic'
    return 'must not begin with "/.well-known"' if value.split("/")[1] == ".well-known" else None


def _network(value: str) -> str | None:
    try:
        ipaddress.ip_network(value)
    except ValueError:
        return 'must be an address or a network, such as "10.0.0.7" or "10.0.0.0/24"'
    return None


def _filters(values: tuple[str, ...]) -> str | None:
    return next((problem for problem in map(topic_filter, values) if problem), None)


def _formats(values: tuple[str, ...]) -> str | None:
    unknown = [value for value in values if value not in FORMATS]
    if unknown:
        return f'must be words of: {", ".join(FORMATS)}; "{unknown[0]}" is none'
    return not_empty(values)


def _key(value: Secret) -> str | None:
    return None if 8 <= len(value.encode()) <= 64 else "must have 8 to 64 bytes; make one with: openssl rand -hex 16"


@dataclass(frozen=True, slots=True, kw_only=True)
class CoapAllow:
    """Clients of these addresses need no token. UDP addresses can be forged by whoever is in the same network: for
    networks that nobody else is in."""

    address: str = setting(text="Address or network.", check=_network, example='"10.0.0.7"')
    user: str = setting(
        text="User that these clients are, for the rules of access; with the groups that the users file gives it.",
        check=not_empty,
        example='"meter-7"',
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CoapKey:
    """The key of one device for DTLS (RFC 4279). With any of these tables the listener speaks DTLS only."""

    identity: str = setting(
        text="PSK identity that the device shows; it is the user for the rules of access.",
        check=not_empty,
        example='"meter-7"',
    )
    key: Secret = setting(
        text="Pre-shared key: 8 to 64 bytes, as text.", check=_key, example='{ file = "meter-7.key" }'
    )


class Dtls:
    """What the rest of the gateway asks of the encryption of a listener."""

    client_auth: Final = "require"


@dataclass(frozen=True, slots=True, kw_only=True)
class CoapListener:
    """CoAP over UDP, or over DTLS with a key for each device: PUT and POST publish, GET reads, Observe subscribes."""

    kind: Literal["coap"] = setting("coap", text="CoAP over UDP (RFC 7252, 7641, 7959).")
    bind: str = setting(
        text="Address and port to listen on. 0.0.0.0 is every IPv4 address, [::] every address; port 0 is any free "
        "port. Common are 5683, and 5684 with DTLS.",
        check=_bind,
        example='"127.0.0.1:5683"',
    )
    prefix: str = setting(
        "", text='What comes before the topic in the path: with "/ps" the topic a/b is at /ps/a/b.', check=_prefix
    )
    formats: tuple[str, ...] = setting(
        FORMATS,
        text="Content formats that are taken; others are answered 4.15. A payload without a format is always taken.",
        check=_formats,
    )
    cbor: Literal["json", "raw"] = setting(
        "json",
        text="What a CBOR payload becomes: json is what rules and MQTT clients read; raw leaves its bytes as they are.",
    )
    last: tuple[str, ...] = setting(
        (),
        text="Topic filters whose last message is remembered, so that GET finds it though it is not retained: values "
        "of devices are not.",
        check=_filters,
        example='["plant/#"]',
    )
    last_count: int = setting(
        10_000, text="Topics that are remembered by last; the oldest goes first.", check=between(1, 1_000_000)
    )
    last_bytes: Size = setting(
        4 * MIB, text="Bytes of their topics and payloads, likewise.", check=between(KIB, 1024 * MIB)
    )
    max_payload: Size = setting(
        64 * KIB,
        text="Longest payload that is taken, in one piece or block-wise; a longer one is answered 4.13.",
        check=between(16, 16 * MIB),
    )
    max_uploads: int = setting(
        64,
        text="Block-wise uploads that are under way at once; one more ends the oldest. All together hold at most 16 "
        "times max_payload.",
        check=between(1, 100_000),
    )
    max_age: Duration = setting(
        60.0, text="Max-Age of answers: how long a client or proxy may use a value.", check=between(0, 86_400)
    )
    max_clients: int = setting(
        1000,
        text="Clients that are known at once; the one not heard of longest makes room for one more.",
        check=between(1, 1_000_000),
    )
    max_observers: int = setting(
        1000,
        text="Observations in total. Beyond it GET is answered without Observe (RFC 7641 section 4.1).",
        check=between(0, 100_000),
    )
    observers_per_client: int = setting(32, text="Observations of one client, likewise.", check=between(0, 10_000))
    queue: int = setting(
        16,
        text="Notifications that wait for one observer to confirm one; the oldest is dropped for one more.",
        check=between(1, 10_000),
    )
    confirm: int = setting(
        10,
        text="Every so many notifications, one is confirmable: a client that is gone is found out by it. 1 confirms "
        "each, and nothing is lost on the way; so does a client's own ?qos=1.",
        check=between(1, 1000),
    )
    confirm_after: Duration = setting(
        300.0,
        text="An observer that has not confirmed anything for this long is sent what it has last been sent, to be "
        "confirmed.",
        check=between(1, 86_400),
    )
    ack_timeout: Duration = setting(
        2.0,
        text="How long to wait before a confirmable message is sent again, doubled each time (ACK_TIMEOUT).",
        check=between(0.05, 60),
    )
    retries: int = setting(
        4,
        text="How often it is sent again before the client is taken to be gone (MAX_RETRANSMIT).",
        check=between(0, 10),
    )
    answer: Duration = setting(
        10.0,
        text="How long a message may take to be stored before its sender is answered 5.03.",
        check=between(0.1, 60),
    )
    links: int = setting(
        200, text="Topics that /.well-known/core lists at most; 0 lists none.", check=between(0, 10_000)
    )
    allow: tuple[CoapAllow, ...] = setting((), text="")
    psk: tuple[CoapKey, ...] = setting((), text="")

    @property
    def address(self) -> Address:
        """``bind`` taken apart."""
        return parse_address(self.bind)

    @property
    def is_local(self) -> bool:
        """Whether everybody who sends is on this machine."""
        return self.address.is_loopback

    @property
    def tls(self) -> Dtls | None:
        """None: it is spoken in the clear."""
        return Dtls() if self.psk else None

    @property
    def is_datagram(self) -> bool:
        """UDP: its ports are not those of TCP."""
        return True

    def problems(self) -> Iterator[tuple[str, ...]]:
        seen: dict[str, int] = {}
        for index, entry in enumerate(self.psk):
            if entry.identity in seen:
                yield f"psk[{index}].identity", f'"{entry.identity}" is the identity of psk[{seen[entry.identity]}] too'
            seen.setdefault(entry.identity, index)
        if self.psk and self.allow:
            yield "allow", "has no effect with psk: who shows a key needs no address; make it a listener of its own"
        if self.psk and self.address.host in ("0.0.0.0", "::"):
            # The DTLS server of aiocoap cannot answer from the address that it was asked at.
            yield "bind", 'must name one address of this machine when psk is there, such as "192.168.1.5:5684"'
