"""The settings of the gateway: the root section and the sections that every gateway has.

Devices, uplinks and listeners are declared by their kinds (``gateway.kinds``); what the rest of the gateway may
expect of each is a protocol here. ``Settings.problems`` holds the checks that need more than one section.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, Protocol

from gateway.config.address import Address, address, parse_address
from gateway.config.declare import Duration, File, Folder, Size, between, not_empty, setting

KIB = 1024
MIB = 1024 * KIB
DAY = 86_400.0

NOBODY = (
    'nobody could log in at "{}": set tls.client_auth = "require", bind to 127.0.0.1, or set access.anonymous = true'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """The gateway itself."""

    name: str | None = setting(
        None,
        text="Name of this gateway, for status, logs and client ids. Without it: the host name.",
        check=not_empty,
        example='"site-7"',
    )
    state: str | None = setting(
        None,
        text="Folder for everything that outlives a restart. "
        "Without it: $STATE_DIRECTORY, else the state folder of the user.",
        check=not_empty,
        example='"/var/lib/gateway"',
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """TLS of a listener. Without this table it speaks plain text."""

    cert: File = setting(text="Certificate chain of this gateway, PEM.", example='"cert.pem"')
    key: File = setting(text="Private key of the certificate, PEM, without a passphrase.", example='"key.pem"')
    client_ca: File | None = setting(
        None, text="Certificates of those who sign client certificates, PEM.", example='"ca.pem"'
    )
    client_auth: Literal["none", "request", "require"] = setting(
        "none",
        text="Whether clients show a certificate: none does not ask, request checks one that is shown, require lets "
        "nobody in without one.",
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        if self.client_auth != "none" and self.client_ca is None:
            yield "client_ca", f'required key is missing: client_auth = "{self.client_auth}" checks against it'
        if self.client_auth == "none" and self.client_ca is not None:
            yield "client_ca", 'has no effect; set client_auth = "require" or "request", or remove it'


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttListener:
    """MQTT 3.1, 3.1.1 and 5 over TCP, with or without TLS."""

    kind: Literal["mqtt"] = setting("mqtt", text="MQTT over TCP.")
    bind: str = setting(
        text="Address and port to listen on. 0.0.0.0 is every IPv4 address, [::] every IPv6 address; "
        "port 0 is any free port.",
        check=address,
        example='"127.0.0.1:1883"',
    )
    tls: Tls | None = setting(None, text="")

    @property
    def address(self) -> Address:
        """``bind`` taken apart."""
        return parse_address(self.bind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who is let in."""

    anonymous: bool = setting(
        False,
        text="Let in clients that show neither certificate nor password. Without it they are let in only through "
        "listeners that are bound to a loopback address, such as 127.0.0.1.",
        live=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """The database in the state folder, and the outbox that keeps messages until the uplinks have sent them."""

    window: Duration = setting(
        0.02,
        text="How long a commit waits for more messages to share its write to the disk. Longer saves the disk, "
        "shorter answers sooner.",
        check=between(0, 1),
        live=True,
    )
    max_bytes: Size = setting(
        256 * MIB,
        text="Bytes of messages in the outbox. When it is full, the oldest make room, and each is counted.",
        check=between(MIB, 1024 * 1024 * MIB),
        live=True,
    )
    max_age: Duration = setting(
        30 * DAY,
        text="How long a message stays in the outbox unsent; then it is dropped and counted.",
        check=between(1, 3650 * DAY),
        live=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Rules: files that shape data and react to it."""

    path: Folder | None = setting(
        None,
        text='Folder of the rule files (*.toml). Without it: "rules" next to this file, if there is one.',
        example='"rules"',
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Mqtt:
    """Bounds of the MQTT server."""

    max_packet: Size = setting(
        MIB, text="Largest packet a client may send.", check=between(KIB, 256 * MIB - 1), live=True
    )
    receive_maximum: int = setting(
        256,
        text="QoS 1 and 2 messages a client may have unacknowledged towards the gateway.",
        check=between(1, 65_535),
        live=True,
    )
    max_inflight: int = setting(
        256,
        text="QoS 1 and 2 messages the gateway has unacknowledged towards a client, even if the client allows more.",
        check=between(1, 65_535),
        live=True,
    )
    queue_count: int = setting(
        1000,
        text="Messages that wait for one client beyond those, or while it is away.",
        check=between(0, 1_000_000),
        live=True,
    )
    queue_bytes: Size = setting(
        MIB, text="The same in bytes of topic and payload.", check=between(0, 1024 * MIB), live=True
    )
    max_output: Size = setting(
        256 * KIB,
        text="Bytes that wait for one slow connection before QoS 0 messages are dropped and others wait.",
        check=between(4 * KIB, 256 * MIB),
        live=True,
    )
    max_sessions: int = setting(
        1000, text="Clients, connected and remembered together.", check=between(1, 1_000_000), live=True
    )
    max_subscriptions: int = setting(
        10_000, text="Subscriptions of one client.", check=between(1, 1_000_000), live=True
    )
    keep_alive_max: Duration = setting(
        0.0,
        text="Longest keep-alive. An MQTT 5 client that asks for more, or for none, is told to use this one. "
        "0: no bound.",
        check=between(0, 65_535),
        live=True,
    )
    session_expiry_max: Duration = setting(
        7 * DAY,
        text="How long the session of a client that is away is remembered at most.",
        check=between(0, 3650 * DAY),
        live=True,
    )
    connect_timeout: Duration = setting(
        10.0, text="How long a new connection may take to say who it is.", check=between(0.1, 600), live=True
    )
    topic_alias_maximum: int = setting(
        10, text="Topic aliases an MQTT 5 client may use.", check=between(0, 65_535), live=True
    )
    max_retained: int = setting(
        100_000, text="Topics with a retained message.", check=between(0, 10_000_000), live=True
    )
    retained_bytes: Size = setting(
        64 * MIB,
        text="Bytes of all retained messages. One that does not fit is delivered and not retained.",
        check=between(0, 16 * 1024 * MIB),
        live=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """Logs, written to stderr."""

    level: Literal["debug", "info", "warning", "error"] = setting(
        "info", text="Least severity that is written.", live=True
    )
    format: Literal["text", "json"] = setting("text", text="One line of text or one JSON object for each event.")


class Listener(Protocol):
    """What every kind of listener declares."""

    @property
    def bind(self) -> str: ...
    @property
    def tls(self) -> Tls | None: ...
    @property
    def address(self) -> Address: ...


class Point(Protocol):
    """What every kind of device declares of a point."""

    @property
    def name(self) -> str: ...


class Device(Protocol):
    """What every kind of device declares. A point publishes to ``<topic>/<name of the point>``; the topic of a
    device without one is its name."""

    @property
    def topic(self) -> str | None: ...
    @property
    def point(self) -> Sequence[Point]: ...


class Forward(Protocol):
    """What is sent through an uplink."""

    @property
    def filter(self) -> str: ...


class Uplink(Protocol):
    """What every kind of uplink declares."""

    @property
    def url(self) -> str: ...
    @property
    def forward(self) -> Sequence[Forward]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything in ``gateway.toml``."""

    gateway: Gateway = setting(factory=Gateway, text="")
    listener: dict[str, Listener] = setting(
        factory=dict,
        text="Listeners: where clients connect. The name after the dot is free; a listener that is not here is off.",
        kind="listener",
    )
    access: Access = setting(factory=Access, text="")
    device: dict[str, Device] = setting(
        factory=dict,
        text="Devices: where values come from. The name after the dot is free.",
        kind="device",
    )
    uplink: dict[str, Uplink] = setting(
        factory=dict,
        text="Uplinks: where messages go, through the outbox, and commands come from. The name after the dot is free.",
        kind="uplink",
    )
    store: Store = setting(factory=Store, text="")
    rules: Rules = setting(factory=Rules, text="")
    mqtt: Mqtt = setting(factory=Mqtt, text="")
    log: Log = setting(factory=Log, text="")

    def problems(self) -> Iterator[tuple[str, ...]]:
        """Binds that collide, listeners that let nobody in, topics with two sources."""
        for (first, one), (second, other) in combinations(self.listener.items(), 2):
            if one.address.collides(other.address):
                yield f"listener.{second}.bind", f'"{other.bind}" collides with listener.{first} at "{one.bind}"'
        for name, listener in self.listener.items():
            if not self._can_log_in(listener):
                yield f"listener.{name}.bind", NOBODY.format(listener.bind), "access", f"listener.{name}.tls"
        yield from self._shared_topics()

    def _can_log_in(self, listener: Listener) -> bool:
        has_certificates = listener.tls is not None and listener.tls.client_auth != "none"
        return self.access.anonymous or listener.address.is_loopback or has_certificates

    def _shared_topics(self) -> Iterator[tuple[str, str]]:
        seen: dict[str, str] = {}
        for name, device in self.device.items():
            for index, point in enumerate(device.point):
                topic, key = f"{device.topic or name}/{point.name}", f"device.{name}.point[{index}]"
                if topic in seen:
                    yield f"{key}.name", f'publishes to "{topic}", as {seen[topic]} does'
                seen.setdefault(topic, key)
