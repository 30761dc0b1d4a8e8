"""The rules of Azure IoT Hub, written from its documentation and not from our profile.

https://learn.microsoft.com/azure/iot/iot-mqtt-connect-to-iot-hub and
https://learn.microsoft.com/azure/iot-hub/authenticate-authorize-sas
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from urllib.parse import parse_qs, parse_qsl, quote

from clouds.server import HangUp, Rules
from gateway.mqtt.packets import ConnAck, Connect, Publish, Subscribe

NOT_AUTHORIZED = ConnAck(False, 5)


class HubRules(Rules):
    """One hub with one device that has a key, a certificate, or both."""

    alpn = None

    def __init__(
        self, host: str, device: str, key: bytes | None, certificate: str | None, time: Callable[[], float]
    ) -> None:
        self.host = host
        self.device = device
        self.key = key
        self.certificate = certificate
        self.time = time
        self.tokens: list[str] = []

    def connect(self, packet: Connect, certificate: str | None) -> ConnAck:
        if packet.level != 4:
            raise HangUp("not MQTT 3.1.1")
        if packet.client_id != self.device:
            return NOT_AUTHORIZED
        if packet.username != f"{self.host}/{self.device}/?api-version=2021-04-12":
            return NOT_AUTHORIZED
        if packet.password is None:
            return ConnAck(False, 0) if certificate is not None and certificate == self.certificate else NOT_AUTHORIZED
        return ConnAck(False, 0) if self._is_good(packet.password.decode()) else NOT_AUTHORIZED

    def _is_good(self, token: str) -> bool:
        self.tokens.append(token)
        scheme, _, rest = token.partition(" ")
        fields = {name: values[0] for name, values in parse_qs(rest).items()}
        if scheme != "SharedAccessSignature" or self.key is None or set(fields) != {"sr", "sig", "se"}:
            return False
        resource = f"{self.host}/devices/{self.device}"
        if fields["sr"] != resource or int(fields["se"]) <= self.time():
            return False
        signed = f"{quote(resource, safe='')}\n{fields['se']}".encode()
        expected = base64.b64encode(hmac.new(self.key, signed, hashlib.sha256).digest()).decode()
        return hmac.compare_digest(fields["sig"], expected)

    def publish(self, packet: Publish, now: float) -> bool:
        if packet.qos == 2:
            raise HangUp("QoS 2")
        if packet.topic.startswith("$iothub/methods/res/"):
            return True
        events = f"devices/{self.device}/messages/events/"
        if not packet.topic.startswith(events):
            raise HangUp(f"no topic of a device: {packet.topic}")
        bag = packet.topic.removeprefix(events)
        if "/" in bag:
            raise HangUp("a property bag that is not encoded")
        parse_qsl(bag, strict_parsing=bool(bag), errors="strict")
        if len(packet.payload) + len(bag) > 256 * 1024:
            raise HangUp("more than 256 KiB")
        return True

    def subscribe(self, packet: Subscribe) -> tuple[int, ...]:
        known = (f"devices/{self.device}/messages/devicebound/#", "$iothub/methods/POST/#", "$iothub/twin/res/#")
        if len(packet.filters) > 5:
            raise HangUp("more than five subscriptions")
        return tuple(min(entry.qos, 1) if entry.pattern in known else 0x80 for entry in packet.filters)
