"""AWS IoT Core.

Sources: "AWS IoT Core endpoints and quotas", section message broker and protocol limits
(https://docs.aws.amazon.com/general/latest/gr/iot-core.html#message-broker-limits), "MQTT" with its section on
differences from the standard (https://docs.aws.amazon.com/iot/latest/developerguide/mqtt.html), and "Device
communication protocols" for ports and ALPN (https://docs.aws.amazon.com/iot/latest/developerguide/protocols.html).

Retained messages are kept there (5000 an account unless raised), QoS 2 is not spoken; an uplink sends QoS 1 anyway.
Publishes beyond 100 a second on one connection are discarded without an answer, so they are spread here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gateway.uplinks.profiles.service import (
    Entry,
    Limits,
    Problem,
    Service,
    Settings,
    check_keep_alive,
    check_own_domain,
)

MAX_CLIENT_ID: Final = 128
"""Bytes."""

MAX_SESSION: Final = 7 * 86_400
"""Seconds that a persistent session may be kept."""

MAX_SUBSCRIPTIONS: Final = 50
"""Of one connection."""

BASIC_INGEST: Final = "$aws/rules/"
"""Topics that go to a rule without the broker; their first three levels do not count in topic limits."""

_RESERVED_FOR_US: Final = (BASIC_INGEST, "$aws/things/", "$aws/device_location/", "$aws/events/", "$aws/sitewise/")
"""The reserved topics that devices may use."""


class AwsIot(Service):
    """AWS IoT Core with a client certificate."""

    title = "AWS IoT Core"
    limits = Limits(topic=256, slashes=7, payload=128 * 1024, unanswered=100, rate=100)

    def problems(self, settings: Settings) -> Iterator[Problem]:
        yield from super().problems(settings)
        yield from check_own_domain(settings, ".amazonaws.com", (8883, 443), self.title)
        yield from check_keep_alive(settings, 30, 1200, self.title)
        if settings.cert is None:
            yield "cert", "required: AWS IoT Core knows a device by its client certificate; set cert and key"
        if settings.username is not None:
            yield "username", "must not be set: AWS IoT Core knows a device by its client certificate"
        if settings.client_id is not None:
            if len(settings.client_id.encode()) > MAX_CLIENT_ID:
                yield "client_id", f"must have at most {MAX_CLIENT_ID} bytes"
            if settings.client_id.startswith("$"):
                yield "client_id", "must not begin with $, which AWS keeps for itself"
        if settings.session_expiry > MAX_SESSION:
            yield "session_expiry", 'must be at most "7d": AWS IoT Core keeps no session longer'
        if len(settings.receive) > MAX_SUBSCRIPTIONS:
            yield (
                "receive",
                f"must have at most {MAX_SUBSCRIPTIONS} entries: a connection may have no more subscriptions",
            )
        for number, entry in enumerate(settings.forward):
            yield from self._entry(f"forward[{number}]", "to", _shortest(entry))
        for number, entry in enumerate(settings.receive):
            yield from self._entry(f"receive[{number}]", "filter", entry.filter)

    def _entry(self, at: str, key: str, topic: str) -> Iterator[Problem]:
        problem = self.topic_problem(topic)
        if problem:
            yield f"{at}.{key}", f"{topic!r} {problem}; use fewer or shorter levels at the cloud"

    def topic_problem(self, topic: str) -> str | None:
        if topic.startswith(BASIC_INGEST):
            rest = topic.split("/", 3)
            return super().topic_problem(rest[3]) if len(rest) == 4 else f"needs {BASIC_INGEST}RULE/ and a topic"
        if topic.startswith("$") and not topic.startswith(_RESERVED_FOR_US):
            return "begins with $, which AWS IoT Core keeps for its own topics"
        return super().topic_problem(topic)

    def alpn(self, port: int) -> str | None:
        return "x-amzn-mqtt-ca" if port == 443 else None


def _shortest(entry: Entry) -> str:
    """The shortest topic that an entry of ``forward`` can publish to: what is too deep there is too deep always."""
    target = entry.filter if entry.to is None else entry.to
    return target.removesuffix("/#") if target != "#" else ""
