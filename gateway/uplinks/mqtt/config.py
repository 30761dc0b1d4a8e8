"""Settings of an MQTT uplink, ``[uplink.NAME]`` with ``kind = "mqtt"``, and what must fit together in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from gateway.config.declare import Duration, File, Secret, between, not_empty, setting, topic_filter
from gateway.topic import Rewrite, overlaps
from gateway.uplinks.budget import check as check_budget
from gateway.uplinks.ledger import Ledger
from gateway.uplinks.packing.batch import Batch
from gateway.uplinks.profiles.pick import Profile, service_of
from gateway.uplinks.profiles.sas import Sas
from gateway.uplinks.sections import DeadLetters
from gateway.uplinks.tls import login_problems


class Endpoint(NamedTuple):
    """Where the cloud broker listens."""

    host: str
    port: int
    tls: bool

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def endpoint(url: str) -> Endpoint:
    """Take ``mqtt://host[:1883]`` or ``mqtts://host[:8883]`` apart. Raises ValueError with what it must be."""
    shape = "must be mqtt://HOST[:PORT] or mqtts://HOST[:PORT]"
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError(shape) from None
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
        raise ValueError(shape)
    if "@" in parts.netloc:
        raise ValueError("must not hold a user name or password; use the keys username and password")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("must end after the port")
    try:
        port = parts.port
    except ValueError:
        raise ValueError("must have a port between 1 and 65535") from None
    if port == 0:
        raise ValueError("must have a port between 1 and 65535")
    tls = parts.scheme == "mqtts"
    return Endpoint(parts.hostname, port or (8883 if tls else 1883), tls)


def broker_url(value: str | Sequence[str]) -> str | None:
    """Check of ``url``: one address, or several that differ and all have TLS or all have none."""
    urls = [value] if isinstance(value, str) else value
    try:
        found = [endpoint(url) for url in urls]
    except ValueError as error:
        return str(error)
    if not found:
        return "must hold at least one address"
    if len(set(found)) < len(found):
        return "must not hold the same address twice"
    if len({one.tls for one in found}) > 1:
        return "must not mix mqtt:// and mqtts://: what is sent in the clear to one needs no TLS to the other"
    return None


