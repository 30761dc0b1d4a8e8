"""Settings of what a site may switch on beside plain MQTT: the tables below ``[mqtt]``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from gateway.config.declare import Duration, Size, between, setting, topic_filter
from gateway.mqtt.auto_subscribe import template_problem
from gateway.topic import Rewrite


@dataclass(frozen=True, slots=True, kw_only=True)
class RewriteRule:
    """Moves topics of clients to other topics. The first entry that matches decides; access sees the new topic."""

    action: Literal["publish", "subscribe", "all"] = setting(
        "all", text="What is rewritten: topics of messages, filters of subscriptions, or both."
    )
    filter: str = setting(text="Topics to rewrite.", check=topic_filter, example='"old/#"')
    to: str = setting(
        text="The new topic: the same wildcards as in filter, in the same order.",
        check=topic_filter,
        example='"plant/old/#"',
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        try:
            Rewrite(self.filter, self.to)
        except ValueError as error:
            yield "to", str(error)


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoSubscribe:
    """A subscription that each client has from its CONNECT, if its access rules allow it."""

    topic: str = setting(
        text="Topic filter; {client_id}, {username} and {address} are filled in.",
        check=template_problem,
        example='"cmd/{client_id}/#"',
    )
    qos: int = setting(0, text="Highest QoS of what is delivered: 0, 1 or 2.", check=between(0, 2))
    no_local: bool = setting(False, text="Leave out what the client itself publishes.")
    retain_as_published: bool = setting(False, text="Keep the retain flag of messages as their publisher set it.")
    retain_handling: int = setting(
        0,
        text="Retained messages at CONNECT: 0 always, 1 only if the session does not have the subscription yet, "
        "2 never.",
        check=between(0, 2),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Slow:
    """Slow subscribers: clients that take long to acknowledge. ``gateway session list --slow`` shows them."""

    threshold: Duration = setting(
        0.5,
        text="Time from a message to its acknowledgement beyond which it is recorded. 0: nothing is measured.",
        check=between(0, 3600),
    )
    top: int = setting(10, text="Most clients on the list.", check=between(1, 1000))
    memory: Duration = setting(
        300.0, text="How long a client that was slow stays on the list.", check=between(1, 86_400)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sys:
    """What the gateway says of itself below $SYS/."""

    interval: Duration = setting(
        10.0,
        text="How often $SYS/broker/# is brought up to date, under the names that mosquitto uses. 0: never.",
        check=between(0, 86_400),
    )
    events: bool = setting(
        True,
        text="Publish connected, disconnected, subscribed and unsubscribed below $SYS/gateway/clients/<client id>/.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DelayedPublish:
    """Delayed messages: $delayed/SECONDS/TOPIC, kept on disk. ``gateway delayed list`` shows them."""

    enabled: bool = setting(
        True, text="Whether new ones are taken. Those that were taken before are delivered in any case."
    )
    max_count: int = setting(10_000, text="Most that wait; one more is refused with 0x97.", check=between(0, 1_000_000))
    max_bytes: Size = setting(
        16 * 1024 * 1024,
        text="The same in bytes, on disk and in memory: topic, payload and 200 bytes for each.",
        check=between(0, 1024 * 1024 * 1024),
    )
    max_delay: Duration = setting(
        366 * 86_400.0, text="Longest delay; what asks for more is refused with 0x90.", check=between(1, 315_360_000)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Dedup:
    """Idempotent publish: an MQTT 5 message with QoS 1 or 2 and the user property dedup-id is taken once. Its id is
    remembered over restarts."""

    window: Duration = setting(
        3600.0, text="How long an id is remembered. 0: dedup-id means nothing.", check=between(0, 30 * 86_400)
    )
    max_ids: int = setting(
        1000, text="Ids of one client; when there are more, the oldest is forgotten.", check=between(1, 1_000_000)
    )
    max_total: int = setting(20_000, text="The same for all clients together.", check=between(1, 1_000_000))
