"""Consumers of queues and streams on paho-mqtt, in both versions of MQTT, and a publisher whose answers are kept."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from e2e.rig.waiting import NotInTime

KEEP_SESSION_SECONDS: Final = 3600
VERSIONS: Final = {"5": MQTTProtocolVersion.MQTTv5, "3.1.1": MQTTProtocolVersion.MQTTv311}


@dataclass(frozen=True, slots=True)
class Taken:
    """One delivery. ``said`` are its user properties; MQTT 3.1.1 has none."""

    topic: str
    payload: bytes
    said: dict[str, str]


Decide = Callable[[Taken], str]
"""The verb for a delivery: ack, nack, reject, or "" for none. In MQTT 3.1.1 it is not asked."""


class Worker:
    """Subscribes to ``pattern`` with QoS 1, settles what comes, and reconnects by itself.

    decide   what to answer to a delivery (MQTT 5)
    is_kept  the session outlives the connection; it then subscribes once in its life
    log      deliveries to all consumers that share it, in order
    settled  payloads whose settlement the gateway has answered with success, and the last verb (MQTT 5)
    refused  reason codes of the other settlements
    subacks  reason codes of SUBSCRIBE
    """

    def __init__(
        self,
        port: int,
        client_id: str,
        pattern: str,
        version: str = "5",
        group: str = "",
        decide: Decide = lambda taken: "ack",
        is_kept: bool = False,
        qos: int = 1,
        log: list[Taken] | None = None,
        **said: str,
    ) -> None:
        self.taken: list[Taken] = []
        self.settled: dict[bytes, str] = {}
        self.refused: list[int] = []
        self.subacks: list[int] = []
        self.sessions: list[bool] = []
        self._port = port
        self._pattern = pattern
        self._is_5 = version == "5"
        self._is_kept = is_kept
        self._qos = qos
        self._said = {**({"consumer-group": group} if group else {}), **said}
        self._decide = decide
        self._log = log if log is not None else []
        self._asked: dict[int, tuple[bytes, str]] = {}
        self._early: dict[int, int] = {}
        self._news = threading.Condition()
        more: dict[str, Any] = {} if self._is_5 else {"clean_session": not is_kept}
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=VERSIONS[version], **more)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.on_publish = self._on_publish
        if self._is_5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = KEEP_SESSION_SECONDS if is_kept else 0
            self._client.connect("127.0.0.1", port, keepalive=30, clean_start=not is_kept, properties=properties)
        else:
            self._client.connect("127.0.0.1", port, keepalive=30)
        self._client.loop_start()
        self.wait(lambda: self.subacks or any(self.sessions), 10, "CONNACK and SUBACK")

    def wait(self, enough: Callable[[], Any], timeout: float, what: str) -> None:
        """Until ``enough`` is true. Raises NotInTime."""
        with self._news:
            if not self._news.wait_for(enough, timeout):
                raise NotInTime(f"not within {timeout:g} s: {what}; {len(self.taken)} deliveries")

    @property
    def is_connected(self) -> bool:
        return self._client.is_connected()

    @property
    def payloads(self) -> set[bytes]:
        """What has come at least once."""
        return {one.payload for one in self.taken}

    def settle(self, taken: Taken, verb: str) -> None:
        """Publish a verb for a delivery (MQTT 5)."""
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.UserProperty = [(name, taken.said[name]) for name in ("message-id", "group-id")]
        address = "/".join(self._pattern.split("/")[:2])
        mid = self._client.publish(f"{address}/${verb}", b"", 1, properties=properties).mid
        with self._news:
            self._asked[mid] = taken.payload, verb
            if mid in self._early:
                self._note(taken.payload, verb, self._early.pop(mid))

    def close(self) -> None:
        """Disconnect and end the thread."""
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, client: paho.Client, _data: Any, flags: Any, reason: ReasonCode, _properties: Any) -> None:
        if reason.is_failure:
            return
        with self._news:
            self.sessions.append(flags.session_present)
            self._news.notify_all()
        if self._is_kept and flags.session_present:
            return
        if self._is_5:
            properties = Properties(PacketTypes.SUBSCRIBE)  # type: ignore[no-untyped-call]
            if self._said:
                properties.UserProperty = list(self._said.items())
            client.subscribe(self._pattern, options=SubscribeOptions(qos=self._qos), properties=properties)
        else:
            client.subscribe(self._pattern, self._qos)

    def _on_subscribe(self, _client: Any, _data: Any, _mid: int, reasons: list[ReasonCode], _properties: Any) -> None:
        with self._news:
            self.subacks += [reason.value for reason in reasons]
            self._news.notify_all()

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        said = dict(getattr(message.properties, "UserProperty", []))
        taken = Taken(message.topic, bytes(message.payload), said)
        with self._news:
            self.taken.append(taken)
            self._log.append(taken)
            self._news.notify_all()
        verb = self._decide(taken) if self._is_5 else ""
        if verb:
            self.settle(taken, verb)

    def _on_publish(self, _client: paho.Client, _data: Any, mid: int, reason: ReasonCode, _properties: Any) -> None:
        with self._news:
            asked = self._asked.pop(mid, None)
            if asked is None:
                self._early[mid] = reason.value
            else:
                self._note(*asked, reason.value)

    def _note(self, payload: bytes, verb: str, reason: int) -> None:
        if reason < 0x80:
            self.settled[payload] = verb
        else:
            self.refused.append(reason)
        self._news.notify_all()
