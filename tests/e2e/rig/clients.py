"""MQTT clients on paho-mqtt: one that remembers what it got, one that remembers what was acknowledged."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from e2e.rig.waiting import NotInTime

KEEP_SESSION_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Received:
    """One message as it came. ``message_id`` is the user property of that name; ``time`` is monotonic."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    message_id: str | None
    time: float


class Collector:
    """Subscribes to ``filters`` with QoS 1 under a session that outlives the connection; reconnects by itself."""

    def __init__(self, port: int, *filters: str, client_id: str = "collector") -> None:
        self.received: list[Received] = []
        self._filters = filters
        self._news = threading.Condition()
        self._subscribed = 0
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTProtocolVersion.MQTTv5
        )
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = KEEP_SESSION_SECONDS
        self._client.connect("127.0.0.1", port, keepalive=30, clean_start=False, properties=properties)
        self._client.loop_start()
        with self._news:
            if not self._news.wait_for(lambda: self._subscribed, 10):
                raise NotInTime(f"no SUBACK from port {port}")

    def _on_connect(self, client: paho.Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        if not reason.is_failure:
            client.subscribe([(topic, SubscribeOptions(qos=1, retainAsPublished=True)) for topic in self._filters])

    def _on_subscribe(self, *_arguments: Any) -> None:
        with self._news:
            self._subscribed += 1
            self._news.notify_all()

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        names = dict(getattr(message.properties, "UserProperty", []))
        one = Received(
            message.topic,
            bytes(message.payload),
            message.qos,
            message.retain,
            names.get("message-id"),
            time.monotonic(),
        )
        with self._news:
            self.received.append(one)
            self._news.notify_all()

    def wait(self, enough: Callable[[list[Received]], Any], timeout: float, what: str) -> list[Received]:
        """Everything received so far, once ``enough`` of it is true. Raises NotInTime."""
        with self._news:
            if not self._news.wait_for(lambda: enough(self.received), timeout):
                raise NotInTime(
                    f"not within {timeout:g} s: {what}; {len(self.received)} received, last {self.received[-3:]}"
                )
            return list(self.received)

    def wait_for(self, topic: str, timeout: float, payload: bytes | None = None) -> Received:
        """The first message of ``topic`` (with ``payload``, if given)."""

        def fits(one: Received) -> bool:
            return one.topic == topic and payload in (None, one.payload)

        got = self.wait(lambda all_: any(fits(one) for one in all_), timeout, f"{topic} {payload!r}")
        return next(one for one in got if fits(one))

    def close(self) -> None:
        """Disconnect; the session stays with the broker."""
        self._client.disconnect()
        self._client.loop_stop()


class Publisher:
    """Publishes QoS 1 and remembers which payloads the broker acknowledged. Does not reconnect. At most 65 535.

    A client that reconnected would publish again what was stored but not acknowledged, and no identity of the
    gateway could tell that repeat from a new message.
    """

    def __init__(self, port: int, client_id: str) -> None:
        self._payloads: dict[int, bytes] = {}
        self._acknowledged: list[int] = []
        self._connected = threading.Event()
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
        )
        self._client.max_inflight_messages_set(1000)
        self._client.on_connect = lambda *_: self._connected.set()
        self._client.on_publish = self._on_publish
        self._client.connect("127.0.0.1", port, keepalive=30, clean_start=True)
        self._client.loop_start()
        if not self._connected.wait(10):
            raise NotInTime(f"no CONNACK from port {port}")

    @property
    def connected(self) -> bool:
        return self._client.is_connected()

    def publish(self, topic: str, payload: bytes, retain: bool = False) -> None:
        """Hand one message over; its acknowledgement is noted when it comes."""
        self._payloads[self._client.publish(topic, payload, qos=1, retain=retain).mid] = payload

    @property
    def unanswered(self) -> int:
        """Messages that were not acknowledged."""
        return len(self._payloads) - len(self._acknowledged)

    @property
    def acknowledged(self) -> list[bytes]:
        """Payloads that the broker has answered for, in the order of the answers."""
        # An answer can be here before ``publish`` has returned the number that it is for.
        return [self._payloads[mid] for mid in self._acknowledged.copy() if mid in self._payloads]

    def _on_publish(self, _client: paho.Client, _data: Any, mid: int, reason: ReasonCode, _properties: Any) -> None:
        # No lock here: paho calls this with one of its own held that its ``publish`` takes too.
        if not reason.is_failure:
            self._acknowledged.append(mid)

    def close(self) -> None:
        """Disconnect, if there is still a connection."""
        self._client.disconnect()
        self._client.loop_stop()
