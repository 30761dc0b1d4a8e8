"""Azure IoT Hub, as a device of it.

Source: "Communicate with an IoT hub using the MQTT protocol"
(https://learn.microsoft.com/azure/iot/iot-mqtt-connect-to-iot-hub), and "IoT Hub quotas and throttling" for sizes
(https://learn.microsoft.com/azure/iot-hub/iot-hub-devguide-quotas-throttling).

The hub is no broker: a device publishes to one topic and gets its messages on another. So the topic travels as the
property ``topic`` in the last level (see ``property_bag``), in both directions, and ``receive`` matches it there. A
message of the hub without that property has the topic ``devicebound``, a direct method ``methods/NAME``.

A direct method is answered when the local broker has it: 202 when it was taken, 404 when ``receive`` has no entry for
it, 403 and 503 when it was refused or could not be kept. What a command did is another message, its result.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from gateway.clock import EARLIEST
from gateway.errors import Refused, Retry
from gateway.message import Properties
from gateway.topic import matches
from gateway.uplinks.profiles import property_bag
from gateway.uplinks.profiles.sas import token
from gateway.uplinks.profiles.service import (
    Down,
    Limits,
    Login,
    Problem,
    Service,
    Settings,
    Up,
    check_keep_alive,
    check_own_domain,
)

API: Final = "2021-04-12"
"""Version of the interface of the hub."""

METHODS: Final = "$iothub/methods/POST/"
ANSWERS: Final = "$iothub/methods/res/"

RENEW_AFTER: Final = 0.9
"""Part of a token's life after which the connection is made anew."""


class AzureIotHub(Service):
    """One device of an IoT hub. ``settings.client_id`` is its device id."""

    title = "Azure IoT Hub"
    limits = Limits(payload=256 * 1024, packet=256 * 1024, retain=False)
    echoes = False

    def __init__(self, settings: Settings) -> None:
        self._host = settings.endpoint.host
        self._device = settings.client_id or ""
        self._events = f"devices/{self._device}/messages/events/"
        self._bound = f"devices/{self._device}/messages/devicebound/"
        self._filters = [entry.filter for entry in settings.receive]

    def problems(self, settings: Settings) -> Iterator[Problem]:
        yield from check_own_domain(settings, ".azure-devices.net", (8883,), self.title)
        yield from check_keep_alive(settings, 5, 1177, self.title)
        if settings.version != "3.1.1":
            yield "version", 'must be "3.1.1": Azure IoT Hub speaks no other'
        if settings.client_id is None:
            yield "client_id", "required: the id of the device in the hub"
        elif any(char in settings.client_id for char in "/+#"):
            yield "client_id", "must be the id of a device in the hub, without /, + and #"
        if settings.username is not None or settings.password is not None:
            key = "username" if settings.username is not None else "password"
            yield key, "must not be set: it is made of the hub and the device; use sas for the device's key"
        if settings.cert is None and settings.sas is None:
            yield "sas", "required, or cert and key: the hub knows a device by its key or by its client certificate"
        if settings.cert is not None and settings.sas is not None:
            yield "sas", "must not be set beside cert: a device of a hub has a key or a certificate"

    def login(self, settings: Settings, time: float) -> Login:
        username = f"{self._host}/{self._device}/?api-version={API}"
        sas = settings.sas
        if sas is None:
            return Login(username, None, None)
        if time < EARLIEST:
            raise Retry("the clock of this machine is not set, and the token for Azure IoT Hub needs the time")
        resource = f"{self._host}/devices/{self._device}"
        return Login(username, token(sas.key, resource, time, sas.lifetime), sas.lifetime * RENEW_AFTER)

    def up(self, topic: str, retain: bool, props: Properties) -> Up:
        return Up(self._events + property_bag.pack(topic, retain, props), False, ())

    def subscriptions(self, wanted: Sequence[tuple[str, int]]) -> Sequence[tuple[str, int]]:
        if not wanted:
            return ()
        # A caller of a method waits for it: one that comes again after a lost line has nobody left who waits.
        return (self._bound + "#", 1), (METHODS + "#", 0)

    def down(self, topic: str, props: Properties) -> Down:
        if topic.startswith(METHODS):
            name, _, rest = topic.removeprefix(METHODS).partition("/?$rid=")
            name = f"methods/{name}"
            wanted = any(matches(pattern, name) for pattern in self._filters)
            return Down(name, props, partial(_reply, rest, wanted))
        inner, found = property_bag.unpack(topic.removeprefix(self._bound))
        return Down(inner or "devicebound", found + props)


def _reply(request: str, wanted: bool, error: BaseException | None) -> tuple[str, bytes]:
    if error is not None:
        status, body = 403 if isinstance(error, Refused) else 503, {"status": "refused", "reason": str(error)}
    elif wanted:
        status, body = 202, {"status": "accepted"}
    else:
        status, body = 404, {"status": "refused", "reason": "no entry of receive takes this method"}
    return f"{ANSWERS}{status}/?$rid={request}", json.dumps(body).encode()