def remote_filter(value: str) -> str | None:
    """Check of what is subscribed at the cloud."""
    if value.startswith("$share/"):
        return "must not be a shared subscription: another gateway would get the messages meant for this one"
    return topic_filter(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """Local topics that go to the cloud. The first entry that matches a topic decides."""

    filter: str = setting(text="Filter of local topics.", check=topic_filter, example='"plant/#"')
    to: str | None = setting(
        None,
        text="Topic at the cloud: the same wildcards as in filter, in the same order. Default: as it is here.",
        check=topic_filter,
        example='"site-7/plant/#"',
    )
    class_: Literal["telemetry", "alarm", "command", "result"] = setting(
        "telemetry", text="Class of the messages: each has room of its own in the outbox, see [store]."
    )
    qos: Literal[0, 1] = setting(
        1,
        text="QoS at the cloud. 1: kept here until the cloud has it. 0: cheaper, and gone from here when it is sent; "
        "what is on the line when it is cut is lost.",
    )
    retain: bool = setting(True, text="Whether messages that are retained here are retained there.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Receive:
    """Topics of the cloud that are published here. The first entry that matches a topic decides."""

    filter: str = setting(text="Filter of topics at the cloud.", check=remote_filter, example='"site-7/cmd/#"')
    to: str | None = setting(
        None,
        text="Local topic: the same wildcards as in filter, in the same order. Default: as it is there.",
        check=topic_filter,
        example='"cmd/#"',
    )
    qos: int = setting(1, text="QoS of the subscription: 0, 1 or 2.", check=between(0, 2))


def topic_prefix(value: str) -> str | None:
    """Check of what is put in front of a topic."""
    if "+" in value or "#" in value or "\0" in value:
        return "must hold no wildcard (+ or #)"
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What waited in the outbox when a connection began."""

    order: Literal["live_first", "in_order"] = setting(
        "live_first",
        text="live_first: what comes from then on does not wait for it. in_order: everything goes in the order in "
        "which it came, live values behind the whole backlog.",
    )
    share: float = setting(
        0.5,
        text="Part of the window that it may have while there are live messages; without any it has all of it.",
        check=between(0.05, 1),
    )
    rate: int | None = setting(
        None,
        text="Messages of it a second at most. Without it: as many as the line carries.",
        check=between(1, 1_000_000),
        example="200",
    )
    mark: bool = setting(True, text='Whether its messages get the user property replay = "1" (MQTT 5).')
    prefix: str = setting(
        "", text="Put in front of the topic at the cloud of its messages.", check=topic_prefix, example='"replay/"'
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttUplink:
    """A connection to an MQTT broker in the cloud. What is forwarded waits in the outbox until the cloud has it."""

    kind: Literal["mqtt"] = setting("mqtt", text="MQTT over TCP or TLS.")
    profile: Profile = setting(
        "generic",
        text="What the other side is. Its rules for logins, topics and sizes are checked and kept; see docs/clouds.md.",
    )
    url: str | tuple[str, ...] = setting(
        text="Address of the cloud broker: mqtt://HOST[:1883], or mqtts://HOST[:8883] for TLS. A list: they are tried "
        "in this order, the next one at once when one fails.",
        check=broker_url,
        example='"mqtts://broker.example:8883"',
    )
    client_id: str | None = setting(
        None, text="Client identifier at the cloud. Default: gw- and the name of the gateway.", check=not_empty
    )
    username: str | None = setting(None, text="User name at the cloud.", check=not_empty)
    password: Secret | None = setting(None, text="Password at the cloud.", example='{ file = "cloud.password" }')
    version: Literal["5", "3.1.1"] = setting(
        "5", text="MQTT version. With 3.1.1 there are no message ids, no expiry and no reasons of refusal."
    )
    keep_alive: Duration = setting(
        60.0, text="Longest silence on the line. A dead line is noticed after one and a half.", check=between(5, 65535)
    )
    ca: File | None = setting(None, text="Certificates (PEM) that may sign the broker's. Default: those of the system.")
    cert: File | None = setting(None, text="Certificate (PEM) by which the broker knows this gateway.")
    key: File | None = setting(None, text="Private key (PEM) of cert.")
    window: int = setting(
        64, text="Messages under way without an answer. The broker may ask for fewer.", check=between(1, 1000)
    )
    session_expiry: Duration = setting(
        86400.0, text="How long the broker keeps commands for us while we are away.", check=between(0, 0xFFFFFFFE)
    )
    connect_timeout: Duration = setting(
        10.0, text="Longest time from the first packet to the broker's welcome.", check=between(1, 300)
    )
    reconnect_spread: Duration = setting(
        5.0,
        text="Gateways that lose their broker in one moment come back spread over this time, each at its own moment, "
        "which its name decides.",
        check=between(0, 3600),
    )
    budget: str | None = setting(
        None,
        text="Bytes that this uplink may cost: a size and /day, /week or /month of the calendar in UTC. Before it is "
        "used up, the uplink saves: longer batches, then thinned telemetry, then only alarms, commands and results.",
        check=check_budget,
        example='"200MB/month"',
    )
    dead_letter: DeadLetters = setting(factory=DeadLetters, text="")
    sas: Sas | None = setting(None, text="", example='{ key = { file = "device.key" } }')
    forward: tuple[Forward, ...] = setting((), text="What goes to the cloud.")
    receive: tuple[Receive, ...] = setting((), text="What comes from the cloud.")
    backlog: Backlog = setting(factory=Backlog, text="")
    batch: Batch | None = setting(None, text="", example='{ wait = "30s", rows = 10000, format = "columns" }')
    ledger: Ledger | None = setting(None, text="")

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """``url``, taken apart."""
        return tuple(endpoint(url) for url in ([self.url] if isinstance(self.url, str) else self.url))

    @property
    def endpoint(self) -> Endpoint:
        """The first of them."""
        return self.endpoints[0]

    def problems(self) -> Iterator[tuple[str, str]]:
        """What does not fit together, as (key, text); keys as in ``forward[0].to``."""
        yield from login_problems(self)
        yield from self._rewrite_problems()
        yield from self._echo_problems()
        yield from self._backlog_problems()
        if self.ledger is not None and self.ledger.resend is not None and self.version != "5":
            yield "ledger.resend", 'needs version = "5": without message ids nobody knows what is missing'
        yield from service_of(self).problems(self)

    def _backlog_problems(self) -> Iterator[tuple[str, str]]:
        backlog = self.backlog
        if backlog.order == "in_order":
            for name, is_set in (("share", backlog.share != 0.5), ("rate", backlog.rate), ("prefix", backlog.prefix)):
                if is_set:
                    yield f"backlog.{name}", 'has no effect with order = "in_order": then there is one lane'

    def _rewrite_problems(self) -> Iterator[tuple[str, str]]:
        both: dict[str, Sequence[Forward | Receive]] = {"forward": self.forward, "receive": self.receive}
        for section, entries in both.items():
            for number, entry in enumerate(entries):
                try:
                    Rewrite(entry.filter, entry.filter if entry.to is None else entry.to)
                except ValueError as error:
                    yield f"{section}[{number}].to", str(error)

    def _echo_problems(self) -> Iterator[tuple[str, str]]:
        # Version 5 has No Local (section 3.8.3.1); in 3.1.1 the broker sends us what we have just sent it.
        if self.version == "5" or not service_of(self).echoes:
            return
        for number, entry in enumerate(self.receive):
            targets = [
                (other.filter if other.to is None else other.to, f"forward[{index}]")
                for index, other in enumerate(self.forward)
            ]
            if self.batch is not None and self.batch.topic is not None:
                targets.append((self.batch.topic, "batch"))
            for target, publisher in targets:
                if overlaps(entry.filter, target):
                    text = (
                        f"must not overlap {target!r}, where {publisher} publishes: "
                        'with version = "3.1.1" the broker sends every such message back'
                    )
                    yield f"receive[{number}].filter", text
