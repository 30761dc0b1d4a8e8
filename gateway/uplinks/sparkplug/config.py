"""Settings of a Sparkplug B edge node, ``[uplink.NAME]`` with ``kind = "sparkplug"``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from gateway.config.declare import Duration, File, Secret, between, not_empty, setting, topic_filter, topic_level
from gateway.uplinks.mqtt.config import Endpoint, broker_url, endpoint
from gateway.uplinks.sections import DeadLetters
from gateway.uplinks.tls import login_problems


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """Topics of points that are metrics. A device with such a point is a device of the edge node."""

    filter: str = setting(text="Filter of local topics.", check=topic_filter, example='"plant/#"')
    class_: Literal["telemetry", "alarm", "command", "result"] = setting(
        "telemetry", text="Class of the messages: each has room of its own in the outbox, see [store]."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SparkplugUplink:
    """A Sparkplug B edge node: the devices of this gateway and their points, for host applications at one broker."""

    kind: Literal["sparkplug"] = setting("sparkplug", text="Sparkplug B over MQTT 3.1.1.")
    url: str = setting(
        text="Address of the broker: mqtt://HOST[:1883], or mqtts://HOST[:8883] for TLS.",
        check=broker_url,
        example='"mqtts://broker.example:8883"',
    )
    group: str = setting(text="Group ID of the edge node.", check=topic_level, example='"Plant 4"')
    node: str | None = setting(None, text="Edge Node ID. Default: the name of the gateway.", check=topic_level)
    primary_host: str | None = setting(
        None,
        text="Host ID of the primary host application. Nothing is sent while it is offline; what comes meanwhile "
        "waits, and is sent as historical. Without it nobody is waited for.",
        check=topic_level,
        example='"scada"',
    )
    aliases: bool = setting(False, text="Whether data carries numbers in place of the names of metrics.")
    client_id: str | None = setting(
        None, text="Client identifier at the broker. Default: gw- and the name of the gateway.", check=not_empty
    )
    username: str | None = setting(None, text="User name at the broker.", check=not_empty)
    password: Secret | None = setting(None, text="Password at the broker.", example='{ file = "broker.password" }')
    ca: File | None = setting(None, text="Certificates (PEM) that may sign the broker's. Default: those of the system.")
    cert: File | None = setting(None, text="Certificate (PEM) by which the broker knows this gateway.")
    key: File | None = setting(None, text="Private key (PEM) of cert.")
    keep_alive: Duration = setting(
        30.0, text="Longest silence on the line. A dead line is noticed after one and a half.", check=between(5, 65535)
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
    window: int = setting(
        500, text="Messages of points under way that the broker has not confirmed.", check=between(1, 10_000)
    )
    forward: tuple[Forward, ...] = setting(text="What goes to the hosts.", check=not_empty)

    # What other kinds may be told, and this one has not: nobody answers for a row, so none is refused or told of.

    @property
    def budget(self) -> None:
        """No bound of bytes."""

    @property
    def ledger(self) -> None:
        """No ledgers."""

    @property
    def dead_letter(self) -> DeadLetters:
        """Bounds of what is refused: nothing is."""
        return DeadLetters()

    def descriptor(self, gateway_name: str | None) -> tuple[str, str | None]:
        """Group and node, by which the whole infrastructure knows this edge node [intro-edge-node-id-uniqueness]."""
        return self.group, self.node or gateway_name

    @property
    def endpoint(self) -> Endpoint:
        """``url``, taken apart."""
        return endpoint(self.url)

    def problems(self) -> Iterator[tuple[str, str]]:
        """What does not fit together, as (key, text)."""
        yield from login_problems(self)
