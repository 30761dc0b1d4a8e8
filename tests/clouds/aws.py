"""The rules of AWS IoT Core, written from its documentation and not from our profile.

https://docs.aws.amazon.com/general/latest/gr/iot-core.html#message-broker-limits and
https://docs.aws.amazon.com/iot/latest/developerguide/mqtt.html
"""

from __future__ import annotations

from collections import deque

from clouds.server import HangUp, Rules
from gateway.mqtt.packets import ConnAck, Connect, Publish, Subscribe


class AwsRules(Rules):
    """Message broker of AWS IoT Core."""

    wants_certificate = True
    alpn = "x-amzn-mqtt-ca"

    def __init__(self) -> None:
        self._second: deque[float] = deque()
        self._subscriptions = 0

    def connect(self, packet: Connect, certificate: str | None) -> ConnAck:
        if certificate is None:
            raise HangUp("no client certificate")
        if len(packet.client_id.encode()) > 128 or packet.client_id.startswith("$"):
            raise HangUp("bad client id")
        props = ((0x21, 100), (0x24, 1), (0x25, 1), (0x27, 149_504), (0x22, 8)) if packet.level == 5 else ()
        return ConnAck(False, 0, props)

    def publish(self, packet: Publish, now: float) -> bool:
        if packet.qos == 2:
            raise HangUp("QoS 2", 0x9B)
        if len(packet.payload) > 128 * 1024:
            raise HangUp("payload", 0x95)
        self._topic(packet.topic)
        while self._second and self._second[0] <= now - 1:
            self._second.popleft()
        if len(self._second) >= 100:
            return False
        self._second.append(now)
        return True

    def subscribe(self, packet: Subscribe) -> tuple[int, ...]:
        if len(packet.filters) > 8:
            raise HangUp("more than 8 filters")
        for entry in packet.filters:
            self._topic(entry.pattern)
        self._subscriptions += len(packet.filters)
        if self._subscriptions > 50:
            raise HangUp("more than 50 subscriptions")
        return tuple(min(entry.qos, 1) for entry in packet.filters)

    def _topic(self, topic: str) -> None:
        parts = topic.split("/")
        if parts[:2] == ["$aws", "rules"]:
            topic = "/".join(parts[3:])
        elif topic.startswith("$") and parts[:2] != ["$aws", "things"]:
            raise HangUp("reserved topic", 0x87)
        if len(topic.encode()) > 256:
            raise HangUp("topic of more than 256 bytes", 0x90)
        if topic.count("/") > 7:
            raise HangUp("topic of more than 7 slashes", 0x90)
