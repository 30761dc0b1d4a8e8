"""The CoAP listener: its life, and what it says of itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Final

from gateway.clock import Clock
from gateway.config.coap_listener import CoapListener as Settings
from gateway.errors import Retry
from gateway.listeners.coap import dtls
from gateway.listeners.coap.service import Service
from gateway.listeners.coap.shell import Endpoint
from gateway.mqtt.server import MqttServer

TICK_SECONDS: Final = 1.0


class CoapListener:
    """One bound address. ``run`` is its life; it raises Retry when the address cannot be bound now."""

    def __init__(self, name: str, settings: Settings, server: MqttServer, clock: Clock, pool: object = None) -> None:
        self.name = name
        self.settings = settings
        self.service = Service(settings, server, clock)
        self.bound: list[str] = []
        self._clock = clock
        self._ipv6: bool | None = None
        self.endpoint: Endpoint | None = None

    @classmethod
    def check(cls, settings: Settings) -> Iterator[tuple[str, str]]:
        """What is missing on this machine, before anything is bound."""
        if settings.psk and not dtls.is_here():
            yield "psk", dtls.MISSING

    def reload(self) -> bool:
        """Nothing of it is in files that are read again."""
        return True

    async def run(self, up: Callable[[], None]) -> None:
        """Bind, answer, and on cancellation let observers know."""
        if self.settings.psk and not dtls.is_here():
            raise Retry(dtls.MISSING, after=60.0)
        self.endpoint = endpoint = Endpoint(self.settings, self.service, self._clock)
        self.service.open()
        try:
            await endpoint.bind(self._ipv6)
            self.bound = [endpoint.bound]
            up()
            while True:
                await asyncio.sleep(TICK_SECONDS)
                self.service.tick()
        finally:
            self.bound = []
            self.service.close()
            for watch in self.service.watches:
                watch.observation.wake()
            await asyncio.sleep(0)
            await endpoint.close()

    def status(self) -> dict[str, Any]:
        """Where it listens, and how many clients, observers and transfers it has."""
        service = self.service
        return {
            "bound": self.bound,
            "tls": bool(self.settings.psk),
            "connections": len(service.clients),
            "handshakes": 0,
            "observers": len(service.watches),
            "uploads": len(service.uploads),
            "last": len(service.last),
        }
