"""The settings of the gateway: the root section and the sections that every gateway has.

Devices, uplinks and listeners are declared by their kinds (``gateway.kinds``); what the rest of the gateway may
expect of each is a protocol here. ``Settings.problems`` holds the checks that need more than one section.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, Protocol, runtime_checkable

from gateway.config.access import Access
from gateway.config.address import Address
from gateway.config.blackbox import BlackBox
from gateway.config.board import Board
from gateway.config.declare import Duration, Folder, Secret, Size, between, not_empty, setting
from gateway.config.edge_nodes import case_warnings, node_problems
from gateway.config.extras import AutoSubscribe, Dedup, DelayedPublish, RewriteRule, Slow, Sys
from gateway.config.queue import Queue, Queues, Stream, cross_problems
from gateway.config.store import Store
from gateway.config.time import Time
from gateway.config.update import Update

KIB = 1024
MIB = 1024 * KIB
DAY = 86_400.0

IN_THE_CLEAR = "passwords would cross the network in the clear; add a tls table, or bind to 127.0.0.1"


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
        "Without it: $STATE_DIRECTORY, else /var/lib/gateway with the settings of /etc/gateway, else the state folder "
        "of the user.",
        check=not_empty,
        example='"/var/lib/gateway"',
    )

    watch: bool = setting(
        False,
        text="Take the settings and the rules anew when their files change, as gateway reload does. What is wrong is "
        "logged and leaves everything as it was.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Rules: files that shape data and react to it."""

    path: Folder | None = setting(
        None,
        text='Folder of the rule files (*.toml). Without it: "rules" next to this file, if there is one.',
        example='"rules"',
    )
    functions: bool = setting(
        False,
        text="Whether rules may ask Python functions: those of the *.py files in functions beside the rule files.",
    )
    function_time: Duration = setting(
        1.0, text="How long one call may take; then its process is ended and started anew.", check=between(0.01, 60)
    )
    function_memory: Size = setting(
        256 * MIB, text="Address space of the process of Python functions.", check=between(64 * MIB, 4096 * MIB)
    )
    secrets: dict[str, Secret] = setting(
        factory=dict,
        text='What rules get by secret("NAME"): NAME = { file = "path" } or { credential = "NAME" }.',
        example='{ plc = { file = "plc.secret" } }',
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Mqtt:
    """The MQTT server: its bounds, and what it does beside plain MQTT."""

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
    offline_queue: Literal["evict", "reject"] = setting(
        "evict",
        text="What happens when there is no room in it: evict drops the oldest message; reject refuses the newest, "
        "and an MQTT 5 publisher is told so.",
    )
    offline_bytes: Size = setting(
        64 * MIB,
        text="Bytes of the messages that wait for all remembered clients together. A message that several of them "
        "wait for counts for each, although it is stored once.",
        check=between(0, 16 * 1024 * MIB),
    )
    max_output: Size = setting(
        256 * KIB,
        text="Bytes that wait for one slow connection before QoS 0 messages are dropped and others wait.",
        check=between(4 * KIB, 256 * MIB),
        live=True,
    )
    inflight_overflow: Literal["pending", "backpressure"] = setting(
        "pending",
        text="What happens to messages for a client whose window is full: pending keeps queue_count of them and then "
        "drops the oldest; backpressure lets publishers wait, however long, and drops nothing.",
    )
    fan_out: Literal["sync", "async"] = setting(
        "sync",
        text="How a message reaches many clients: sync serves all of them before anything else happens; async serves "
        "them in turns, so that other clients are answered meanwhile and the publisher is answered first.",
    )
    fan_out_count: int = setting(
        1000,
        text="fan_out = async: messages that wait; beyond that each publisher's message makes room first.",
        check=between(1, 1_000_000),
        live=True,
    )
    fan_out_bytes: Size = setting(
        MIB, text="The same in bytes of topic and payload.", check=between(0, 1024 * MIB), live=True
    )
    slow_consumer: Literal["drop", "disconnect"] = setting(
        "drop",
        text="What happens to a client that makes publishers wait for longer than slow_consumer_wait: drop lets nobody "
        "wait for it any more and counts what it misses; disconnect ends its connection.",
    )
    slow_consumer_wait: Duration = setting(
        0.5, text="How long publishers wait for a client that reads too slowly.", check=between(0, 60)
    )
    gather: Duration = setting(
        0.003,
        text="At more than about 500 wake-ups a second, how long messages gather before the sockets are looked at "
        "again. It saves a third to half of the CPU for about half of this time more on the way; clients that wait for "
        "each answer are left alone. 0: never.",
        check=between(0, 0.1),
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
    exclusive: bool = setting(
        True, text="Whether clients may have exclusive subscriptions, $exclusive/FILTER: one client at a time."
    )
    sys: Sys = setting(factory=Sys, text="")
    slow: Slow = setting(factory=Slow, text="")
    delayed: DelayedPublish = setting(factory=DelayedPublish, text="")
    dedup: Dedup = setting(factory=Dedup, text="")
    rewrite: tuple[RewriteRule, ...] = setting((), text="Moves topics of clients to other topics.")
    auto_subscribe: tuple[AutoSubscribe, ...] = setting((), text="Subscriptions that each client has from its CONNECT.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """Logs, written to stderr."""

    level: Literal["debug", "info", "warning", "error"] = setting(
        "info", text="Least severity that is written.", live=True
    )
    format: Literal["text", "json"] = setting("text", text="One line of text or one JSON object for each event.")


class Encryption(Protocol):
    """What encrypts a listener."""

    @property
    def client_auth(self) -> str: ...


class Listener(Protocol):
    """What every kind of listener declares."""

    @property
    def bind(self) -> str: ...
    @property
    def tls(self) -> Encryption | None: ...
    @property
    def is_datagram(self) -> bool: ...
    @property
    def address(self) -> Address: ...
    @property
    def is_local(self) -> bool: ...


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


@runtime_checkable
class Interlocked(Protocol):
    """A device whose points may be written only while others have certain values."""

    def interlocks(self) -> Iterable[tuple[str, str, str]]:
        """(key below the device, other device, its point)."""


class Forward(Protocol):
    """What is sent through an uplink."""

    @property
    def filter(self) -> str: ...
    @property
    def class_(self) -> str: ...


class DeadLetters(Protocol):
    """How many refused rows an uplink keeps."""

    @property
    def max_count(self) -> int: ...
    @property
    def max_bytes(self) -> int: ...


class Ledger(Protocol):
    """How often an uplink tells what it should have sent."""

    @property
    def every(self) -> float: ...


class Uplink(Protocol):
    """What every kind of uplink declares."""

    @property
    def url(self) -> str | tuple[str, ...]: ...
    @property
    def reconnect_spread(self) -> float: ...
    @property
    def budget(self) -> str | None: ...
    @property
    def dead_letter(self) -> DeadLetters: ...
    @property
    def forward(self) -> Sequence[Forward]: ...
    @property
    def ledger(self) -> Ledger | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything in ``gateway.toml``."""

    gateway: Gateway = setting(factory=Gateway, text="")
    board: Board = setting(factory=Board, text="")
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
        profiles=True,
    )
    uplink: dict[str, Uplink] = setting(
        factory=dict,
        text="Uplinks: where messages go, through the outbox, and commands come from. The name after the dot is free.",
        kind="uplink",
    )
    queue: dict[str, Queue] = setting(factory=dict, text="")
    stream: dict[str, Stream] = setting(factory=dict, text="")
    queues: Queues = setting(factory=Queues, text="")
    store: Store = setting(factory=Store, text="")
    time: Time = setting(factory=Time, text="")
    rules: Rules = setting(factory=Rules, text="")
    update: Update = setting(factory=Update, text="")
    blackbox: dict[str, BlackBox] = setting(factory=dict, text="")
    mqtt: Mqtt = setting(factory=Mqtt, text="")
    log: Log = setting(factory=Log, text="")

    def problems(self) -> Iterator[tuple[str, ...]]:
        """Binds that collide, topics with two sources."""
        for (first, one), (second, other) in combinations(self.listener.items(), 2):
            if one.is_datagram == other.is_datagram and one.address.collides(other.address):
                yield f"listener.{second}.bind", f'"{other.bind}" collides with listener.{first} at "{one.bind}"'
        yield from self._shared_topics()
        yield from self._interlocks()
        yield from cross_problems(self.queue)
        yield from node_problems(self.uplink, self.gateway.name)

    def warnings(self) -> Iterator[tuple[str, str]]:
        """What is allowed and still not wise: pairs of (key, text)."""
        for name, listener in self.listener.items():
            if listener.tls is None and not listener.is_local and not self.access.anonymous:
                yield f"listener.{name}.bind", IN_THE_CLEAR
        yield from case_warnings(self.device, self.uplink.values())

    def _interlocks(self) -> Iterator[tuple[str, ...]]:
        """Writes that depend on a point of another device: is it there?"""
        for name, device in self.device.items():
            interlocks = device.interlocks() if isinstance(device, Interlocked) else ()
            for key, other, point in interlocks:
                if other not in self.device:
                    yield f"device.{name}.{key}", f'there is no device "{other}"', "device"
                elif all(point != one.name for one in self.device[other].point):
                    yield f"device.{name}.{key}", f'device "{other}" has no point "{point}"', f"device.{other}"

    def _shared_topics(self) -> Iterator[tuple[str, str]]:
        seen: dict[str, str] = {}
        for name, device in self.device.items():
            for index, point in enumerate(device.point):
                topic, key = f"{device.topic or name}/{point.name}", f"device.{name}.point[{index}]"
                if topic in seen:
                    yield f"{key}.name", f'publishes to "{topic}", as {seen[topic]} does'
                seen.setdefault(topic, key)
