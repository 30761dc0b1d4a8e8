"""An MQTT client that keeps its session and its own state over every reconnect, as MQTT 5 section 4.1 has it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from e2e.rig.waiting import NotInTime

KEEP_SESSION_SECONDS = 3600


class _Client(paho.Client):
    """paho 2.1 forgets at a second attempt to connect that it owes PUBREL, and publishes the message again as a new
    one (``_messages_reconnect_reset_out``): so it attempts only where somebody listens."""

    def reconnect(self) -> MQTTErrorCode:
        socket.create_connection((self._host, self._port), 5).close()
        return super().reconnect()


class DurableClient:
    """Connects with clean start off and reconnects by itself. Subscribes only when the broker has no session for it.

    received   (topic, payload, QoS) in the order of arrival
    sessions   Session Present of each CONNACK
    published  payloads handed over
    settled    payloads that the broker has answered for, to the end of the exchange, with the reason code
    """

    def __init__(self, port: int, client_id: str, *filters: str, qos: int = 2) -> None:
        self.received: list[tuple[str, bytes, int]] = []
        self.sessions: list[bool] = []
        self.published: dict[int, bytes] = {}
        self.settled: dict[bytes, int] = {}
        self._filters = filters
        self._qos = qos
        self._port = port
        self._news = threading.Condition()
        self._ready = False
        self._early: dict[int, int] = {}
        self._client = _Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.reconnect_delay_set(1, 1)
        self._client.max_inflight_messages_set(200)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.on_publish = self._on_publish
        self.come()

    def come(self) -> None:
        """Connect, and return when the subscriptions stand."""
        self._ready = False
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = KEEP_SESSION_SECONDS
        self._client.connect("127.0.0.1", self._port, keepalive=30, clean_start=False, properties=properties)
        self._client.loop_start()
        self.wait(lambda: self._ready, 10, "CONNACK and SUBACK")

    def go(self) -> None:
        """Disconnect; the session stays with the broker."""
        self._client.disconnect()
        self._client.loop_stop()
        self._client._reset_sockets(sockpair_only=True)  # another ``loop_start`` would leave them open

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool = False) -> None:
        """Hand one message over; it is repeated over reconnects until the broker has answered."""
        mid = self._client.publish(topic, payload, qos, retain).mid
        with self._news:
            self.published[mid] = payload
            if mid in self._early:
                self.settled[payload] = self._early.pop(mid)

    def wait(self, enough: Callable[[], Any], timeout: float, what: str) -> None:
        """Until ``enough`` is true. Raises NotInTime."""
        with self._news:
            if not self._news.wait_for(enough, timeout):
                raise NotInTime(f"not within {timeout:g} s: {what}")

    def _on_connect(self, client: paho.Client, _data: Any, flags: Any, reason: ReasonCode, _properties: Any) -> None:
        if reason.is_failure:
            return
        with self._news:
            self.sessions.append(flags.session_present)
            self._ready = flags.session_present or not self._filters
            self._news.notify_all()
        if self._filters and not flags.session_present:
            client.subscribe([(topic, SubscribeOptions(qos=self._qos)) for topic in self._filters])

    def _on_subscribe(self, *_arguments: Any) -> None:
        with self._news:
            self._ready = True
            self._news.notify_all()

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        with self._news:
            self.received.append((message.topic, bytes(message.payload), message.qos))
            self._news.notify_all()

    def _on_publish(self, _client: paho.Client, _data: Any, mid: int, reason: ReasonCode, _properties: Any) -> None:
        # paho holds no lock of its own here; an answer can be here before ``publish`` has returned.
        with self._news:
            payload = self.published.get(mid)
            if payload is None:
                self._early[mid] = reason.value
            else:
                self.settled[payload] = reason.value
            self._news.notify_all()
