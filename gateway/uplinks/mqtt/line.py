"""The way of one uplink to its broker, over all connections: its hosts, and the bytes that went there and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.uplinks.mqtt.config import Endpoint
from gateway.uplinks.mqtt.hosts import Hosts
from gateway.uplinks.mqtt.wire import Meter


class Line:
    """See the module's docstring. ``now``: the monotonic clock."""

    __slots__ = ("hosts", "meter", "now")

    def __init__(self, endpoints: Sequence[Endpoint], now: Callable[[], float]) -> None:
        self.hosts = Hosts(endpoints)
        self.meter = Meter()
        self.now = now
